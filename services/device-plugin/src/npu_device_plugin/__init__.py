"""The device plugin: tells the kubelet which NPUs a node has, and hands them to containers.

Who does what: :mod:`~npu_device_plugin.settings` what the operator wants;
:mod:`~npu_device_plugin.allocation.inventory` the cards, as they were last seen;
:mod:`~npu_device_plugin.allocation.repartition` when a card is cut anew;
:mod:`~npu_device_plugin.allocation.resource_state` which units are offered;
:mod:`~npu_device_plugin.allocation.preference` which of them to take; :mod:`~npu_device_plugin.allocation.grants` what
a container gets; :mod:`~npu_device_plugin.kubelet.allocation_tracker` asking who holds what;
:mod:`~npu_device_plugin.kubelet.servicer` the kubelet's questions;
:mod:`~npu_device_plugin.kubelet.supervisor` staying registered; :mod:`~npu_device_plugin.scanner` looking at the cards;
:mod:`~npu_device_plugin.app` all of it together.
"""

__version__ = "0.1.0"
