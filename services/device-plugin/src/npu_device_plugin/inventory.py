"""Which units there are and how they are: cards as they were last seen, cut up by policy. Pure: no I/O, no clock."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace

from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.health import HealthReport, HealthState
from npu_core.partition import FUSION, Partitioning, Unit, units_of
from npu_device_plugin.disabled import DisabledDevice

CardKey = tuple[Arch, int]


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was seen at least once.

    Attributes:
        device: what it is, as far as it could be read at any time.
        health: how it is, by all looks so far.
    """

    device: Device
    health: HealthState = field(default_factory=HealthState)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every card seen since the start, by key. None is ever forgotten: a lost one is unhealthy, not unknown."""

    cards: tuple[Card, ...] = ()

    def card(self, key: CardKey) -> Card | None:
        """The card with that key, if it was ever seen."""
        return next((card for card in self.cards if card.device.key == key), None)

    @property
    def families(self) -> tuple[Arch, ...]:
        """The families there are cards of, in the order of the architecture table."""
        present = {card.device.arch for card in self.cards}
        return tuple(arch for arch in Arch if arch in present)

    def with_devices(self, devices: Iterable[Device]) -> "Fleet":
        """After an enumeration that identified these cards: new ones are added, known ones brought up to date."""
        cards = {card.device.key: card for card in self.cards}
        for device in devices:
            known = cards.get(device.key)
            cards[device.key] = replace(known, device=_merged(known.device, device)) if known else Card(device)
        return Fleet(tuple(sorted(cards.values(), key=_card_order)))

    def with_look(self, key: CardKey, report: HealthReport, now: float) -> "Fleet":
        """After one look at a card's health; a card that is not known is left out."""
        return Fleet(
            tuple(
                replace(card, health=card.health.after(report, now)) if card.device.key == key else card
                for card in self.cards
            )
        )


def _card_order(card: Card) -> tuple[int, int]:
    return list(Arch).index(card.device.arch), card.device.index


def _merged(known: Device, seen: Device) -> Device:
    """What is known of a card after it was identified again: a failed read does not make us forget."""
    if not seen.unreadable or _is_another(known, seen):
        return seen
    kept = {item.name: getattr(known, item.name) for item in fields(Device) if getattr(seen, item.name) is None}
    return replace(seen, **kept)


def _is_another(known: Device, seen: Device) -> bool:
    """Whether the number belongs to another card now: of what tells cards apart, something is not what it was."""
    pairs = ((known.uuid, seen.uuid), (known.serial, seen.serial), (known.pci, seen.pci))
    return any(before is not None and now is not None and before != now for before, now in pairs)


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A card whose health is not what it was.

    Attributes:
        before: the card as it was; None if it is new.
        after: the card as it is.
    """

    before: Card | None
    after: Card


def health_changes(before: Fleet, after: Fleet) -> Iterator[HealthChange]:
    """The cards that are new or whose status changed, in their order."""
    for card in after.cards:
        known = before.card(card.device.key)
        if known is None or known.health.status is not card.health.status:
            yield HealthChange(known, card)


@dataclass(frozen=True, slots=True)
class OfferedUnit:
    """A unit and whether it may be given out.

    Attributes:
        unit: the unit.
        objections: why not, in words; none if it may.
    """

    unit: Unit
    objections: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether it may be given out."""
        return not self.objections


@dataclass(frozen=True, slots=True)
class ListedUnit:
    """All that the kubelet is told of a unit.

    Attributes:
        id: the unit's id.
        healthy: whether it may be given out.
        numa_node: NUMA node of the card, or None where the machine does not say.
    """

    id: str
    healthy: bool
    numa_node: int | None


@dataclass(frozen=True, slots=True)
class Offer:
    """The units of one family: what one resource consists of.

    Attributes:
        arch: the family.
        units: by card, then core.
    """

    arch: Arch
    units: tuple[OfferedUnit, ...] = ()

    @property
    def listing(self) -> tuple[ListedUnit, ...]:
        """What the kubelet is told. Equal listings need not be told twice."""
        return tuple(
            ListedUnit(offered.unit.id, offered.healthy, offered.unit.device.numa_node) for offered in self.units
        )

    def unit(self, unit_id: str) -> OfferedUnit | None:
        """The unit with that id, if it is offered."""
        return next((offered for offered in self.units if offered.unit.id == unit_id), None)


def offers(fleet: Fleet, partitioning: Partitioning, disabled: tuple[DisabledDevice, ...] = ()) -> tuple[Offer, ...]:
    """What each family of the node offers: every unit of every card, except what is disabled.

    A family that cannot be cut as the policy says is offered card by card.
    """
    return tuple(Offer(arch, tuple(_offered(fleet, arch, partitioning, disabled))) for arch in fleet.families)


def _offered(
    fleet: Fleet, arch: Arch, partitioning: Partitioning, disabled: tuple[DisabledDevice, ...]
) -> Iterator[OfferedUnit]:
    for card in fleet.cards:
        if card.device.arch is not arch:
            continue
        policy = partitioning if partitioning.fits(card.device.spec) else FUSION
        for unit in units_of(card.device, policy):
            if not any(entry.covers(unit) for entry in disabled):
                yield OfferedUnit(unit, _objections(card, unit))


def _objections(card: Card, unit: Unit) -> tuple[str, ...]:
    missing = tuple(f"device file {name} does not exist" for name in unit.missing_files)
    if card.health.is_healthy:
        return missing
    return (*(card.health.reasons or ("not looked at yet",)), *missing)
