"""The sources of who holds what, joined under the names of pods. Pure: no I/O, no clock.

The kubelet's checkpoint names a pod by its UID alone. The pod's name comes from two places: the kubelet's log directory
has a directory for each pod, ``NAMESPACE_NAME_UID``, and a device that the checkpoint and PodResources name for a
container of the same name shows which pod has the UID. A name is never guessed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from npu_core.claims import Claim, Container

PodName = tuple[str, str]
"""Namespace and name."""

_PARTS = 3


def pods_in(entries: Iterable[str]) -> dict[str, PodName]:
    """The pods by UID, from the entries of the kubelet's log directory. Neither part of an entry can contain ``_``.

    A UID that stands under two names is left out: a static pod may bring its own, and logs outlive their pod.
    """
    split = (entry.split("_") for entry in entries)
    found: defaultdict[str, set[PodName]] = defaultdict(set)
    for parts in split:
        if len(parts) == _PARTS and all(parts):
            found[parts[2]].add((parts[0], parts[1]))
    return {uid: next(iter(names)) for uid, names in found.items() if len(names) == 1}


def pods_shown(recorded: Iterable[Claim], listed: Iterable[Claim]) -> dict[str, PodName]:
    """The pods by UID, from devices that both sources name; only where exactly one pod of each source can be meant.

    Args:
        recorded: what the checkpoint names.
        listed: what PodResources lists, of a moment at which the checkpoint was the same.
    """
    uids: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    names: defaultdict[tuple[str, str, str], set[PodName]] = defaultdict(set)
    for claim in recorded:
        if claim.pod_uid:
            uids[_device(claim)].add(claim.pod_uid)
    for claim in listed:
        if claim.container is not None and not claim.is_dynamic:
            names[_device(claim)].add((claim.container.namespace, claim.container.pod))
    found: defaultdict[str, set[PodName]] = defaultdict(set)
    for device, holders in uids.items():
        if len(holders) == 1:
            found[next(iter(holders))] |= names[device]
    return {uid: next(iter(pods)) for uid, pods in found.items() if len(pods) == 1}


def _device(claim: Claim) -> tuple[str, str, str]:
    return claim.resource, claim.device_id, claim.container_name


@dataclass(frozen=True, slots=True)
class Holders:
    """Everything that containers hold.

    Attributes:
        claims: every device with its container.
        unnamed: what the checkpoint names for a pod whose name is not known.
        unconfirmed: pods with devices that the kubelet did not list the last time, and UIDs of pods without a name.
    """

    claims: tuple[Claim, ...] = ()
    unnamed: tuple[Claim, ...] = ()
    unconfirmed: frozenset[PodName | str] = frozenset()


def holders_of(claims: Iterable[Claim], names: Mapping[str, PodName], pods: frozenset[PodName]) -> Holders:
    """Everything that the sources name, under the names of pods.

    Args:
        claims: what the sources name together.
        names: names of pods by UID.
        pods: the pods that PodResources listed when it last answered, with devices or without.
    """
    told = tuple(_named(claim, names) for claim in claims)
    listed = {_device(claim) for claim in told if not claim.pod_uid}
    unnamed = tuple(claim for claim in told if claim.container is None and _device(claim) not in listed)
    carried = {(claim.container.namespace, claim.container.pod) for claim in told if claim.container is not None}
    return Holders(
        tuple(claim for claim in told if claim.container is not None),
        unnamed,
        frozenset((carried - pods) | {claim.pod_uid for claim in unnamed}),
    )


def _named(claim: Claim, names: Mapping[str, PodName]) -> Claim:
    name = names.get(claim.pod_uid)
    return claim if name is None else replace(claim, container=Container(*name, claim.container_name))
