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
        """What admission may not give away, unless pods are dropped before."""
        return frozenset(self._in_use.get(resource, ()))

    def in_use_without(self, resource: str, pod_uids: Collection[str]) -> frozenset[str]:
        """What admission may not give away once these pods are dropped."""
        if not pod_uids:
            return self.in_use(resource)
        kept = [one for one in self._entries.values() if one.resource == resource and one.pod_uid not in pod_uids]
        return frozenset().union(*(one.held.ids for one in kept))

    def pods_beside(self, pod_uids: Collection[str]) -> frozenset[str]:
        """The uids of all pods with entries but these."""
        return frozenset(key[0] for key in self._entries).difference(pod_uids)

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

    def drop(self, pod_uids: Collection[str]) -> None:
        """These pods are over. What is in use without a holder is free too, if there is one of them."""
        if not pod_uids:
            return
        self._entries = {key: one for key, one in self._entries.items() if key[0] not in pod_uids}
        for reusable in [key for key in self._reusable if key[0] in pod_uids]:
            del self._reusable[reusable]
        self.recount()

    def recount(self) -> None:
        """Count as in use what somebody holds, and nothing else."""
        self._in_use.clear()
        for entry in self._entries.values():
            self.mark(entry.resource, entry.held.ids)

    def reusable(self, pod_uid: str, resource: str) -> frozenset[str]:
        """Devices of the pod's finished init containers that no later container took."""
        return frozenset(self._reusable.get((pod_uid, resource), ()))

    def pass_on(self, pod_uid: str, container: str, *, ends: bool) -> None:
        """Offer the devices of a container that ends to those after it; what a container that stays took is not.

        They stay booked for the container that ended, too, as long as the pod lives.
        """
        for entry in self._entries.values():
            if (entry.pod_uid, entry.container) != (pod_uid, container):
                continue
            offered = self._reusable[pod_uid, entry.resource]
            if ends:
                offered |= entry.held.ids
            else:
                offered -= entry.held.ids
