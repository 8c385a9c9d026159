"""When a card may be cut anew. Pure: what is known of who holds what, and what follows for each card.

The kubelet never says that a unit is free again, and replays old answers to containers that restart. So a card is cut
as the settings say only if no container can hold a unit that the new cut does not have; until then it stays as its
holders know it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from npu_core.arch import Arch, ArchSpec
from npu_core.cores import CoreRange
from npu_core.partition import FUSION, Partitioning, UnitId, partitionings_of

HeldUnits = tuple[tuple[Arch, frozenset[UnitId]], ...]
"""Units that containers hold, by family; a family that is missing was not asked for."""

SETTLE = 10.0
"""Seconds after an answer of ours for which the kubelet may not list the unit yet."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is known of the units that containers hold.

    Attributes:
        listed: what the kubelet listed when it was last asked; nothing if it could never be asked.
        granted: our answers that no listing can have shown yet: of each unit, when it was last given out.
        recorded: what the kubelet's own record says was held before us, for as long as it cannot be asked.
    """

    listed: HeldUnits = ()
    granted: Mapping[tuple[Arch, UnitId], float] = field(default_factory=dict)
    recorded: HeldUnits = ()

    def with_grant(self, arch: Arch, units: Iterable[UnitId], now: float) -> "Ledger":
        """After the kubelet was given these units for a container, at ``now``."""
        return replace(self, granted={**self.granted, **{(arch, unit): now for unit in units}})

    def with_listing(self, listed: HeldUnits, asked: float) -> "Ledger":
        """After the kubelet listed everything that is held; it was asked at ``asked``."""
        recent = {grant: at for grant, at in self.granted.items() if asked - at < SETTLE}
        return Ledger(listed, recent)

    def with_partial_listing(self, listed: HeldUnits) -> "Ledger":
        """After a kubelet listed what is held that may not know all its pods yet: that adds, and frees nothing."""
        known = dict(self.recorded) | dict(self.listed)
        held = tuple((arch, units | known.get(arch, frozenset())) for arch, units in listed)
        return Ledger(held, self.granted)

    def with_record(self, recorded: HeldUnits) -> "Ledger":
        """After the kubelet could not be asked, but its record of what it gave out could be read."""
        return replace(self, recorded=recorded)

    def as_recorded(self) -> "Ledger":
        """As if a listing had said what the record says; nothing is held where there is none."""
        return self if self.listed else Ledger(self.recorded or NOTHING_HELD.listed)

    def held(self, arch: Arch, index: int) -> frozenset[CoreRange] | None:
        """The core ranges of a card that may be held; None if nobody can tell.

        A card that was listed as free, and given to nobody since, is free, however long ago that was: no container
        comes to a unit but through us.
        """
        return self.traces(arch, index) if arch in dict(self.listed) else None

    @property
    def inherited(self) -> frozenset[tuple[Arch, UnitId]] | None:
        """Every unit that is held and was not given out by us just now; None if nobody can tell."""
        known = dict(self.recorded) | dict(self.listed)
        held = frozenset((arch, unit) for arch, units in known.items() for unit in units)
        return held - self.granted.keys() if known else None

    def traces(self, arch: Arch, index: int) -> frozenset[CoreRange]:
        """The core ranges of a card that something speaks for being held: the listing, else the record, and grants.

        Enough to tell how a card was cut, and never to tell that it is free.
        """
        known = dict(self.recorded) | dict(self.listed)
        granted = (unit for family, unit in self.granted if family is arch)
        return frozenset(unit.cores for unit in (*known.get(arch, ()), *granted) if unit.index == index)


NOTHING_HELD = Ledger(tuple((arch, frozenset()) for arch in Arch))
"""For a look at a host where nothing runs."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a card is cut.

    Attributes:
        partitioning: the policy in force on the card.
        pending: why it is not the one that was wished for, in words; None if it is.
    """

    partitioning: Partitioning
    pending: str | None = None


def cut_of(
    spec: ArchSpec,
    current: Partitioning | None,
    wish: Partitioning,
    held: frozenset[CoreRange] | None,
    traces: frozenset[CoreRange] = frozenset(),
) -> Cut:
    """How a card is to be cut now.

    Args:
        spec: the card's family.
        current: the policy in force; None for a card that was not cut yet.
        wish: what the settings ask for; a family that cannot be cut so gets whole cards.
        held: the core ranges that may be held, or None if nobody can tell.
        traces: then, those that something speaks for; they tell how a card was cut that we have not cut yet.
    """
    goal = wish if wish.fits(spec) else FUSION
    now = goal if current is None else current
    if held is None:
        if current is None:
            now = _policy_of_holders(spec, goal, traces)
        return Cut(goal) if now == goal else Cut(now, "it cannot be told whether its units are held")
    if held <= set(goal.core_ranges(spec)):
        return Cut(goal)
    names = ", ".join(f"pe{cores}" for cores in sorted(held))
    return Cut(_policy_of_holders(spec, now, held), f"{names} held by a container")


def _policy_of_holders(spec: ArchSpec, current: Partitioning, held: frozenset[CoreRange]) -> Partitioning:
    """The policy under which everything held is a unit; the current one if there is none, or it is one."""
    candidates = (current, *partitionings_of(spec))
    return next((policy for policy in candidates if held <= set(policy.core_ranges(spec))), current)


def conflict(cores: CoreRange, held: frozenset[CoreRange]) -> str | None:
    """Why a unit may not be given out although its card is cut so: some of its cores are held as another unit."""
    others = sorted(other for other in held if other != cores and other.overlaps(cores))
    return f"its cores are held as {', '.join(f'pe{other}' for other in others)}" if others else None
