"""The kubelet's PodResources API: which containers hold which devices. Needs the extra ``[kubelet]``.

::

    for holding in await list_holdings():
        print(holding.namespace, holding.pod, holding.container, holding.resource, holding.device_ids)
"""

from npu_core.kubelet.channel import CHANNEL_OPTIONS
from npu_core.kubelet.holdings import (
    DEFAULT_SOCKET,
    Holding,
    PodListing,
    PodResourcesError,
    list_holdings,
    list_pods,
)

__all__ = [
    "CHANNEL_OPTIONS",
    "DEFAULT_SOCKET",
    "Holding",
    "PodListing",
    "PodResourcesError",
    "list_holdings",
    "list_pods",
]
