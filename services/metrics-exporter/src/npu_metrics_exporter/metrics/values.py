"""What a card has to say to each family of metrics: nothing where it says nothing, never a made-up value."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from npu_core.cores import CoreRange
from npu_core.counters import Clock
from npu_core.errors import FormatError
from npu_core.sensors import Quantity, Sensor
from npu_metrics_exporter.metrics.snapshot import CardReport, CardState, CardStatus

HERTZ = {"Hz": 1, "MHz": 1_000_000}
"""Units of clocks that are frequencies."""

TRANSFERS = {"MT/s": 1_000_000}
"""Units of clocks that are transfer rates of memories."""

_MEGA = 1_000_000
_WIDE = 64
"""Bits of a counter. Narrower ones start again every two seconds, which would look like a restart."""


@dataclass(frozen=True, slots=True)
class Value:
    """What one series of a family is to say.

    Attributes:
        value: an int is written as it is, a float as Prometheus writes floats.
        labels: those that tell it from the card's other series. Empty ones are left out.
    """

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CardView:
    """A card, and what each of its sensors is called; one without a name is not wanted."""

    card: CardState
    sensors: Mapping[Sensor, str]


def reported(read: Callable[[CardReport], Iterable[Value]]) -> Callable[[CardView], Iterable[Value]]:
    """``read`` of the last good look, if there is one."""
    return lambda named: read(named.card.report) if named.card.report else ()


def alive(named: CardView) -> Iterator[Value]:
    """1 or 0, unless nothing is known."""
    if named.card.alive is not None:
        yield Value(int(named.card.alive))


def info(named: CardView) -> Iterator[Value]:
    """What the card is, while it is there."""
    device = named.card.device
    if device is None or named.card.status is CardStatus.DEPARTED:
        return
    driver, firmware = device.driver, device.firmware
    labels = {
        "product": device.product,
        "family": device.arch,
        "driver_version": driver and driver.number,
        "driver_reference": driver and driver.reference,
        "firmware_version": firmware and firmware.number,
        "serial": device.serial,
        "soc_rev": device.soc_rev,
    }
    yield Value(1, {name: text for name, text in labels.items() if text})


def uptime(report: CardReport) -> Iterator[Value]:
    """Seconds."""
    if report.uptime is not None:
        yield Value(report.uptime)


def errors(report: CardReport) -> Iterator[Value]:
    """Every counter."""
    return (Value(each.count, {"label": each.kind}) for each in report.errors)


def faults(report: CardReport) -> Iterator[Value]:
    """The counters without those that, by their name, count completed work."""
    return (value for value in errors(report) if not value.labels["label"].endswith("_doorbell_done"))


def sensors(quantity: Quantity, divisor: int | None, named: CardView) -> Iterator[Value]:
    """The readings of one quantity: as they are, or divided."""
    for reading in named.card.report.readings.values if named.card.report else ():
        label = named.sensors.get(reading.sensor)
        if reading.sensor.quantity is quantity and label is not None:
            yield Value(reading.value if divisor is None else reading.value / divisor, {"label": label})


def utilization(scale: int, report: CardReport) -> Iterator[Value]:
    """0 to ``scale``."""
    return (Value(each.busy * scale, {"core": str(each.cores)}) for each in report.utilization)


def computing(report: CardReport) -> Iterator[Value]:
    """0 to 1, where the driver counts tensor cycles."""
    for each in report.utilization:
        if each.computing is not None:
            yield Value(each.computing, {"core": str(each.cores)})


def cycles(report: CardReport) -> Iterator[Value]:
    """Running totals that do not wrap."""
    return (Value(each.cycles, {"core": str(each.cores)}) for each in report.counters if each.bits == _WIDE)


def task_cycles(report: CardReport) -> Iterator[Value]:
    """Running totals that do not wrap."""
    return (Value(each.task_cycles, {"core": str(each.cores)}) for each in report.counters if each.bits == _WIDE)


def occupied(report: CardReport) -> Iterator[Value]:
    """1 or 0."""
    return (Value(int(occupied), {"core": str(core)}) for core, occupied in enumerate(report.occupancy))


def core_hertz(report: CardReport) -> Iterator[Value]:
    """Clocks that are of one core."""
    for clock in report.clocks:
        if core := _core_of(clock):
            yield Value(clock.frequency * HERTZ[clock.unit], {"core": core})


def core_megahertz(report: CardReport) -> Iterator[Value]:
    """The same, whole where they are whole."""
    return (Value(_whole(each.value / _MEGA), each.labels) for each in core_hertz(report))


def domains(units: Mapping[str, int], report: CardReport) -> Iterator[Value]:
    """Clocks that are of no core and are given in one of these units, times what the unit stands for."""
    for clock in report.clocks:
        if clock.unit in units and _core_of(clock) is None:
            yield Value(clock.frequency * units[clock.unit], {"label": clock.domain})


def throttle(report: CardReport) -> Iterator[Value]:
    """A bit mask."""
    if report.throttle_reason is not None:
        yield Value(report.throttle_reason)


def mode(report: CardReport) -> Iterator[Value]:
    """1, and the mode in a label."""
    if report.performance_mode:
        yield Value(1, {"mode": report.performance_mode})


def _core_of(clock: Clock) -> str | None:
    if clock.unit not in HERTZ or not clock.domain.startswith("pe"):
        return None
    try:
        cores = CoreRange.parse(clock.domain.removeprefix("pe"))
    except FormatError:
        return None
    return str(cores) if len(cores) == 1 else None


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value
