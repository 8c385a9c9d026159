"""Asking the kubelet which containers hold which devices."""

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError

from npu_core.claims import Claim, Container
from npu_core.errors import NpuError
from npu_core.kubelet._podresources import podresources_pb2 as pb
from npu_core.kubelet.channel import CHANNEL_OPTIONS, connecting_fails
from npu_core.os_errors import explain
from npu_core.threads import NO_THREAD, grpc_refusal

_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.name
DEFAULT_SOCKET = "/var/lib/kubelet/pod-resources/kubelet.sock"
"""Where kubelets serve the API unless they were given another root directory."""

_LIST = "/v1.PodResourcesLister/List"
_OPTIONS = (
    *CHANNEL_OPTIONS,
    # Every processor of every container may be listed too: what the kubelet's own clients take, not gRPC's 4 MiB.
    ("grpc.max_receive_message_length", 16 << 20),
)


class PodResourcesError(NpuError):
    """The kubelet could not be asked.

    Attributes:
        code: gRPC's status code: ``UNAVAILABLE``, ``UNIMPLEMENTED``, ``RESOURCE_EXHAUSTED``, ... What kept gRPC from
            asking is ``UNAVAILABLE`` too; ``NO_THREAD`` if the system refuses the threads that gRPC needs.
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


@dataclass(frozen=True, slots=True)
class PodListing:
    """One answer of the API.

    Attributes:
        claims: every device that a listed container holds: of device plugins, and of drivers of Dynamic Resource
            Allocation. No ordinary init container is listed.
        pods: namespace and name of every pod that is listed, whether or not it holds devices. None of them is listed by
            a kubelet that started without its API server.
    """

    claims: tuple[Claim, ...] = ()
    pods: frozenset[tuple[str, str]] = frozenset()

    def knows_pods(self, node_name: str | None) -> bool:
        """Whether the kubelet has heard of its pods from the API server.

        Without the API server a kubelet lists its static pods alone, whose names end with that of the node.

        Args:
            node_name: the node's name; None if it is not known, and then any pod counts.
        """
        return any(node_name is None or not name.endswith(f"-{node_name}") for _, name in self.pods)


async def list_holdings(socket: str = DEFAULT_SOCKET, deadline: float = 5.0) -> tuple[Holding, ...]:
    """Every device that a container on this node holds, of any resource. Arguments and errors are :func:`list_pods`'s.

    Older kubelets list pods that have ended too, so one device may stand under two pods.

    Raises:
        PodResourcesError: as :func:`list_pods`.
    """
    answer = await _list(socket, deadline)
    return tuple(
        Holding(pod.namespace, pod.name, container.name, devices.resource_name, tuple(devices.device_ids))
        for pod in answer.pod_resources
        for container in pod.containers
        for devices in container.devices
    )


async def list_pods(socket: str = DEFAULT_SOCKET, deadline: float = 5.0) -> PodListing:
    """The pods that the kubelet knows, and every device that their containers hold, claims of drivers included.

    Args:
        socket: path of the kubelet's PodResources socket.
        deadline: seconds for the whole call.

    Raises:
        PodResourcesError: if the kubelet is not there, does not answer in time, or does not offer the API.
    """
    answer = await _list(socket, deadline)
    return PodListing(
        tuple(
            claim
            for pod in answer.pod_resources
            for container in pod.containers
            for claim in _claims(Container(pod.namespace, pod.name, container.name), container)
        ),
        frozenset((pod.namespace, pod.name) for pod in answer.pod_resources),
    )


async def _list(socket: str, deadline: float) -> pb.ListPodResourcesResponse:
    try:
        if refused := grpc_refusal():
            raise PodResourcesError(NO_THREAD, f"no thread to ask with: {refused}")
        # A channel of its own for each call: a kept one keeps threads and wakes up several times a second.
        async with grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
            # Decoded here: gRPC would log a traceback of bytes that are no answer, and give None in their place.
            list_: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_LIST)
            content = await list_(pb.ListPodResourcesRequest().SerializeToString(), timeout=deadline)
        return pb.ListPodResourcesResponse.FromString(content)
    except DecodeError as error:
        text = "the kubelet's answer cannot be decoded: expected a ListPodResourcesResponse, with names in UTF-8"
        raise PodResourcesError(grpc.StatusCode.INTERNAL.name, text) from error
    except grpc.aio.AioRpcError as error:
        why = connecting_fails(socket, "--pod-resources-socket") if error.code() is grpc.StatusCode.UNAVAILABLE else ""
        raise PodResourcesError(error.code().name, why or error.details() or "no details") from error
    except OSError as error:
        reason = explain(error, socket, setting="--pod-resources-socket", purpose="a channel")
        raise PodResourcesError(_UNAVAILABLE, reason) from error
    except (RuntimeError, MemoryError) as error:
        raise PodResourcesError(_UNAVAILABLE, f"cannot make a channel: {error!r}") from error


def _claims(holder: Container, container: pb.ContainerResources) -> Iterator[Claim]:
    for devices in container.devices:
        # Kubelets 1.20 and 1.21 tell of a device without a node that its node is -1.
        node = next((node.ID for node in devices.topology.nodes if node.ID >= 0), None)
        for device_id in devices.device_ids:
            yield Claim(devices.resource_name, device_id, node, container=holder, container_name=holder.container)
    for dynamic in container.dynamic_resources:
        for device in dynamic.claim_resources:
            yield Claim(
                device.driver_name,
                device.device_name,
                container=holder,
                container_name=holder.container,
                is_dynamic=True,
            )
