"""Asking the kubelet which containers hold which devices."""

from dataclasses import dataclass

import grpc

from npu_core.errors import NpuError
from npu_core.kubelet._podresources import podresources_pb2 as pb
from npu_core.kubelet._podresources.podresources_pb2_grpc import PodResourcesListerStub
from npu_core.kubelet.channel import CHANNEL_OPTIONS

DEFAULT_SOCKET = "/var/lib/kubelet/pod-resources/kubelet.sock"
"""Where kubelets serve the API unless they were given another root directory."""

_OPTIONS = (
    *CHANNEL_OPTIONS,
    # Every processor of every container may be listed too: what the kubelet's own clients take, not gRPC's 4 MiB.
    ("grpc.max_receive_message_length", 16 << 20),
)


class PodResourcesError(NpuError):
    """The kubelet could not be asked.

    Attributes:
        code: gRPC's status code: ``UNAVAILABLE``, ``UNIMPLEMENTED``, ``RESOURCE_EXHAUSTED``, ...
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(f"{code}: {detail}")


@dataclass(frozen=True, slots=True)
class Holding:
    """Devices of one resource that one container holds.

    Attributes:
        namespace: of the pod.
        pod: its name.
        container: the container's name.
        resource: ``beta.furiosa.ai/npu``.
        device_ids: ids as the device plugin gave them, in the kubelet's order.
    """

    namespace: str
    pod: str
    container: str
    resource: str
    device_ids: tuple[str, ...]


async def list_holdings(socket: str = DEFAULT_SOCKET, deadline: float = 5.0) -> tuple[Holding, ...]:
    """Every device that a container on this node holds, of any resource.

    Older kubelets list pods that have ended too, so one device may stand under two pods.

    Args:
        socket: path of the kubelet's PodResources socket.
        deadline: seconds for the whole call.

    Raises:
        PodResourcesError: if the kubelet is not there, does not answer in time, or does not offer the API.
    """
    # A channel of its own for each call: a kept one keeps threads and wakes up several times a second.
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
        try:
            answer = await PodResourcesListerStub(channel).List(pb.ListPodResourcesRequest(), timeout=deadline)
        except grpc.aio.AioRpcError as error:
            raise PodResourcesError(error.code().name, error.details() or "no details") from error
    return tuple(
        Holding(pod.namespace, pod.name, container.name, devices.resource_name, tuple(devices.device_ids))
        for pod in answer.pod_resources
        for container in pod.containers
        for devices in container.devices
    )
