"""What PodResources tells: put together from pods, holdings and devices."""

from __future__ import annotations

from collections.abc import Iterable

from testkit.standins.kubelet.device_manager import DeviceManager
from testkit.standins.kubelet.holdings import NO_NUMA_NODE, Held, Holdings
from testkit.standins.kubelet.podresources import Report, ReportedClaim, ReportedContainer, ReportedDevice, ReportedPod
from testkit.standins.kubelet.pods import ContainerSpec, DraDevice, Phase, Pod


def report(pods: Iterable[Pod], holdings: Holdings, manager: DeviceManager, *, terminal_pods: bool) -> Report:
    """As it is now. Init containers that end are not listed; a pod that is over only if asked for."""
    return Report(
        pods=tuple(_pod(pod, holdings) for pod in pods if terminal_pods or not pod.phase.terminal),
        allocatable=tuple(
            ReportedDevice(resource, device, listing.numa[device])
            for resource, listing in sorted(manager.listings.items())
            for device in sorted(listing.healthy)
        ),
    )


def _pod(pod: Pod, holdings: Holdings) -> ReportedPod:
    containers = tuple(
        ReportedContainer(spec.name, _devices(pod, spec.name, holdings), _claims(pod, spec))
        for spec in pod.containers
        if not spec.ends
    )
    return ReportedPod(pod.name, pod.namespace, containers)


def _claims(pod: Pod, spec: ContainerSpec) -> tuple[ReportedClaim, ...]:
    """Those of the container, as long as they are prepared for the pod."""
    if pod.phase not in (Phase.WAITING, Phase.RUNNING):
        return ()
    claims: dict[str, list[DraDevice]] = {}
    for device in spec.claims:
        claims.setdefault(device.claim, []).append(device)
    return tuple(ReportedClaim(name, pod.namespace, tuple(devices)) for name, devices in claims.items())


def _devices(pod: Pod, container: str, holdings: Holdings) -> tuple[ReportedDevice, ...]:
    if pod.phase.terminal:
        return _devices_once_held(pod, container)
    return tuple(
        ReportedDevice(one.resource, device, _numa(one.held, device))
        for one in holdings
        if (one.pod_uid, one.container) == (pod.uid, container)
        for device in sorted(one.held.ids)
    )


def _devices_once_held(pod: Pod, container: str) -> tuple[ReportedDevice, ...]:
    if pod.admitted is None:
        return ()
    held = pod.admitted.container(container).device_ids
    return tuple(ReportedDevice(resource, device) for resource, ids in held.items() for device in ids)


def _numa(held: Held, device: str) -> tuple[int, ...] | None:
    nodes = tuple(node for node, ids in held.by_numa.items() if device in ids and node != NO_NUMA_NODE)
    return nodes or None
