"""The range in which a reading of a card is plausible. A number outside the range comes from a broken sensor or bus.

A number that physics or the card's construction rules out is a read error like any other: the error has a reason, the
services count it, and the number is never a sample. The ranges are wide on purpose: they separate broken sensors from
working ones, not hot cards from cool ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from npu_core.counters import Clock
from npu_core.errors import ImpossibleError
from npu_core.sensors import Quantity


class Measure(StrEnum):
    """A measure that has limits, with the unit of the limits."""

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
        """The symbol of the unit."""
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
"""Names of measures in error sentences, where "a" and the measure are not English."""


@dataclass(frozen=True, slots=True)
class Span:
    """The range of a measure, both ends included.

    Attributes:
        least: the lowest value, in the measure's unit.
        most: the highest value, in the measure's unit.
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
"""The default limits.

Source, per measure:

* temperature: the widest range that silicon is specified for, -55 °C of military and 150 °C of automotive parts
  (MIL-PRF-38535; AEC-Q100 grade 0). Sensors that fail read 255, 511 or 2147483 °C.
* power: a PCI Express card gets at most 675 W, 75 W from its slot and 600 W from its connector (PCI Express CEM 5.0).
  The cards of these families take up to 60 W (Warboy) and 180 W (RNGD).
* voltage: the highest rail is 48 V. Above 60 V a board would need protection against touch (IEC 62368-1).
* current: 675 W at 0.65 V, the lowest usual core voltage, are about 1000 A.
* frequency: Warboy's fastest clock is 2 GHz, RNGD's 1 GHz. No processor runs at 10 GHz.
* transfers: Warboy's memory makes 4266 MT/s. The fastest memories make less than 50 GT/s.
* uptime: 2e9 seconds are 63 years. The driver counts seconds in 32 bits.

Power, voltage and current may be slightly below 0: the sensor of an idle rail has an offset.
"""

NO_VALUES = frozenset(
    {-1, *(number for bits in (32, 64) for number in ((1 << bits) - 1, (1 << bits - 1) - 1, -(1 << bits - 1)))}
)
"""Numbers that mean "no value", whatever the limits are: all bits set, the largest and the smallest signed number, each
of 32 and of 64 bits. Source: a read of a PCI function that is off the bus returns all bits set (PCI Local Bus
specification 3.0, master abort). Firmware and drivers return the largest number of a type when they have no value.
"""

_CLOCK_UNITS = {"Hz": (Measure.FREQUENCY, 1.0), "MHz": (Measure.FREQUENCY, 1e-6), "MT/s": (Measure.TRANSFERS, 1e-6)}
"""The measure of each clock unit, and how many of the clock unit make one unit of the measure."""


def possible(value: int, measure: Measure, span: Span, scale: float = 1) -> int:
    """``value``, if the value is within ``span`` and is not one of :data:`NO_VALUES`.

    Args:
        value: in the driver's unit.
        measure: what the value measures.
        span: the range, in the measure's unit.
        scale: how many of the driver's unit make one unit of the measure: 1000 for millidegrees.

    Raises:
        ImpossibleError: if the value is not.
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
    """``value`` of a sensor, if the value is within the limits.

    Raises:
        ImpossibleError: if the value is not.
    """
    measure = Measure(quantity.value)
    return possible(value, measure, limits[measure], quantity.per_base)


def possible_clocks(clocks: tuple[Clock, ...], limits: Limits) -> tuple[Clock, ...]:
    """``clocks``, if all of them are within the limits. A clock in an unknown unit is not checked.

    Raises:
        ImpossibleError: if one of the clocks is not.
    """
    for clock in clocks:
        if known := _CLOCK_UNITS.get(clock.unit):
            measure, scale = known
            possible(clock.frequency, measure, limits[measure], scale)
    return clocks


def possible_count(count: int, what: str) -> int:
    """``count`` of events, if the count is not one of :data:`NO_VALUES`. A count has no other limit.

    Raises:
        ImpossibleError: if the count is one of them.
    """
    if count in NO_VALUES:
        raise ImpossibleError(str(count), f"{what}; all bits set mean that the card did not answer")
    return count
