"""Sensors of a card and what they read, in the units of the kernel's hwmon interface."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from npu_core.document import Value
from npu_core.errors import Unreadable


class Quantity(StrEnum):
    """What a sensor measures. The unit is the one hwmon gives."""

    TEMPERATURE = "temperature"
    """Thousandths of a degree Celsius."""

    POWER = "power"
    """Microwatts."""

    VOLTAGE = "voltage"
    """Millivolts."""

    CURRENT = "current"
    """Milliamperes."""

    @property
    def per_base(self) -> int:
        """How many of this unit are one degree Celsius, watt, volt or ampere."""
        return 1_000_000 if self is Quantity.POWER else 1000


@dataclass(frozen=True, slots=True)
class Sensor(Value):
    """One channel of one hwmon chip. Does not depend on the number the kernel gave the hwmon directory.

    Attributes:
        card: ``npu0``.
        quantity: what it measures.
        channel: number in the file names: 1 of ``temp1_input``. Voltages start at 0.
        label: the driver's label, trimmed, or the channel number as text where there is none.
        chip: the chip's ``name``; a second chip of that name on the same card is ``name.2``.
    """

    card: str
    quantity: Quantity
    channel: int
    label: str
    chip: str = ""


@dataclass(frozen=True, slots=True)
class Reading(Value):
    """A value that a sensor gave, in the unit of its quantity."""

    sensor: Sensor
    value: int


@dataclass(frozen=True, slots=True)
class Readings(Value):
    """One look at every sensor of a card.

    Attributes:
        values: by chip, quantity and channel.
        unreadable: the sensors, or whole chips, that gave none, and why.
        silent: the sensors among them, whose labels are taken although they say nothing.
    """

    values: tuple[Reading, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    silent: tuple[Sensor, ...] = ()

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Every sensor of the chips that could be listed, whether it gave a value or not."""
        return (*(reading.sensor for reading in self.values), *self.silent)

    def find(self, quantity: Quantity, labels: Iterable[str]) -> Reading | None:
        """The reading of the first of ``labels`` that there is, compared without regard to case."""
        by_label = {
            reading.sensor.label.casefold(): reading
            for reading in reversed(self.values)
            if reading.sensor.quantity is quantity
        }
        return next((by_label[label.casefold()] for label in labels if label.casefold() in by_label), None)


def distinct_labels(sensors: Iterable[Sensor]) -> dict[Sensor, str]:
    """A label for each sensor that no other sensor of its card and quantity has.

    A label that stands alone is kept as it is. Of several equal ones each gets its channel appended, and the chip's
    name too if the channels are equal: ``NE`` and ``NE`` of channels 1 and 4 become ``NE_1`` and ``NE_4``. Where that
    is another sensor's label, the longer form is taken, and at the last a number is appended. Deterministic: a
    sensor's label does not depend on the order of ``sensors``.
    """
    chosen = dict.fromkeys(sensors)
    names: dict[Sensor, _Name] = {}
    for form in (_plain, _with_channel, _with_chip):
        wanted = {sensor: _name(sensor, form(sensor)) for sensor in chosen if sensor not in names}
        takers = Counter([*names.values(), *wanted.values()])
        names |= {sensor: name for sensor, name in wanted.items() if takers[name] == 1}
    taken = set(names.values())
    # Those that are still called alike have labels that differ: chip and label together say the same.
    for sensor in sorted(chosen.keys() - names.keys(), key=_plain):
        numbered = (_name(sensor, f"{_with_chip(sensor)}_{number}") for number in count(2))
        names[sensor] = next(name for name in numbered if name not in taken)
        taken.add(names[sensor])
    return {sensor: names[sensor][-1] for sensor in chosen}


_Name = tuple[str, Quantity, str]
"""A label and within what it is to be distinct."""


def _name(sensor: Sensor, label: str) -> _Name:
    return (sensor.card, sensor.quantity, label)


def _plain(sensor: Sensor) -> str:
    return sensor.label


def _with_channel(sensor: Sensor) -> str:
    return f"{sensor.label}_{sensor.channel}"


def _with_chip(sensor: Sensor) -> str:
    return f"{sensor.chip}_{_with_channel(sensor)}"
