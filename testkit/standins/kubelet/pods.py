"""Pods: what is asked for, what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api

PathT = TypeVar("PathT", api.DeviceSpec, api.Mount)


@dataclass(frozen=True, slots=True)
class DraDevice:
    """A device that a container has by a ResourceClaim. No device plugin and no device manager hears of it."""

    driver: str
    pool: str
    device: str
    claim: str = "claim"
    """The name of the ResourceClaim, in the pod's namespace."""
    cdi: tuple[str, ...] = ()
    """Fully qualified CDI names."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container, its extended resources and its claimed devices.

    Raises:
        ValueError: It is restartable and no init container.
    """

    name: str
    resources: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Counts by resource, in the order the kubelet shall go through them."""
    init: bool = False
    restartable: bool = False
    """Of an init container: whether it is a sidecar, which runs for the pod's whole life."""
    claims: tuple[DraDevice, ...] = ()

    def __post_init__(self) -> None:
        """Check."""
        if self.restartable and not self.init:
            raise ValueError("only an init container can be a restartable one")

    @property
    def ends(self) -> bool:
        """Whether it runs to its end before the others start: an init container that is no sidecar."""
        return self.init and not self.restartable


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device file the runtime makes in the container."""

    container_path: str
    host_path: str
    permissions: str


@dataclass(frozen=True, slots=True)
class BindMount:
    """A mount the runtime makes in the container."""

    container_path: str
    host_path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class ContainerGrant:
    """What one container runs with: the cached answers of all its resources, merged."""

    container: str
    device_ids: Mapping[str, tuple[str, ...]]
    """Sorted ids by resource."""
    env: Mapping[str, str]
    devices: tuple[DeviceNode, ...]
    mounts: tuple[BindMount, ...]
    annotations: Mapping[str, str]
    cdi_devices: tuple[str, ...]
    """Fully qualified names, sorted."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admitted pod. The plain attributes are those of its first app container."""

    pod: str
    uid: str
    containers: tuple[ContainerGrant, ...]
    """Init containers first."""
    main: ContainerGrant

    def container(self, name: str) -> ContainerGrant:
        """The grant of one container.

        Raises:
            KeyError: There is no container of that name.
        """
        for grant in self.containers:
            if grant.container == name:
                return grant
        raise KeyError(name)

    @property
    def device_ids(self) -> tuple[str, ...]:
        """Of all resources."""
        return tuple(device for ids in self.main.device_ids.values() for device in ids)

    @property
    def env(self) -> Mapping[str, str]:
        """The environment the plugins gave."""
        return self.main.env

    @property
    def devices(self) -> tuple[DeviceNode, ...]:
        """The device files."""
        return self.main.devices

    @property
    def mounts(self) -> tuple[BindMount, ...]:
        """The mounts."""
        return self.main.mounts

    @property
    def annotations(self) -> Mapping[str, str]:
        """For the runtime."""
        return self.main.annotations

    @property
    def cdi_devices(self) -> tuple[str, ...]:
        """Fully qualified CDI names."""
        return self.main.cdi_devices


class Phase(StrEnum):
    """How far a pod got. A waiting one is admitted and holds devices, but a container cannot start yet."""

    PENDING = "Pending"
    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def terminal(self) -> bool:
        """Whether the pod is over."""
        return self in (Phase.SUCCEEDED, Phase.FAILED)


@dataclass(slots=True, kw_only=True)
class Pod:
    """One pod, as the API server and the container runtime keep it: it outlives the kubelet's process."""

    name: str
    namespace: str
    uid: str
    containers: tuple[ContainerSpec, ...]
    phase: Phase = Phase.PENDING
    reason: str = ""
    message: str = ""
    admitted: Admitted | None = None
    started: set[str] = field(default_factory=set)
    """Names of the containers that run, or ran to their end."""
    starts: int = 0
    """How many times a container of it was started."""

    def requests(self, resource: str) -> int:
        """How many of a resource a node needs for the pod."""
        lasting = sum(spec.resources.get(resource, 0) for spec in self.containers if not spec.ends)
        return max([lasting, *(spec.resources.get(resource, 0) for spec in self.containers if spec.ends)])

    def view(self) -> PodView:
        """As it is now."""
        return PodView(
            name=self.name,
            namespace=self.namespace,
            uid=self.uid,
            phase=self.phase,
            reason=self.reason,
            message=self.message,
            admitted=self.admitted,
            starts=self.starts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod at one moment."""

    name: str
    namespace: str
    uid: str
    phase: Phase
    reason: str
    message: str
    admitted: Admitted | None
    starts: int

    @property
    def running(self) -> bool:
        """Whether all its containers were started."""
        return self.phase is Phase.RUNNING

    def holds(self, resource: str) -> frozenset[str]:
        """What its containers have of a resource, whether or not a kubelet knows; nothing once it is over."""
        if self.admitted is None or self.phase not in (Phase.WAITING, Phase.RUNNING):
            return frozenset()
        return frozenset(device for one in self.admitted.containers for device in one.device_ids.get(resource, ()))


def merged(
    container: str, ids: Mapping[str, tuple[str, ...]], responses: Sequence[api.ContainerAllocateResponse]
) -> tuple[ContainerGrant, tuple[str, ...]]:
    """Merge the answers of a container's resources; of two with one key the first wins.

    Returns:
        The grant, and the names of environment variables on which the answers differ.
    """
    env, conflicts = _first_wins(response.envs for response in responses)
    annotations, _ = _first_wins(response.annotations for response in responses)
    nodes = _first_of_each_path(spec for response in responses for spec in response.devices)
    mounts = _first_of_each_path(mount for response in responses for mount in response.mounts)
    grant = ContainerGrant(
        container=container,
        device_ids=MappingProxyType(dict(ids)),
        env=env,
        devices=tuple(DeviceNode(one.container_path, one.host_path, one.permissions) for one in nodes),
        mounts=tuple(BindMount(one.container_path, one.host_path, one.read_only) for one in mounts),
        annotations=annotations,
        cdi_devices=tuple(sorted({cdi.name for response in responses for cdi in response.cdi_devices})),
    )
    return grant, conflicts


def _first_wins(mappings: Iterable[Mapping[str, str]]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    result: dict[str, str] = {}
    conflicts: list[str] = []
    for mapping in mappings:
        conflicts += [key for key in mapping if result.get(key, mapping[key]) != mapping[key]]
        result = {**mapping, **result}
    return MappingProxyType(result), tuple(conflicts)


def _first_of_each_path(items: Iterable[PathT]) -> list[PathT]:
    first: dict[str, PathT] = {}
    for item in items:
        first.setdefault(item.container_path, item)
    return list(first.values())
