"""What is known of every card: the last look at each, and what became of those that are not there any more.

Values and pure transitions; the collector makes the looks and replaces its snapshot by what these return.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from npu_core.arch import Arch
from npu_core.counters import Clock, ErrorCounter, PeCounters, Utilization
from npu_core.device import CardKey, Device, FoundCard
from npu_core.errors import Unreadable
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
    """It is listed, and is no card of ours."""


_Channel = tuple[str, str, int]
"""Chip, quantity and channel: what a sensor is, whatever it is called."""

_LISTED = frozenset({CardStatus.PRESENT, CardStatus.FAILED})


@dataclass(frozen=True, slots=True)
class CardReport:
    """One look at one card. What its driver does not offer is None or empty, and so is what could not be read.

    Attributes:
        device: what the card is.
        taken: when the look began, in monotonic seconds.
        alive: what the driver says of its life; False also where it exists and could not be read, None only for a
            driver that says nothing at all.
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
    alive: bool | None = None
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
        device: what it is, as last seen; None until a look at it has come back.
        report: the last good look; None if there was none, it is too old, or the card departed.
        sensors_seen: the sensors it ever listed, so that one which is unreadable now keeps its namesakes' labels.
        stuck: whether a look at it has not come back.
        last_success: wall-clock seconds of the last good look, or None.
        departed_since: monotonic seconds; None unless it departed.
        rejection: why it is no card of ours; empty if it is one.
    """

    key: CardKey
    status: CardStatus = CardStatus.PRESENT
    device: Device | None = None
    report: CardReport | None = None
    sensors_seen: frozenset[Sensor] = frozenset()
    stuck: bool = False
    last_success: float | None = None
    departed_since: float | None = None
    rejection: str = ""

    @property
    def name(self) -> str:
        """``npu0``: unique within a family only."""
        return f"npu{self.key[1]}"

    @property
    def alive(self) -> bool | None:
        """Whether it lives; False if that cannot be told, None if its driver says nothing or nothing is known yet."""
        if self.status in {CardStatus.FAILED, CardStatus.DEPARTED}:
            return False
        return self.report.alive if self.report else None


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
        if state is None or is_another(state.device, report.device):
            state = CardState(report.device.key)
        return self._with(
            replace(
                state,
                status=CardStatus.PRESENT,
                device=report.device,
                report=report,
                sensors_seen=_seen(state.sensors_seen, report.readings),
                stuck=False,
                last_success=wall,
                departed_since=None,
            )
        )

    def with_failure(self, key: CardKey, *, stuck: bool) -> "Snapshot":
        """After a look that broke or, if ``stuck``, has not come back. What the last good one saw stays for a while."""
        state = self.card(key)
        if state is None or state.status not in _LISTED:
            return self
        return self._with(replace(state, status=CardStatus.FAILED, stuck=stuck))

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

    def _with(self, state: CardState) -> "Snapshot":
        return _of((state, *(card for card in self.cards if card.key != state.key)), self.most)


def is_another(before: Device | None, now: Device) -> bool:
    """Whether it is another card under the same number; what cannot be read, then or now, tells nothing."""
    if before is None:
        return False
    pairs = ((before.uuid, now.uuid), (before.serial, now.serial))
    return any(old and new and old != new for old, new in pairs)


def _of(cards: Iterable[CardState], most: int) -> Snapshot:
    ordered = tuple(sorted(cards, key=_order))
    return Snapshot(ordered, max(most, sum(map(_counts, ordered))))


def _counts(card: CardState) -> bool:
    return card.status is CardStatus.FAILED or (card.status is CardStatus.PRESENT and card.device is not None)


def _order(card: CardState) -> tuple[int, int]:
    arch, index = card.key
    return (list(Arch).index(arch), index)


def _listed(state: CardState | None, key: CardKey) -> CardState:
    if state is None or state.status is CardStatus.DEPARTED:
        # It may be another card, or the same one under a driver that calls its sensors otherwise.
        return CardState(key)
    return state


def _leaves_a_gap(state: CardState) -> bool:
    return state.status is not CardStatus.REJECTED


def _departed(state: CardState, now: float) -> CardState:
    if state.status is CardStatus.DEPARTED:
        return state
    return replace(state, status=CardStatus.DEPARTED, report=None, stuck=False, departed_since=now)


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
