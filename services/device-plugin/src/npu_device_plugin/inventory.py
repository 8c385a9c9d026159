"""Which units there are and how they are: cards as they were last seen, cut up by policy. Pure: no I/O, no clock."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace

from npu_core.arch import Arch
from npu_core.device import CardKey, Device, file_order
from npu_core.health import HealthReport, HealthState
from npu_core.partition import FUSION, Partitioning, Unit, units_of
from npu_device_plugin.cutting import NOTHING_HELD, Cut, Ledger, conflict, cut_of
from npu_device_plugin.disabled import DisabledDevice

FORGET_AFTER = 60.0
"""Seconds after which a lost card that nobody holds is not listed any more. It is listed again when it comes back."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was seen at least once.

    Attributes:
        device: what it is, as far as it could be read at any time.
        health: how it is, by all looks so far.
        cut: how it is cut; None before that was decided.
        rejection: why it is not ours any more, by its last identification; None if it is.
        gone_since: time of the first of the looks, up to now, that did not find it; None if the last one did.
    """

    device: Device
    health: HealthState = field(default_factory=HealthState)
    cut: Cut | None = None
    rejection: str | None = None
    gone_since: float | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every card seen since the start, by key. A lost one is unhealthy, and kept for as long as it may be held."""

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
            cards[device.key] = _updated(known, device) if known else Card(device)
        return Fleet(tuple(sorted(cards.values(), key=_card_order)))

    def with_rejection(self, key: CardKey, reason: str) -> "Fleet":
        """After a known card turned out to be none of ours; a card that is not known is left out."""
        return self._with(key, lambda card: replace(card, rejection=reason))

    def with_look(self, key: CardKey, report: HealthReport, now: float, *, present: bool = True) -> "Fleet":
        """After one look at a card, which was there or not; a card that is not known is left out."""
        return self._with(
            key,
            lambda card: replace(
                card,
                health=card.health.after(report, now),
                gone_since=_gone_since(card, now, present=present),
            ),
        )

    def _with(self, key: CardKey, change: Callable[[Card], Card]) -> "Fleet":
        """With one card changed. Nothing is made anew of which nothing is: cards are looked at every second."""
        arch, index = key
        for place, card in enumerate(self.cards):
            if card.device.index == index and card.device.arch is arch:
                changed = change(card)
                return self if changed == card else Fleet((*self.cards[:place], changed, *self.cards[place + 1 :]))
        return self

    def with_cuts(self, wish: Partitioning, ledger: Ledger) -> "Fleet":
        """Every card cut as the settings wish, except those of which a container may hold something else."""
        cuts = [_cut(card, wish, ledger) for card in self.cards]
        if all(card.cut == cut for card, cut in zip(self.cards, cuts, strict=True)):
            return self
        return Fleet(tuple(replace(card, cut=cut) for card, cut in zip(self.cards, cuts, strict=True)))

    def without_lost(self, ledger: Ledger, now: float) -> "Fleet":
        """Without the cards that have been gone for :data:`FORGET_AFTER` and that nobody holds."""
        return Fleet(tuple(card for card in self.cards if not _is_lost(card, ledger, now)))

    @property
    def pending(self) -> tuple[Card, ...]:
        """The cards that are not cut as the settings wish, yet."""
        return tuple(card for card in self.cards if card.cut and card.cut.pending)


def _gone_since(card: Card, now: float, *, present: bool) -> float | None:
    if present:
        return None
    return now if card.gone_since is None else card.gone_since


def _cut(card: Card, wish: Partitioning, ledger: Ledger) -> Cut:
    current = card.cut.partitioning if card.cut else None
    key = card.device.key
    return cut_of(card.device.spec, current, wish, ledger.held(*key), ledger.traces(*key))


def _is_lost(card: Card, ledger: Ledger, now: float) -> bool:
    gone = card.gone_since is not None and now - card.gone_since >= FORGET_AFTER
    return gone and ledger.held(*card.device.key) == frozenset()


def _card_order(card: Card) -> tuple[int, int]:
    return list(Arch).index(card.device.arch), card.device.index


def _updated(known: Card, seen: Device) -> Card:
    """A card after it was identified again. Another card under the same number starts anew, but for its holders."""
    if _is_another(known.device, seen):
        return Card(seen, cut=known.cut)
    return replace(known, device=_merged(known.device, seen), rejection=None)


def _merged(known: Device, seen: Device) -> Device:
    """What is known of a card after it was identified again: a failed read does not make us forget.

    Nor does a device file that has gone: the card is not whole until it is back. Another driver may have other files.
    """
    same_driver = known.driver == seen.driver or seen.driver is None
    files = {*seen.files, *known.files} if same_driver else set(seen.files)
    merged = replace(seen, files=tuple(sorted(files, key=file_order)))
    if not seen.unreadable:
        return merged
    kept = {item.name: getattr(known, item.name) for item in fields(Device) if getattr(seen, item.name) is None}
    return replace(merged, **kept)


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
    same = set(map(id, before.cards))
    others = [card for card in after.cards if id(card) not in same]
    cards = {card.device.key: card for card in before.cards} if others else {}
    for card in others:
        known = cards.get(card.device.key)
        if known is None or known.health.status is not card.health.status:
            yield HealthChange(known, card)


@dataclass(frozen=True, slots=True)
class OfferedUnit:
    """A unit and whether it may be given out.

    Attributes:
        unit: the unit.
        objections: why not, in words; none if it may.
        disabled: whether the operator wants it gone; it is listed only for as long as it may be held.
    """

    unit: Unit
    objections: tuple[str, ...] = ()
    disabled: bool = False

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

    @property
    def has_disabled(self) -> bool:
        """Whether a unit is listed only because it may still be held."""
        return any(offered.disabled for offered in self.units)

    @property
    def by_id(self) -> dict[str, OfferedUnit]:
        """Every unit by its id. Made anew at each use."""
        return {offered.unit.id: offered for offered in self.units}


def offers(
    fleet: Fleet,
    partitioning: Partitioning,
    disabled: tuple[DisabledDevice, ...] = (),
    ledger: Ledger = NOTHING_HELD,
) -> tuple[Offer, ...]:
    """What each family of the node offers: every unit of every card, except what is disabled.

    Args:
        fleet: the cards.
        partitioning: for cards whose cut was not decided yet. A family that cannot be cut so is offered card by card.
        disabled: what may not be given out. A disabled unit that may still be held stays listed, unhealthy.
        ledger: what is known of who holds what.
    """
    cut = Fleet(
        tuple(card if card.cut else replace(card, cut=_cut(card, partitioning, ledger)) for card in fleet.cards)
    )
    return tuple(
        Offer(
            arch,
            tuple(unit for card in cut.cards if card.device.arch is arch for unit in _offered(card, disabled, ledger)),
        )
        for arch in fleet.families
    )


def _offered(card: Card, disabled: tuple[DisabledDevice, ...], ledger: Ledger) -> Iterator[OfferedUnit]:
    held = ledger.held(*card.device.key)
    for unit in units_of(card.device, card.cut.partitioning if card.cut else FUSION):
        is_disabled = any(entry.covers(unit) for entry in disabled)
        if is_disabled and held is not None and not any(cores.overlaps(unit.cores) for cores in held):
            continue
        doubts = [
            f"it cannot be told whether it is disabled as {entry.name}"
            for entry in disabled
            if entry.may_mean(card.device)
        ]
        objections = (*_objections(card, unit, ledger, is_disabled=is_disabled), *doubts)
        yield OfferedUnit(unit, objections, is_disabled)


def _objections(card: Card, unit: Unit, ledger: Ledger, *, is_disabled: bool) -> Iterator[str]:
    if not card.health.is_healthy:
        yield from card.health.reasons or ("not looked at yet",)
    yield from (f"device file {name} does not exist" for name in unit.missing_files)
    if card.rejection:
        yield card.rejection
    if is_disabled:
        unknown = ledger.held(*card.device.key) is None
        yield "disabled, and it cannot be told whether it is held" if unknown else "disabled, but still held"
    if others := conflict(unit.cores, ledger.traces(*card.device.key)):
        yield others
