"""The PodResources v1 service: which containers hold which devices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import grpc
import grpc.aio

from npu_core.kubelet._podresources import podresources_pb2 as api
from npu_core.kubelet._podresources.podresources_pb2_grpc import (
    PodResourcesListerServicer,
    add_PodResourcesListerServicer_to_server,
)
from testkit.standins.kubelet.pods import DraDevice

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class PodResourcesMode(StrEnum):
    """What callers meet."""

    SERVED = "served"
    ABSENT = "absent"
    """No socket."""
    UNIMPLEMENTED = "unimplemented"
    RESOURCE_EXHAUSTED = "resource-exhausted"
    """The kubelet's own rate limit."""


@dataclass(frozen=True, slots=True)
class PodResourcesBehaviour:
    """How the service behaves."""

    mode: PodResourcesMode = PodResourcesMode.SERVED
    delay: float = 0.0
    """Seconds before each answer."""
    terminal_pods: bool = False
    """Whether pods that are over are listed too, with what they held."""
    pods_after: float = 0.0
    """Seconds from its start in which the kubelet has not heard of its pods yet: it lists none and frees nothing."""


@dataclass(frozen=True, slots=True)
class ReportedDevice:
    """One device of a container."""

    resource: str
    id: str
    numa: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ReportedClaim:
    """A ResourceClaim of a container, with all its devices."""

    name: str
    namespace: str
    devices: tuple[DraDevice, ...]


@dataclass(frozen=True, slots=True)
class ReportedContainer:
    """One container."""

    name: str
    devices: tuple[ReportedDevice, ...] = ()
    claims: tuple[ReportedClaim, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportedPod:
    """One pod."""

    name: str
    namespace: str
    containers: tuple[ReportedContainer, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that the service can tell."""

    pods: tuple[ReportedPod, ...] = ()
    allocatable: tuple[ReportedDevice, ...] = ()


class PodResources(PodResourcesListerServicer):
    """The service.

    Args:
        report: Asked at every call.
        behaviour: Likewise.
        before_list: Called at every List before it looks: the kubelet drops pods that are over then.
    """

    def __init__(
        self,
        report: Callable[[], Report],
        behaviour: Callable[[], PodResourcesBehaviour],
        before_list: Callable[[], None] = lambda: None,
    ) -> None:
        self._report = report
        self._behaviour = behaviour
        self._before_list = before_list

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it there."""
        add_PodResourcesListerServicer_to_server(self, server)

    async def List(  # noqa: N802 - the service's name for it
        self,
        request: api.ListPodResourcesRequest,  # noqa: ARG002 - it has no fields
        context: grpc.aio.ServicerContext[api.ListPodResourcesRequest, api.ListPodResourcesResponse],
    ) -> api.ListPodResourcesResponse:
        """Every pod."""
        await self._behave(context)
        self._before_list()
        return api.ListPodResourcesResponse(pod_resources=map(_pod, self._report().pods))

    async def GetAllocatableResources(  # noqa: N802 - the service's name for it
        self,
        request: api.AllocatableResourcesRequest,  # noqa: ARG002 - it has no fields
        context: grpc.aio.ServicerContext[api.AllocatableResourcesRequest, api.AllocatableResourcesResponse],
    ) -> api.AllocatableResourcesResponse:
        """Every healthy device, in use or not."""
        await self._behave(context)
        return api.AllocatableResourcesResponse(devices=_devices(self._report().allocatable))

    async def Get(  # noqa: N802 - the service's name for it
        self,
        request: api.GetPodResourcesRequest,
        context: grpc.aio.ServicerContext[api.GetPodResourcesRequest, api.GetPodResourcesResponse],
    ) -> api.GetPodResourcesResponse:
        """One pod."""
        await self._behave(context)
        for pod in self._report().pods:
            if (pod.name, pod.namespace) == (request.pod_name, request.pod_namespace):
                return api.GetPodResourcesResponse(pod_resources=_pod(pod))
        await context.abort(
            grpc.StatusCode.UNKNOWN, f"pod {request.pod_name} in namespace {request.pod_namespace} not found"
        )
        raise AssertionError("abort returned")

    async def _behave(self, context: grpc.aio.ServicerContext[RequestT, ResponseT]) -> None:
        behaviour = self._behaviour()
        await asyncio.sleep(behaviour.delay)
        if behaviour.mode is PodResourcesMode.UNIMPLEMENTED:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service v1.PodResourcesLister")
        if behaviour.mode is PodResourcesMode.RESOURCE_EXHAUSTED:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")


def _pod(pod: ReportedPod) -> api.PodResources:
    containers = map(_container, pod.containers)
    return api.PodResources(name=pod.name, namespace=pod.namespace, containers=containers)


def _container(container: ReportedContainer) -> api.ContainerResources:
    return api.ContainerResources(
        name=container.name,
        devices=_devices(container.devices),
        dynamic_resources=map(_dynamic_resource, container.claims),
    )


def _dynamic_resource(claim: ReportedClaim) -> api.DynamicResource:
    """The kubelet collects CDI names by driver as it goes: the second device of a driver shows the first's too."""
    resources: list[api.ClaimResource] = []
    seen: dict[str, list[api.CDIDevice]] = {}
    for device in claim.devices:
        cdi = seen.setdefault(device.driver, [])
        cdi += [api.CDIDevice(name=name) for name in device.cdi]
        resources.append(
            api.ClaimResource(
                cdi_devices=cdi, driver_name=device.driver, pool_name=device.pool, device_name=device.device
            )
        )
    return api.DynamicResource(claim_name=claim.name, claim_namespace=claim.namespace, claim_resources=resources)


def _devices(devices: Iterable[ReportedDevice]) -> list[api.ContainerDevices]:
    """One message per device, also for several of one resource: that is how the kubelet sends them."""
    return [
        api.ContainerDevices(resource_name=device.resource, device_ids=[device.id], topology=_topology(device.numa))
        for device in devices
    ]


def _topology(numa: tuple[int, ...] | None) -> api.TopologyInfo | None:
    return None if numa is None else api.TopologyInfo(nodes=[api.NUMANode(ID=node) for node in numa])
