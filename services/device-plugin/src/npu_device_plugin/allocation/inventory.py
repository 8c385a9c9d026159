"""Which cards there are and how they are: as they were last seen, cut up by policy. Pure: no I/O, no clock."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from npu_core.allocations import Allocations
from npu_core.arch import Arch
from npu_core.claims import KnownCard
from npu_core.device import CardKey, Device
from npu_core.health import HealthReport, HealthState
from npu_core.identity import carried_over, is_another_card, is_same_card
from npu_core.partition import Partitioning
from npu_device_plugin.allocation.repartition import Cut, cut_of

FORGET_AFTER = 60.0
"""Seconds after which a lost card that nobody holds is not listed any more. It is listed again when it comes back."""
SETTLE_FILES = 15.0
"""Seconds for which the device files of a card must not have changed before a card that lacks some of its family's
files counts as whole. Drivers make their files one by one, some seconds apart; a few never make all of them."""
_MAX_REPLACED = 32


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was seen at least once.

    Attributes:
        device: what it is, as far as it could be read at any time.
        health: how it is, by all looks so far.
        cut: how it is cut; None before that was decided.
        rejection: why it is not an NPU any more, by its last identification; None if it is one.
        gone_since: time of the first of the looks, up to now, that did not find it; None if the last one did.
        former: other numbers that the card had since the process started.
        held_as: those of them under which a container may still hold it.
        since: time of the first identification of this card under this number.
        seen: time of the last one.
        awaited: device files that the driver may still be about to make; none if the card is whole.
        files_since: time of the first of the listings, up to now, that found the same device files.
        listed_files: names of the device files that the last listing found.
    """

    device: Device
    health: HealthState = field(default_factory=HealthState)
    cut: Cut | None = None
    rejection: str | None = None
    gone_since: float | None = None
    former: frozenset[int] = frozenset()
    held_as: frozenset[int] = frozenset()
    since: float = 0.0
    seen: float = 0.0
    awaited: tuple[str, ...] = ()
    files_since: float = 0.0
    listed_files: frozenset[str] = frozenset()

    def after_listing(self, seen: Device, now: float) -> "Card":
        """The card with what the latest listing says of its device files."""
        names = frozenset(file.name for file in seen.files)
        since = self.files_since if names == self.listed_files else now
        absent = self.device.absent_files
        return replace(
            self,
            seen=now,
            listed_files=names,
            files_since=since,
            awaited=absent if absent and now - since < SETTLE_FILES else (),
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every card seen since the start, by key. A lost one is unhealthy, and kept for as long as it may be held.

    Attributes:
        cards: by family, then number.
        replaced: cards whose number belongs to another card now, and that were not seen under another number yet.
    """

    cards: tuple[Card, ...] = ()
    replaced: tuple[Card, ...] = ()

    def card(self, key: CardKey) -> Card | None:
        """The card with that key, if it was ever seen."""
        return next((card for card in self.cards if card.device.key == key), None)

    @property
    def families(self) -> tuple[Arch, ...]:
        """The families there are cards of, in the order of the architecture table."""
        present = {card.device.arch for card in self.cards}
        return tuple(arch for arch in Arch if arch in present)

    @property
    def known_cards(self) -> tuple[KnownCard, ...]:
        """The cards with every number that a claim may call them by."""
        return tuple(KnownCard(card.device, card.held_as) for card in self.cards)

    @property
    def numbered_cards(self) -> tuple[KnownCard, ...]:
        """The cards with every number that settings may call them by."""
        return tuple(KnownCard(card.device, card.former) for card in self.cards)

    @property
    def unsettled(self) -> tuple[Card, ...]:
        """The cards whose device files may still be being made."""
        return tuple(card for card in self.cards if card.awaited and card.gone_since is None)

    def with_devices(
        self, devices: Iterable[Device], now: float = 0.0, listed: Collection[CardKey] | None = None
    ) -> "Fleet":
        """After these cards were identified: new ones are added, known ones brought up to date.

        Args:
            devices: the cards.
            now: seconds of any clock that does not go back.
            listed: the keys of all cards that the host lists now; None for those of all known cards.
        """
        cards = {card.device.key: card for card in self.cards}
        replaced = list(self.replaced)
        for device in devices:
            known = cards.get(device.key)
            if known is None:
                cards[device.key] = Card(device, since=now, files_since=now).after_listing(device, now)
            elif is_another_card(known.device, device):
                # The kubelet knows the holders by the number, so the new card starts with their cut.
                cards[device.key] = Card(device, cut=known.cut, since=now, files_since=now).after_listing(device, now)
                replaced.append(known)
            else:
                merged = replace(known, device=carried_over(known.device, device), rejection=None)
                cards[device.key] = merged.after_listing(device, now)
        return _with_moves(cards, replaced[-_MAX_REPLACED:], cards.keys() if listed is None else listed)

    def with_rejection(self, key: CardKey, reason: str) -> "Fleet":
        """After a known card turned out to be no NPU; a card that is not known is left out."""
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
                if changed == card:
                    return self
                return replace(self, cards=(*self.cards[:place], changed, *self.cards[place + 1 :]))
        return self

    def with_cuts(self, wish: Partitioning, allocations: Allocations) -> "Fleet":
        """Every card cut as the settings wish, except those of which a container may hold something else."""
        cuts = [_cut(card, wish, allocations) for card in self.cards]
        if all(card.cut == cut for card, cut in zip(self.cards, cuts, strict=True)):
            return self
        return replace(self, cards=tuple(replace(card, cut=cut) for card, cut in zip(self.cards, cuts, strict=True)))

    def without_old_holders(self, allocations: Allocations) -> "Fleet":
        """Without the earlier numbers that no container holds a card under any more."""
        if not allocations.is_complete or not any(card.held_as for card in self.cards):
            return self
        return replace(self, cards=tuple(_without_old_holders(card, allocations) for card in self.cards))

    def with_decided_cuts(self, wish: Partitioning, allocations: Allocations) -> "Fleet":
        """With cards that were not cut yet cut as the settings wish and their holders allow; the others as they are."""
        cards = (card if card.cut else replace(card, cut=_cut(card, wish, allocations)) for card in self.cards)
        return replace(self, cards=tuple(cards))

    def without_lost(self, allocations: Allocations, now: float) -> "Fleet":
        """Without the cards that have been gone for :data:`FORGET_AFTER` and that nobody holds."""
        kept = tuple(card for card in self.cards if not _is_lost(card, allocations, now))
        return self if len(kept) == len(self.cards) else replace(self, cards=kept)

    @property
    def pending(self) -> tuple[Card, ...]:
        """The cards that are not cut as the settings wish, yet."""
        return tuple(card for card in self.cards if card.cut and card.cut.pending)

    @property
    def lost(self) -> tuple[Card, ...]:
        """The cards that were there and are not now."""
        return tuple(card for card in self.cards if card.gone_since is not None)


def _gone_since(card: Card, now: float, *, present: bool) -> float | None:
    if present:
        return None
    return now if card.gone_since is None else card.gone_since


def _with_moves(cards: dict[CardKey, Card], replaced: list[Card], listed: Collection[CardKey]) -> Fleet:
    """With every card that is back under another number taken for the card that it was.

    A card counts as back only if its old number is not listed any more or belongs to another card, and only under a
    number that it was not seen under at the same time: two cards may claim one identity.
    """
    lost = [*replaced, *(card for key, card in cards.items() if key not in listed)]
    for card in lost:
        heirs = [
            heir
            for key, heir in cards.items()
            if key in listed
            and key != card.device.key
            and heir.since >= card.seen
            and is_same_card(card.device, heir.device)
        ]
        if len(heirs) != 1:
            continue
        (heir,) = heirs
        others = {card.device.index} - {heir.device.index}
        cards[heir.device.key] = replace(
            heir,
            former=(heir.former | card.former | others) - {heir.device.index},
            held_as=heir.held_as | card.held_as | {card.device.index},
        )
        if card in replaced:
            replaced.remove(card)
        else:
            del cards[card.device.key]
    return Fleet(tuple(sorted(cards.values(), key=card_order)), tuple(replaced))


def _without_old_holders(card: Card, allocations: Allocations) -> Card:
    held_as = frozenset(index for index in card.held_as if (card.device.arch, index) in allocations.numbers)
    return card if held_as == card.held_as else replace(card, held_as=held_as)


def _cut(card: Card, wish: Partitioning, allocations: Allocations) -> Cut:
    current = card.cut.partitioning if card.cut else None
    key = card.device.key
    return cut_of(card.device.spec, current, wish, allocations.held(key), allocations.possible_uses(key))


def _is_lost(card: Card, allocations: Allocations, now: float) -> bool:
    gone = card.gone_since is not None and now - card.gone_since >= FORGET_AFTER
    return gone and allocations.held(card.device.key) == frozenset()


def card_order(card: Card) -> tuple[int, int]:
    """Sort key: by family, then number."""
    return list(Arch).index(card.device.arch), card.device.index


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
