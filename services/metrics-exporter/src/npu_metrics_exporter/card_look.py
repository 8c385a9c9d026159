"""One look at one card: all that its driver says, each failure a value beside the others. Blocks as the driver does."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from npu_core.cores import CoreRange
from npu_core.counters import NARROW_BITS, PeCounters, Utilization
from npu_core.device import Device, FoundCard, Rejected
from npu_core.errors import AccessDeniedError, HostError, ImpossibleError, MissingError, Unreadable
from npu_core.health import Vitals
from npu_core.host import Host
from npu_core.identity import carried_over, is_another_card
from npu_core.sensors import Readings
from npu_metrics_exporter.metrics.snapshot import CardReport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CounterLook:
    """The performance counters of a card at one moment.

    Attributes:
        counters: by every core range that gave some.
        device: whose they are; None if none was looked at.
    """

    counters: tuple[PeCounters, ...] = ()
    device: Device | None = None

    @property
    def narrow(self) -> bool:
        """Whether some of them are full within seconds."""
        return any(each.bits <= NARROW_BITS for each in self.counters)


def look_at_counters(host: Host, device: Device) -> CounterLook:
    """The card's counters alone; what cannot be read of them is left out. Never raises."""
    return CounterLook(tuple(_counters(host, device, _Reading(device))), device)


def look_at_card(
    host: Host, found: FoundCard, known: Device | None, before: CounterLook, clock: Callable[[], float]
) -> tuple[CardReport, CounterLook] | Rejected:
    """Everything a card says of itself. Never raises.

    Args:
        host: the host.
        found: the card.
        known: what was last known under the card's number, so that what cannot be read now stays; None if nothing.
        before: an earlier look at its counters, to tell from what was done since.
        clock: seconds that do not go back.
    """
    taken = clock()
    device = host.identify(found)
    if isinstance(device, Rejected):
        return device
    if known is not None and not is_another_card(known, device):
        device = carried_over(known, device)
    reading = _Reading(device)
    now = CounterLook(tuple(_counters(host, device, reading)), device)
    report = CardReport(
        device=device,
        taken=taken,
        vitals=reading.vitals(host),
        uptime=reading.attempt("heartbeat", partial(host.uptime, device), None),
        errors=reading.attempt("atr_error", partial(host.errors, device), ()),
        readings=reading.sensors(host),
        clocks=reading.attempt("clocks", partial(host.clocks, device), ()),
        performance_mode=reading.attempt("performance_mode", partial(host.performance_mode, device), None),
        throttle_reason=reading.attempt("throttle_reason", partial(host.throttle_reason, device), None),
        occupancy=reading.attempt("pe_occupancy", partial(host.occupancy, device), ()),
        counters=narrowest(device.cores, now.counters),
        utilization=narrowest(device.cores, tuple(_work(before, now, device, reading))),
        unreadable=tuple(reading.unreadable),
    )
    return report, now


R = TypeVar("R", PeCounters, Utilization)


def narrowest(pes: Iterable[int], ranges: tuple[R, ...]) -> tuple[R, ...]:
    """Of overlapping core ranges those that tell most exactly: each PE by the narrowest one around it.

    A driver that gives the registers of a PE and of a fused range would otherwise have the same work counted twice.
    """
    chosen = (min((each for each in ranges if pe in each.cores), key=_width, default=None) for pe in pes)
    return tuple(dict.fromkeys(each for each in chosen if each is not None))


def _width(each: PeCounters | Utilization) -> int:
    return len(each.cores)


def _work(before: CounterLook, now: CounterLook, device: Device, reading: "_Reading") -> Iterator[Utilization]:
    if before.device is not None and is_another_card(before.device, device):
        return
    earlier = {each.cores: each for each in before.counters}
    for later in now.counters:
        first = earlier.get(later.cores)
        if first is None:
            continue
        if later.contradicts(first):
            reading.contradiction(first, later)
        if work := Utilization.between(first, later):
            yield work


def _counters(host: Host, device: Device, reading: "_Reading") -> Iterator[PeCounters]:
    for cores in device.spec.core_files:
        if found := reading.counters(host, cores):
            yield found


def _of_counters(cores: CoreRange) -> str:
    return f"pe{cores} counters"


class _Reading:
    """Reads one attribute after another and keeps what could not be read."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.unreadable = list(device.unreadable)

    def attempt(self, subject: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except MissingError:
            return otherwise  # this driver does not offer it
        except HostError as error:
            self._note(subject, error)
            return otherwise

    def vitals(self, host: Host) -> Vitals:
        vitals = host.vitals(self._device)
        if isinstance(vitals.alive, HostError):
            self._note("alive", vitals.alive)
        return vitals

    def counters(self, host: Host, cores: CoreRange) -> PeCounters | None:
        try:
            return host.pe_counters(self._device, cores)
        except (MissingError, AccessDeniedError):
            return None  # not offered by this driver, or not while nobody uses these cores
        except HostError as error:
            self._note(_of_counters(cores), error)
            return None

    def contradiction(self, first: PeCounters, later: PeCounters) -> None:
        task, cycles = later.task_cycles - first.task_cycles, later.cycles - first.cycles
        expected = f"at most {cycles} task cycles, the cycles that passed since the last look"
        self._note(_of_counters(later.cores), ImpossibleError(str(task), expected))

    def sensors(self, host: Host) -> Readings:
        readings = host.readings(self._device)
        self.unreadable.extend(readings.unreadable)
        return readings

    def _note(self, subject: str, error: HostError) -> None:
        self.unreadable.append(Unreadable.of(self._device.name, subject, error))
