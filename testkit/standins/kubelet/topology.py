"""The topology manager at container scope: hints, policies, and the split of devices by affinity."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

Numa = tuple[int, ...] | None
"""A device's NUMA nodes: None when the plugin sent no topology, () when it sent an empty one."""


class TopologyPolicy(StrEnum):
    """The kubelet's topology manager policies."""

    NONE = "none"
    BEST_EFFORT = "best-effort"
    RESTRICTED = "restricted"
    SINGLE_NUMA_NODE = "single-numa-node"


@dataclass(frozen=True, slots=True)
class Hint:
    """A set of NUMA nodes that could serve a request; None means any."""

    nodes: frozenset[int] | None
    preferred: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy makes of a container's hints; `nodes` is the affinity its devices should have."""

    admitted: bool
    nodes: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Affinity:
    """Available devices by how they lie to the container's affinity."""

    aligned: frozenset[str]
    unaligned: frozenset[str]
    indifferent: frozenset[str]


def cares(numa: Mapping[str, Numa]) -> bool:
    """Whether a resource takes part in alignment: any of its devices came with a topology.

    An empty topology counts. No hint can ever match it, which is how it fails pods.
    """
    return any(nodes is not None for nodes in numa.values())


def unlisted(wanted: AbstractSet[str], numa: Mapping[str, Numa]) -> frozenset[str]:
    """Those of the devices to make hints for whose topology cannot be looked up; newer kubelets die of one."""
    return frozenset(wanted).difference(numa) if cares(numa) else frozenset()


def split(available: AbstractSet[str], numa: Mapping[str, Numa], nodes: frozenset[int] | None) -> Affinity:
    """Sort available devices by the affinity; without one all of them are indifferent."""
    if nodes is None or not cares(numa):
        return Affinity(frozenset(), frozenset(), frozenset(available))
    placed = frozenset(device for device in available if numa.get(device))
    aligned = frozenset(device for device in placed if _touches(numa[device], nodes))
    return Affinity(aligned, placed - aligned, frozenset(available - placed))


def hints(
    request: int,
    numa: Mapping[str, Numa],
    available: AbstractSet[str],
    reusable: AbstractSet[str],
    machine: Sequence[int],
) -> tuple[Hint, ...]:
    """The NUMA node sets that could serve a request, the narrowest possible ones preferred.

    How narrow is possible is counted over all devices (`numa`), also unhealthy and allocated ones.
    """
    masks = [frozenset(mask) for size in range(1, len(machine) + 1) for mask in itertools.combinations(machine, size)]
    narrowest = min((len(mask) for mask in masks if len(_within(numa, numa, mask)) >= request), default=len(machine))
    return tuple(
        Hint(mask, preferred=len(mask) == narrowest)
        for mask in masks
        if _can_serve(request, numa, available, reusable, mask)
    )


def _can_serve(
    request: int,
    numa: Mapping[str, Numa],
    available: AbstractSet[str],
    reusable: AbstractSet[str],
    mask: frozenset[int],
) -> bool:
    pinned = {device for device in reusable if numa.get(device) is not None}
    if len(_within(pinned, numa, mask)) < len(pinned):
        return False
    return len(pinned) + len(_within(available, numa, mask)) >= request


def _within(devices: Iterable[str], numa: Mapping[str, Numa], mask: frozenset[int]) -> list[str]:
    return [device for device in devices if _touches(numa.get(device), mask)]


def _touches(numa: Numa, mask: frozenset[int]) -> bool:
    return numa is not None and not mask.isdisjoint(numa)


def decide(policy: TopologyPolicy, offers: Iterable[tuple[Hint, ...] | None], machine: Sequence[int]) -> Verdict:
    """Merge the hints of a container's resources and let the policy judge.

    Args:
        policy: The policy.
        offers: Per resource its hints: None for no preference, () for "cannot be served".
        machine: All NUMA nodes.
    """
    if policy is TopologyPolicy.NONE:
        return Verdict(admitted=True)
    everything = frozenset(machine)
    choices = [_normalised(offer) for offer in offers]
    if policy is TopologyPolicy.SINGLE_NUMA_NODE:
        choices = [tuple(filter(_is_single, choice)) for choice in choices]
    best = _best(choices, everything)
    nodes = best.nodes
    if policy is TopologyPolicy.SINGLE_NUMA_NODE and nodes == everything:
        nodes = None
    return Verdict(admitted=best.preferred or policy is TopologyPolicy.BEST_EFFORT, nodes=nodes)


def _normalised(offer: tuple[Hint, ...] | None) -> tuple[Hint, ...]:
    if offer is None:
        return (Hint(None, preferred=True),)
    return offer or (Hint(None, preferred=False),)


def _is_single(hint: Hint) -> bool:
    return hint.preferred and (hint.nodes is None or len(hint.nodes) == 1)


def _best(choices: Sequence[tuple[Hint, ...]], everything: frozenset[int]) -> Hint:
    merged = [_merged(combination, everything) for combination in itertools.product(*choices)]
    usable = [hint for hint in merged if hint.nodes]
    return min(usable, key=_rank, default=Hint(everything, preferred=False))


def _merged(combination: Iterable[Hint], everything: frozenset[int]) -> Hint:
    nodes, preferred = everything, True
    for hint in combination:
        nodes &= everything if hint.nodes is None else hint.nodes
        preferred &= hint.preferred
    return Hint(nodes, preferred)


def _rank(hint: Hint) -> tuple[bool, int, list[int]]:
    nodes = sorted(hint.nodes or ())
    return (not hint.preferred, len(nodes), nodes)
