"""What the kubelet is offered: every unit of every card, and why each may or may not be given out. Pure: no I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from npu_core.allocations import NOTHING_HELD, Allocations, NamedDevice
from npu_core.arch import Arch
from npu_core.device import CardKey, Device
from npu_core.identity import doubles, is_same_function
from npu_core.partition import FUSION, Partitioning, Unit, units_of
from npu_device_plugin.allocation.disabled import DisabledDevice
from npu_device_plugin.allocation.inventory import Card, Fleet, card_order


@dataclass(frozen=True, slots=True)
class OfferedUnit:
    """A unit and whether it may be given out.

    Attributes:
        unit: the unit.
        objections: why not, in words; none if it may.
        disabled: whether the operator wants it gone; it is listed only for as long as it may be held.
        is_blocked: whether its cores may be held under another name.
        kept_node: NUMA node that the kubelet has for the unit, from before; None for none.
    """

    unit: Unit
    objections: tuple[str, ...] = ()
    disabled: bool = False
    is_blocked: bool = False
    kept_node: int | None = None

    @property
    def healthy(self) -> bool:
        """Whether it may be given out."""
        return not self.objections

    @property
    def numa_node(self) -> int | None:
        """The card's NUMA node; where the card does not say, as one that hangs, the node that its holder was given."""
        node = self.unit.device.numa_node
        return self.kept_node if node is None else node


@dataclass(frozen=True, slots=True)
class ListedUnit:
    """Everything that a list message says of a unit.

    Attributes:
        id: the unit's id.
        healthy: whether it may be given out.
        numa_node: NUMA node, see :attr:`OfferedUnit.numa_node`; None for none.
    """

    id: str
    healthy: bool
    numa_node: int | None


@dataclass(frozen=True, slots=True)
class KeptId:
    """A device id that stays listed, unhealthy, only because a source says that a container holds it.

    A kubelet looks up every held device in the plugin's list, and some releases crash if the id is not there.

    Attributes:
        id: the id, word for word as the source names it.
        numa_node: NUMA node that the kubelet has for the id; None for none.
    """

    id: str
    numa_node: int | None = None


KEPT = "held by a container, and no unit of this resource now"
"""Why a kept id is not healthy."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The units of one family: what one resource consists of.

    Attributes:
        arch: the family.
        units: by card, then core.
        kept: ids of no unit that the kubelet must go on seeing, in order.
    """

    arch: Arch
    units: tuple[OfferedUnit, ...] = ()
    kept: tuple[KeptId, ...] = ()

    @property
    def listing(self) -> tuple[ListedUnit, ...]:
        """What the kubelet is told. Equal listings need not be told twice."""
        units = (ListedUnit(offered.unit.id, offered.healthy, offered.numa_node) for offered in self.units)
        return (*units, *(ListedUnit(each.id, healthy=False, numa_node=each.numa_node) for each in self.kept))

    @property
    def waits_for_holders(self) -> bool:
        """Whether something is listed, or not given out, only because it may still be held."""
        return bool(self.kept) or any(offered.disabled or offered.is_blocked for offered in self.units)

    @property
    def by_id(self) -> dict[str, OfferedUnit]:
        """Every unit by its id. Made anew at each use."""
        return {offered.unit.id: offered for offered in self.units}


def offers(
    fleet: Fleet,
    partitioning: Partitioning,
    disabled: tuple[DisabledDevice, ...] = (),
    allocations: Allocations = NOTHING_HELD,
) -> tuple[Offer, ...]:
    """What each family of the node offers: every unit of every card, except what is disabled.

    Args:
        fleet: the cards.
        partitioning: for cards whose cut was not decided yet. A family that cannot be cut so is offered card by card.
        disabled: what may not be given out. A disabled unit that may still be held stays listed, unhealthy.
        allocations: who may hold what.
    """
    cards = fleet.with_decided_cuts(partitioning, allocations).cards
    left_out = _left_out(cards, disabled, allocations)
    units: dict[Arch, list[OfferedUnit]] = {arch: [] for arch in (*fleet.families, *allocations.named)}
    for card in cards:
        key = card.device.key
        units[card.device.arch] += _offered(card, _twins(card, cards), left_out.get(key), disabled, allocations)
    return tuple(
        Offer(arch, tuple(units[arch]), _kept(units[arch], allocations.named.get(arch, ())))
        for arch in Arch
        if arch in units
    )


def _kept(units: Iterable[OfferedUnit], named: Iterable[NamedDevice]) -> tuple[KeptId, ...]:
    listed = {offered.unit.id for offered in units}
    return tuple(KeptId(each.id, each.numa_node) for each in named if each.id not in listed)


def _left_out(
    cards: tuple[Card, ...], disabled: tuple[DisabledDevice, ...], allocations: Allocations
) -> dict[CardKey, Device]:
    """The entries that lead to the hardware of another entry, and that entry; held ones come first."""

    def order(card: Card) -> tuple[bool, bool, tuple[int, int]]:
        is_free = not allocations.possible_uses(card.device.key)
        return is_free, card.device.physical_function is not None, card_order(card)

    def counts(card: Card) -> bool:
        # An entry that may be held keeps the others of its hardware from being given out, lost or disabled as it is.
        if allocations.possible_uses(card.device.key):
            return True
        if any(entry.covers_card(card.device, card.former) for entry in disabled):
            return allocations.held(card.device.key) is None
        return card.gone_since is None

    left_out = doubles(card.device for card in sorted(filter(counts, cards), key=order))
    # A card whose address is not known may be the one that a virtual function belongs to.
    unplaced = [card.device for card in cards if card.device.pci is None and allocations.possible_uses(card.device.key)]
    known = {card.device.pci for card in cards}
    for card in cards:
        physical = card.device.physical_function
        if physical is not None and physical not in known and unplaced:
            left_out.setdefault(card.device.key, unplaced[0])
    return left_out


def _twins(card: Card, cards: Iterable[Card]) -> tuple[Card, ...]:
    """Other entries of the card's PCI function: what is disabled of one is disabled of all."""
    return tuple(each for each in cards if each is not card and is_same_function(each.device, card.device))


def _offered(
    card: Card,
    twins: tuple[Card, ...],
    kept_instead: Device | None,
    disabled: tuple[DisabledDevice, ...],
    allocations: Allocations,
) -> Iterator[OfferedUnit]:
    held = allocations.held(card.device.key)
    nodes = {each.id: each.numa_node for each in allocations.named.get(card.device.arch, ())}
    for unit in units_of(card.device, card.cut.partitioning if card.cut else FUSION):
        is_disabled = any(
            entry.covers(replace(unit, device=each.device), each.former)
            for entry in disabled
            for each in (card, *twins)
        )
        if is_disabled and held is not None and not any(cores.overlaps(unit.cores) for cores in held):
            continue
        blocked = allocations.conflicts(card.device.key, unit.cores)
        objections = [
            *_objections(card, unit, held, is_disabled=is_disabled),
            *(
                f"it cannot be told whether it is disabled as {entry.name}"
                for entry in disabled
                if entry.may_mean(card.device)
            ),
        ]
        if kept_instead is not None:
            objections.append(f"it is the same hardware as {kept_instead.name}")
        if blocked:
            names = ", ".join(f"pe{cores}" for cores in sorted(blocked))
            objections.append(f"its cores may be held as {names} under another name")
        yield OfferedUnit(unit, tuple(objections), is_disabled, bool(blocked), nodes.get(unit.id))


def _objections(card: Card, unit: Unit, held: object, *, is_disabled: bool) -> Iterator[str]:
    if not card.health.is_healthy:
        yield from card.health.reasons or ("not looked at yet",)
    if card.awaited:
        yield f"its driver may still be making device files: {', '.join(card.awaited)} missing"
    else:
        yield from (f"device file {name} does not exist" for name in unit.missing_files)
    if card.rejection:
        yield card.rejection
    if is_disabled:
        yield "disabled, and it cannot be told whether it is held" if held is None else "disabled, but still held"
