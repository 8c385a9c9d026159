"""Who may hold what: one rule that joins everything known about the devices that containers hold.

Three sources speak of a device that a container holds. None of them is complete:

* **PodResources**, the kubelet's API, lists containers and sidecars of the pods that the kubelet knows. It lists no
  ordinary init container, and a kubelet that started without its API server lists no pod.
* **The kubelet's checkpoint** names every container that was given a device, init containers included. It still names
  containers of pods that ended, until the kubelet writes the file again.
* **Grants** are answers to Allocate that the checkpoint cannot name yet.

So a device is free only if no source names it, and only if the checkpoint could be read. Everything here is pure: no
I/O, no clock.

Source: the kubelet's device manager and pod-resources API, Kubernetes 1.20 to 1.37; see docs/kubelet.md.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from npu_core.arch import Arch
from npu_core.claims import Claim, KnownCard, is_of_domain, meaning_of
from npu_core.cores import CoreRange
from npu_core.device import CardKey
from npu_core.partition import UnitId


@dataclass(frozen=True, slots=True)
class NamedDevice:
    """A device id that a source names under one of this plugin's resources.

    Attributes:
        id: the id, word for word.
        numa_node: NUMA node that the kubelet has for the device; None for none.
    """

    id: str
    numa_node: int | None = None


@dataclass(frozen=True, slots=True)
class Allocations:
    """What containers may hold, from all sources together.

    Attributes:
        is_complete: whether "named by no source" means "free". False while the kubelet's checkpoint cannot be read.
        units: core ranges held by the unit id that this plugin gives them, by card.
        others: cores that may be held under any other name, by card.
        named: every id that a source names under the resource of a family, by family, in order of the ids.
        unmapped: claims whose id follows no known scheme, in order.
        numbers: the cards that some claim means by their number, in any form.
    """

    is_complete: bool = False
    units: Mapping[CardKey, frozenset[CoreRange]] = field(default_factory=dict)
    others: Mapping[CardKey, frozenset[CoreRange]] = field(default_factory=dict)
    named: Mapping[Arch, tuple[NamedDevice, ...]] = field(default_factory=dict)
    unmapped: tuple[tuple[str, str], ...] = ()
    numbers: frozenset[CardKey] = frozenset()

    def possible_uses(self, card: CardKey) -> frozenset[CoreRange]:
        """The core ranges of a card that something says are held. Never tells that a card is free."""
        return self.units.get(card, frozenset()) | self.others.get(card, frozenset())

    def held(self, card: CardKey) -> frozenset[CoreRange] | None:
        """The core ranges of a card that may be held; empty for a free card; None if nobody can tell."""
        return self.possible_uses(card) if self.is_complete else None

    def conflicts(self, card: CardKey, cores: CoreRange) -> frozenset[CoreRange]:
        """The held core ranges because of which a unit must not be given out, although the kubelet thinks it free.

        The kubelet itself keeps a unit from being given out twice under one id. It does not know that two ids share
        cores, nor that another resource's device is the same card.
        """
        units = (held for held in self.units.get(card, ()) if held != cores)
        return frozenset(held for held in (*units, *self.others.get(card, ())) if held.overlaps(cores))


NOTHING_HELD = Allocations(is_complete=True)
"""For a host where nothing runs."""


def join(
    claims: Iterable[Claim],
    grants: Iterable[tuple[Arch, UnitId]],
    cards: Collection[KnownCard],
    resources: Mapping[Arch, str],
    *,
    is_complete: bool,
) -> Allocations:
    """Everything that may be held.

    Args:
        claims: what every source names, together. One device may be named several times.
        grants: units that were given out and that no source may name yet.
        cards: the cards of this host, lost ones included.
        resources: the name of each family's resource.
        is_complete: whether the sources together name everything that is held.
    """
    moved = [((card.device.arch, index), card.device.key) for card in cards for index in card.former]
    units: dict[CardKey, set[CoreRange]] = {}
    others: dict[CardKey, set[CoreRange]] = {}
    named: dict[Arch, dict[str, int | None]] = {}
    unmapped: set[tuple[str, str]] = set()
    for arch, unit in grants:
        units.setdefault((arch, unit.index), set()).add(unit.cores)
        named.setdefault(arch, {}).setdefault(str(unit), None)
    for claim in claims:
        meaning = meaning_of(claim, cards, resources)
        own = next((arch for arch, name in resources.items() if name == claim.resource), None)
        if not meaning.is_known:
            unmapped.add((claim.resource, claim.device_id))
        if own is not None:
            ids = named.setdefault(own, {})
            nodes = (claim.numa_node, ids.get(claim.device_id))
            ids[claim.device_id] = min((node for node in nodes if node is not None), default=None)
        for place in meaning.places:
            by_own_id = place.card[0] is own and claim.device_id == str(UnitId(place.card[1], place.cores))
            (units if by_own_id else others).setdefault(place.card, set()).add(place.cores)
    # The kubelet knows a renumbered card by the number that the card had. If another card has that number now, the
    # claim may mean either card, so both count as held.
    told = {card: frozenset(units.get(card, ())) | frozenset(others.get(card, ())) for card in {*units, *others}}
    for before, now in moved:
        if before in told:
            others.setdefault(now, set()).update(told[before])
    return Allocations(
        is_complete=is_complete,
        units=_frozen(units),
        others=_frozen(others),
        named={arch: _in_order(ids) for arch, ids in sorted(named.items())},
        unmapped=tuple(sorted(unmapped)),
        numbers=frozenset(told),
    )


def _frozen(uses: Mapping[CardKey, Iterable[CoreRange]]) -> dict[CardKey, frozenset[CoreRange]]:
    return {card: frozenset(uses[card]) for card in sorted(uses)}


def _in_order(ids: Mapping[str, int | None]) -> tuple[NamedDevice, ...]:
    return tuple(NamedDevice(text, ids[text]) for text in sorted(ids))


# -- what the sources said last ---------------------------------------------------------------------------------------

DeviceName = tuple[str, str]
"""Resource and device id."""

_REWRITES = 2
"""Times that the kubelet has to write its checkpoint without a grant, before the grant counts as one that it did not
take. Once is not enough: a list message may make it write in the moment between our answer and its own note of it."""


@dataclass(frozen=True, slots=True)
class _Grant:
    """An answer to Allocate that no source has confirmed.

    Attributes:
        stamp: of the checkpoint when the answer was given: that writing cannot name the grant.
        missed: writings of the checkpoint since then that did not name it.
    """

    stamp: Hashable
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Sources:
    """What each source said last. Values: every method gives a new one.

    Attributes:
        recorded: what the checkpoint named when it could last be read.
        stamp: of that writing of the checkpoint; None if there was no file.
        is_recorded: whether the checkpoint could be read the last time it was looked at.
        listed: what PodResources listed when it was last asked with success; None if it never answered.
        is_listed: whether the last question to PodResources was answered.
        grants: answers to Allocate that no writing of the checkpoint has confirmed.
    """

    recorded: tuple[Claim, ...] = ()
    stamp: Hashable = None
    is_recorded: bool = False
    listed: tuple[Claim, ...] | None = None
    is_listed: bool = False
    grants: Mapping[tuple[Arch, UnitId], _Grant] = field(default_factory=dict)

    def with_grant(self, arch: Arch, units: Iterable[UnitId], stamp: Hashable) -> "Sources":
        """After these units were given out, while the checkpoint was the writing with this stamp."""
        return replace(self, grants={**self.grants, **{(arch, unit): _Grant(stamp) for unit in units}})

    def with_checkpoint(self, claims: tuple[Claim, ...], stamp: Hashable, resources: Mapping[Arch, str]) -> "Sources":
        """After the checkpoint was read: it names these devices."""
        named = {(claim.resource, claim.device_id) for claim in claims}
        grants = {}
        for (arch, unit), given in self.grants.items():
            is_news = stamp not in {given.stamp, self.stamp}
            if is_news and (resources.get(arch, ""), str(unit)) in named:
                continue
            missed = given.missed + is_news
            if missed < _REWRITES:
                grants[arch, unit] = replace(given, missed=missed)
        return replace(self, recorded=claims, stamp=stamp, is_recorded=True, grants=grants)

    def without_checkpoint(self) -> "Sources":
        """After the checkpoint could not be read, or was not where it has to be. What it named last still counts."""
        return self if not self.is_recorded else replace(self, is_recorded=False)

    def with_listing(self, claims: tuple[Claim, ...], *, knows_pods: bool) -> "Sources":
        """After PodResources answered.

        Args:
            claims: what it listed.
            knows_pods: whether the kubelet has heard of its pods. If not, what only this source names still counts.
        """
        # A checkpoint that can be read names everything but what was handed out dynamically.
        only_here = (claim for claim in self.listed or () if claim.is_dynamic or not self.is_recorded)
        kept = () if knows_pods else tuple(only_here)
        return replace(self, listed=tuple(dict.fromkeys((*claims, *kept))), is_listed=True)

    def without_listing(self) -> "Sources":
        """After PodResources could not be asked."""
        return self if not self.is_listed else replace(self, is_listed=False)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What counts: the checkpoint, and the listing where it is of now or the only source for a device."""
        fresh = self.is_listed or not self.is_recorded
        # Only the checkpoint tells which family's card a device is, where the ids of two families are the same.
        told = {(claim.resource, claim.device_id) for claim in self.recorded if claim.arch is not None}
        listed = (
            claim
            for claim in self.listed or ()
            if claim.is_dynamic or (fresh and (claim.resource, claim.device_id) not in told)
        )
        return (*self.recorded, *listed)

    def unconfirmed(self, resources: Mapping[Arch, str]) -> frozenset[DeviceName]:
        """NPUs that the checkpoint names and the listing does not: of an init container, or of a pod that ended."""
        listed = {(claim.resource, claim.device_id) for claim in self.listed or ()}
        recorded = {(claim.resource, claim.device_id) for claim in self.recorded} - listed
        own = frozenset(resources.values())
        return frozenset(name for name in recorded if name[0] in own or is_of_domain(name[0]))

    def joined(self, cards: Collection[KnownCard], resources: Mapping[Arch, str]) -> Allocations:
        """Everything that may be held; see :func:`join`."""
        return join(self.claims, self.grants, cards, resources, is_complete=self.is_recorded)
