"""Who holds which devices, and which devices count as in use. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

NO_NUMA_NODE = -1
"""The checkpoint's key for devices without a known NUMA node."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one container holds of one resource."""

    by_numa: Mapping[int, tuple[str, ...]]
    """Ids by NUMA node; a device near two nodes is under both."""
    response: bytes
    """The serialized ContainerAllocateResponse, replayed at every start of the container."""

    @property
    def ids(self) -> frozenset[str]:
        """The devices."""
        return frozenset(device for ids in self.by_numa.values() for device in ids)


@dataclass(frozen=True, slots=True)
class Holding:
    """One entry of the checkpoint."""

    pod_uid: str
    container: str
    resource: str
    held: Held


def by_numa(ids: Iterable[str], numa: Mapping[str, tuple[int, ...] | None]) -> dict[int, tuple[str, ...]]:
    """Group devices as the checkpoint does."""
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for device in sorted(ids):
        for node in numa.get(device) or (NO_NUMA_NODE,):
            groups[node].append(device)
    return {node: tuple(devices) for node, devices in sorted(groups.items())}


class Holdings:
    """The kubelet's only idea of use. Plugins are never told of a release.

    A device can be in use without a holder: an Allocate answer without containers leaves it so.
    """

    def __init__(self, entries: Iterable[Holding] = ()) -> None:
        self._entries = {(one.pod_uid, one.container, one.resource): one for one in entries}
        self._reusable: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._in_use: defaultdict[str, set[str]] = defaultdict(set)
        self.recount()

    def __iter__(self) -> Iterator[Holding]:
        """All entries."""
        return iter(tuple(self._entries.values()))

    def in_use(self, resource: str) -> frozenset[str]:
        """What admission may not give away."""
        return frozenset(self._in_use.get(resource, ()))

    def get(self, pod_uid: str, container: str, resource: str) -> Held | None:
        """What a container holds of a resource."""
        entry = self._entries.get((pod_uid, container, resource))
        return entry.held if entry else None

    def mark(self, resource: str, ids: Iterable[str]) -> None:
        """Chosen, so in use, though nobody holds them yet."""
        self._in_use[resource].update(ids)

    def insert(self, holding: Holding) -> None:
        """Allocated."""
        self._entries[holding.pod_uid, holding.container, holding.resource] = holding
        self.mark(holding.resource, holding.held.ids)

    def release_all_but(self, pod_uids: Collection[str]) -> None:
        """Only these pods still exist."""
        for pod_uid in {key[0] for key in self._entries}.difference(pod_uids):
            self.release(pod_uid)

    def release(self, pod_uid: str) -> None:
        """The pod is over."""
        mine = [key for key in self._entries if key[0] == pod_uid]
        for key in mine:
            del self._entries[key]
        for reusable in [key for key in self._reusable if key[0] == pod_uid]:
            del self._reusable[reusable]
        if mine:
            self.recount()

    def recount(self) -> None:
        """Count as in use what somebody holds, and nothing else."""
        self._in_use.clear()
        for entry in self._entries.values():
            self.mark(entry.resource, entry.held.ids)

    def reusable(self, pod_uid: str, resource: str) -> frozenset[str]:
        """Devices of the pod's finished init containers that no later container took."""
        return frozenset(self._reusable.get((pod_uid, resource), ()))

    def pass_on(self, pod_uid: str, container: str, *, init: bool) -> None:
        """Offer an init container's devices to those after it; what an app container took is not offered."""
        for entry in self._entries.values():
            if (entry.pod_uid, entry.container) != (pod_uid, container):
                continue
            offered = self._reusable[pod_uid, entry.resource]
            if init:
                offered |= entry.held.ids
            else:
                offered -= entry.held.ids
