"""What a number that a card gives can mean at all. Beyond, it is no measurement: a broken sensor or bus said it.

A value that physics or the card's construction rules out is an error of reading like any other: it has a reason, it is
counted, and it is never a sample. Limits are wide on purpose: they tell broken from working, not healthy from ill.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from npu_core.counters import Clock
from npu_core.errors import ImpossibleError
from npu_core.sensors import Quantity


class Measure(StrEnum):
    """What is limited. The limits are in the unit named here."""

    TEMPERATURE = Quantity.TEMPERATURE.value
    """Degrees Celsius."""

    POWER = Quantity.POWER.value
    """Watts."""

    VOLTAGE = Quantity.VOLTAGE.value
    """Volts."""

    CURRENT = Quantity.CURRENT.value
    """Amperes."""

    FREQUENCY = "frequency"
    """Hertz."""

    TRANSFERS = "transfers"
    """Transfers per second, of a memory."""

    UPTIME = "uptime"
    """Seconds."""

    @property
    def unit(self) -> str:
        """The unit's sign."""
        return _SIGNS[self]


_SIGNS = {
    Measure.TEMPERATURE: "°C",
    Measure.POWER: "W",
    Measure.VOLTAGE: "V",
    Measure.CURRENT: "A",
    Measure.FREQUENCY: "Hz",
    Measure.TRANSFERS: "T/s",
    Measure.UPTIME: "s",
}


_NAMES = {Measure.TRANSFERS: "a rate of transfers", Measure.UPTIME: "an uptime"}
"""What is expected, where an article and the measure do not say it."""


@dataclass(frozen=True, slots=True)
class Span:
    """From where to where a measure can be, both included.

    Attributes:
        least: in the measure's unit.
        most: in the measure's unit.
    """

    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.least:.12g} to {self.most:.12g}"


Limits = Mapping[Measure, Span]
"""A span for every measure."""

LIMITS: Limits = MappingProxyType(
    {
        Measure.TEMPERATURE: Span(-55, 150),
        Measure.POWER: Span(-1, 1000),
        Measure.VOLTAGE: Span(-1, 60),
        Measure.CURRENT: Span(-1, 1000),
        Measure.FREQUENCY: Span(0, 10e9),
        Measure.TRANSFERS: Span(0, 100e9),
        Measure.UPTIME: Span(0, 2e9),
    }
)
"""What is believed where nobody says otherwise.

Source, per measure:

* temperature: the widest range that silicon is specified for, -55 °C of military and 150 °C of automotive parts
  (MIL-PRF-38535; AEC-Q100 grade 0). Sensors that fail say 255, 511 or 2147483 °C.
* power: a PCI Express card gets at most 675 W, 75 W from its slot and 600 W from its connector (PCI Express CEM 5.0).
  The cards of these families take up to 60 W (Warboy) and 180 W (RNGD).
* voltage: the highest rail is 48 V. Above 60 V a board would need protection against touch (IEC 62368-1).
* current: 675 W at the lowest core voltage there is, 0.65 V, are about 1000 A.
* frequency: Warboy's fastest clock is 2 GHz, RNGD's 1 GHz. No processor is clocked with 10 GHz.
* transfers: Warboy's memory makes 4266 MT/s. The fastest memories make less than 50 GT/s.
* uptime: 2e9 seconds are 63 years. The driver counts seconds in 32 bits.

Power, voltage and current may be a little below 0: the sensor of an idle rail has an offset.
"""

NO_VALUES = frozenset(
    {-1, *(number for bits in (32, 64) for number in ((1 << bits) - 1, (1 << bits - 1) - 1, -(1 << bits - 1)))}
)
"""Numbers that stand for "no value", whatever the limits: all bits set, the largest and the smallest number, of 32 and
of 64 bits. Source: a read of a PCI function that is off the bus returns all bits set (PCI Local Bus specification 3.0,
master abort); firmware and drivers say the largest number of a type where they have none.
"""

_CLOCK_UNITS = {"Hz": (Measure.FREQUENCY, 1.0), "MHz": (Measure.FREQUENCY, 1e-6), "MT/s": (Measure.TRANSFERS, 1e-6)}
"""What a clock's unit measures, and how many of the unit are one of the measure's."""


def possible(value: int, measure: Measure, span: Span, scale: float = 1) -> int:
    """``value``, if it can be one.

    Args:
        value: as the driver gives it.
        measure: what it is of.
        span: where it can be.
        scale: how many of the driver's unit are one of the measure's: 1000 for millidegrees.

    Raises:
        ImpossibleError: if it cannot.
    """
    if value not in NO_VALUES and span.least * scale <= value <= span.most * scale:
        return value
    raise ImpossibleError(str(value), _expected(measure, span, scale))


def _expected(measure: Measure, span: Span, scale: float) -> str:
    what = _NAMES.get(measure, f"a {measure}")
    within = f"{what} from {span} {measure.unit}"
    if scale == 1:
        return within
    return f"{within} ({Span(span.least * scale, span.most * scale)} as the driver counts)"


def possible_reading(value: int, quantity: Quantity, limits: Limits) -> int:
    """A sensor's value, if it can be one.

    Raises:
        ImpossibleError: if it cannot.
    """
    measure = Measure(quantity.value)
    return possible(value, measure, limits[measure], quantity.per_base)


def possible_clocks(clocks: tuple[Clock, ...], limits: Limits) -> tuple[Clock, ...]:
    """Clocks, if all of them can be. One in a unit that is not known is not judged.

    Raises:
        ImpossibleError: if one of them cannot.
    """
    for clock in clocks:
        if known := _CLOCK_UNITS.get(clock.unit):
            measure, scale = known
            possible(clock.frequency, measure, limits[measure], scale)
    return clocks


def possible_count(count: int, what: str) -> int:
    """A count of events, which has no limit, if it is not one of :data:`NO_VALUES`.

    Raises:
        ImpossibleError: if it is.
    """
    if count in NO_VALUES:
        raise ImpossibleError(str(count), f"{what}: a counter with all bits set has no answer")
    return count
