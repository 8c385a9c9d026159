"""What is known of every card: the last look at each, and what became of those that are not there any more.

Values and pure transitions; the collector makes the looks and replaces its snapshot by what these return.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from npu_core.arch import Arch
from npu_core.claims import KnownCard
from npu_core.counters import Clock, ErrorCounter, PeCounters, Utilization
from npu_core.device import CardKey, Device, FoundCard
from npu_core.errors import Unreadable
from npu_core.health import HealthReport, HealthState, HealthStatus, Vitals, judge
from npu_core.identity import doubles, is_another_card, is_same_card, is_same_function
from npu_core.sensors import Readings, Sensor


class CardStatus(StrEnum):
    """How the last attempt to look at a card ended."""

    PRESENT = "present"
    """It was looked at, or is about to be for the first time."""

    FAILED = "failed"
    """It is listed, and the look at it did not come back or broke."""

    DEPARTED = "departed"
    """It was there and is not any more."""

    REJECTED = "rejected"
    """It is listed and not exported: no NPU, or the same hardware as another entry."""


_Channel = tuple[str, str, int]
"""Chip, quantity and channel: what a sensor is, whatever it is called."""

_LISTED = frozenset({CardStatus.PRESENT, CardStatus.FAILED})

_GONE = Vitals(present=False, alive=None)
_NO_ANSWER = HealthReport(HealthStatus.UNKNOWN, ("no answer",))


@dataclass(frozen=True, slots=True)
class CardReport:
    """One look at one card. What its driver does not offer is None or empty, and so is what could not be read.

    Attributes:
        device: what the card is; what could not be read this time is as it was known.
        taken: when the look began, in monotonic seconds.
        vitals: whether the card is there, what its driver says of its life, and which device files are missing.
        uptime: seconds since the NPU started.
        errors: the error counters.
        readings: its sensors.
        clocks: its clocks, in the units the driver gives.
        performance_mode: the power policy, in the driver's words.
        throttle_reason: bit mask; 0 is not throttled.
        occupancy: which PEs are occupied, by core.
        counters: performance counters at the end of the look, by core range.
        utilization: work between two looks at the counters, by core range.
        unreadable: everything that exists and could not be read, sensors and identity included.
    """

    device: Device
    taken: float
    vitals: Vitals
    uptime: int | None = None
    errors: tuple[ErrorCounter, ...] = ()
    readings: Readings = field(default_factory=Readings)
    clocks: tuple[Clock, ...] = ()
    performance_mode: str | None = None
    throttle_reason: int | None = None
    occupancy: tuple[bool, ...] = ()
    counters: tuple[PeCounters, ...] = ()
    utilization: tuple[Utilization, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True, slots=True)
class CardState:
    """One card over time.

    Attributes:
        key: family and index.
        status: how the last attempt to look at it ended.
        device: what it is, as far as it could be read at any time; None until a look at it has come back.
        health: how it is, by all looks so far.
        is_silent: whether its driver says nothing of the card's life.
        report: the last good look; None if there was none, it is too old, or the card departed.
        sensors_seen: the sensors it ever listed, so that one which is unreadable now keeps its namesakes' labels.
        stuck: whether a look at it has not come back.
        last_success: wall-clock seconds of the last good look, or None.
        departed_since: monotonic seconds; None unless it departed.
        rejection: why it is not exported; empty if it is.
        former: other numbers that the card had since this process started.
    """

    key: CardKey
    status: CardStatus = CardStatus.PRESENT
    device: Device | None = None
    health: HealthState = field(default_factory=HealthState)
    is_silent: bool = False
    report: CardReport | None = None
    sensors_seen: frozenset[Sensor] = frozenset()
    stuck: bool = False
    last_success: float | None = None
    departed_since: float | None = None
    rejection: str = ""
    former: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        """``npu0``: unique within a family only."""
        return f"npu{self.key[1]}"

    @property
    def alive(self) -> bool | None:
        """Whether the card is alive, by the judgement that the device plugin calls healthy.

        None if nothing is known yet, or if the card is well as far as can be told and its driver does not say more.
        """
        if self.status is CardStatus.REJECTED:
            return None
        match self.health.status:
            case HealthStatus.HEALTHY:
                return None if self.is_silent else True
            case HealthStatus.UNHEALTHY:
                return False
            case HealthStatus.UNKNOWN:
                return None

    @property
    def is_exported(self) -> bool:
        """Whether there are series of the card."""
        return self.status is not CardStatus.REJECTED

    @property
    def is_double(self) -> bool:
        """Whether the card is left out only because another entry is the same hardware."""
        return self.status is CardStatus.REJECTED and self.device is not None

    @property
    def known(self) -> KnownCard:
        """The card with every number that the kubelet may call it by."""
        arch, index = self.key
        return KnownCard(self.device or Device(index, arch), self.former)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every card that is there, or was until lately.

    Attributes:
        cards: by family, then index.
        most: the most cards of ours that were there at once: how many there ought to be. What was listed and not looked
            at yet may still turn out to be none.
    """

    cards: tuple[CardState, ...] = ()
    most: int = 0

    def card(self, key: CardKey) -> CardState | None:
        """The card with that key, if it is known."""
        return next((card for card in self.cards if card.key == key), None)

    @property
    def present(self) -> int:
        """How many cards are listed and are ours, broken ones included."""
        return sum(card.status in _LISTED for card in self.cards)

    @property
    def failed(self) -> int:
        """How many of them could not be looked at."""
        return sum(card.status is CardStatus.FAILED for card in self.cards)

    @property
    def known_cards(self) -> tuple[KnownCard, ...]:
        """The cards that are exported, for claims to speak of."""
        return tuple(card.known for card in self.cards if card.is_exported)

    def with_listing(self, found: Iterable[FoundCard], now: float) -> "Snapshot":
        """After an enumeration at ``now``: new cards come, missing ones depart. Not to be called if it failed.

        A card of which only device files are left is missing.
        """
        known = {card.key: card for card in self.cards}
        listed = {card.key for card in found if card.managed or card.key not in known}
        states = [_listed(known.get(key), key) for key in listed]
        states += [_departed(card, now) for key, card in known.items() if key not in listed and _leaves_a_gap(card)]
        return _of(states, self.most)

    def with_report(self, report: CardReport, wall: float) -> "Snapshot":
        """After a good look at a card, which ended at wall-clock time ``wall``."""
        state = self.card(report.device.key)
        if state is None or (state.device is not None and is_another_card(state.device, report.device)):
            state = CardState(report.device.key)
        moved = frozenset(card.key for card in self.cards if _is_back_as(card, state, report.device))
        former = state.former.union(*(card.former | {card.key[1]} for card in self.cards if card.key in moved))
        seen = replace(
            state,
            status=CardStatus.PRESENT,
            device=report.device,
            health=state.health.after(judge(report.vitals), report.taken),
            is_silent=report.vitals.present and report.vitals.alive is None,
            report=report,
            sensors_seen=_seen(state.sensors_seen, report.readings),
            stuck=False,
            last_success=wall,
            departed_since=None,
            rejection="",
            former=former - {report.device.index},
        )
        return self._with(seen, without=moved)

    def with_failure(self, key: CardKey, report: HealthReport = _NO_ANSWER, *, stuck: bool, now: float) -> "Snapshot":
        """After a look that broke or, if ``stuck``, has not come back. What the last good one saw stays for a while.

        Args:
            key: the card.
            report: what the failure means for the card's health.
            stuck: whether the look has not come back.
            now: monotonic seconds.
        """
        state = self.card(key)
        if state is None or state.status not in _LISTED:
            return self
        health = state.health.after(report, now)
        return self._with(replace(state, status=CardStatus.FAILED, stuck=stuck, health=health))

    def with_rejection(self, key: CardKey, reason: str = "") -> "Snapshot":
        """After a look that said that this is no card of ours, and why."""
        state = self.card(key)
        if state is not None and state.status is CardStatus.DEPARTED:
            return self
        return self._with(CardState(key, CardStatus.REJECTED, rejection=reason))

    def aged(self, now: float, *, max_age: float, grace: float) -> "Snapshot":
        """Without values older than ``max_age`` seconds and cards that departed more than ``grace`` seconds ago."""
        kept = (card for card in self.cards if card.departed_since is None or now - card.departed_since <= grace)
        return Snapshot(tuple(_aged(card, now - max_age) for card in kept), self.most)

    def _with(self, state: CardState, without: Container[CardKey] = ()) -> "Snapshot":
        others = (card for card in self.cards if card.key != state.key and card.key not in without)
        return _of((state, *others), self.most)


def _is_back_as(card: CardState, state: CardState, seen: Device) -> bool:
    """Whether a departed card is the one that was seen now under another number, where ``state`` is what is known.

    Several cards may claim one identity: a card that was there before the other one left is another one, except where
    both were one PCI function.
    """
    if card.status is not CardStatus.DEPARTED or card.key == seen.key or card.device is None:
        return False
    if not is_same_card(card.device, seen):
        return False
    was_there = state.device is not None and is_same_card(card.device, state.device)
    return not was_there or is_same_function(card.device, seen)


def _of(cards: Iterable[CardState], most: int) -> Snapshot:
    ordered = _without_doubles(tuple(sorted(cards, key=_order)))
    return Snapshot(ordered, max(most, sum(map(_counts, ordered))))


def _without_doubles(cards: tuple[CardState, ...]) -> tuple[CardState, ...]:
    """Of entries that are the same hardware, the first one is exported; physical functions go before virtual ones."""

    def is_virtual(device: Device) -> bool:
        return device.physical_function is not None

    there = [card.device for card in cards if card.device and (card.status in _LISTED or card.is_double)]
    # Cards that have no address in common are compared no further: that takes long where there are many.
    marks = [mark for each in there for mark in (each.pci, each.dev, each.physical_function) if mark is not None]
    left_out = doubles(sorted(there, key=is_virtual)) if len(set(marks)) < len(marks) else {}
    return tuple(_settled(card, left_out.get(card.key)) for card in cards)


def _settled(card: CardState, kept_instead: Device | None) -> CardState:
    if kept_instead is not None:
        reason = f"it is the same hardware as {kept_instead.name}"
        return replace(card, status=CardStatus.REJECTED, report=None, stuck=False, rejection=reason)
    if card.is_double:
        return replace(card, status=CardStatus.PRESENT, rejection="")
    return card


def _counts(card: CardState) -> bool:
    return card.status is CardStatus.FAILED or (card.status is CardStatus.PRESENT and card.device is not None)


def _order(card: CardState) -> tuple[int, int]:
    arch, index = card.key
    return (list(Arch).index(arch), index)


def _listed(state: CardState | None, key: CardKey) -> CardState:
    if state is None:
        return CardState(key)
    if state.status is not CardStatus.DEPARTED:
        return state
    # The driver may be another one now, which calls the card's sensors otherwise.
    return replace(state, status=CardStatus.PRESENT, departed_since=None, sensors_seen=frozenset())


def _leaves_a_gap(state: CardState) -> bool:
    return state.status is not CardStatus.REJECTED


def _departed(state: CardState, now: float) -> CardState:
    if state.status is CardStatus.DEPARTED:
        return state
    return replace(
        state,
        status=CardStatus.DEPARTED,
        health=state.health.after(judge(_GONE), now),
        report=None,
        stuck=False,
        departed_since=now,
    )


def _aged(card: CardState, oldest: float) -> CardState:
    if card.report is None or card.report.taken >= oldest:
        return card
    return replace(card, report=None)


def _seen(before: frozenset[Sensor], readings: Readings) -> frozenset[Sensor]:
    """The channels ever seen, each under its latest label."""
    now = {_channel(sensor): sensor for sensor in readings.sensors}
    chips = {sensor.chip for sensor in now.values()}
    earlier = {_channel(sensor): sensor for sensor in before if not _is_there_by_another_name(sensor, now, chips)}
    return frozenset((earlier | now).values())


def _is_there_by_another_name(sensor: Sensor, now: Mapping[_Channel, Sensor], chips: Container[str]) -> bool:
    """Whether the chip's name could be read then and not now, or the other way round."""
    if sensor.chip in chips:
        return False
    if sensor.chip:
        return replace(sensor, chip="") in now.values()
    return any(replace(each, chip="") == sensor for each in now.values())


def _channel(sensor: Sensor) -> _Channel:
    return (sensor.chip, sensor.quantity, sensor.channel)
