"""File names and contents of a hwmon directory.

Source: the kernel's hwmon naming, ``<type><channel>_<item>``; the vendor's drivers give power as an average.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from npu_core.parse.text import parse_flag, parse_integer
from npu_core.sensors import Quantity

_FILE = re.compile(r"(temp|power|in|curr)(0|[1-9][0-9]{0,3})_(input|average|label|fault)", re.ASCII)
_QUANTITIES = {
    "temp": Quantity.TEMPERATURE,
    "power": Quantity.POWER,
    "in": Quantity.VOLTAGE,
    "curr": Quantity.CURRENT,
}
_UNITS = {
    Quantity.TEMPERATURE: "m°C",
    Quantity.POWER: "µW",
    Quantity.VOLTAGE: "mV",
    Quantity.CURRENT: "mA",
}


@dataclass(frozen=True, slots=True)
class ChannelFiles:
    """The files of one sensor.

    Attributes:
        quantity: what it measures.
        channel: its number.
        value_file: the file with the value.
        label_file: the file with the label, or None.
        fault_file: the file that says whether the sensor is faulty; None if there is no such file.
    """

    quantity: Quantity
    channel: int
    value_file: str
    label_file: str | None
    fault_file: str | None = None


def channel_files(names: Iterable[str]) -> tuple[ChannelFiles, ...]:
    """The sensors among the entries of a hwmon directory, by quantity and channel.

    Other entries (``name``, ``uevent``, limits and alarms) are not sensors. Power is read from ``_average`` where
    there is one, otherwise from ``_input``; the rest from ``_input``.
    """
    items: dict[tuple[Quantity, int], dict[str, str]] = {}
    for name in names:
        if match := _FILE.fullmatch(name):
            items.setdefault((_QUANTITIES[match[1]], int(match[2])), {})[match[3]] = name
    found = (_channel(quantity, channel, files) for (quantity, channel), files in items.items())
    return tuple(sorted((channel for channel in found if channel), key=_order))


def _channel(quantity: Quantity, channel: int, files: dict[str, str]) -> ChannelFiles | None:
    wanted = ("average", "input") if quantity is Quantity.POWER else ("input",)
    value_file = next((files[item] for item in wanted if item in files), None)
    if value_file is None:
        return None
    return ChannelFiles(quantity, channel, value_file, files.get("label"), files.get("fault"))


def _order(channel: ChannelFiles) -> tuple[int, int]:
    return list(Quantity).index(channel.quantity), channel.channel


def parse_sensor_value(text: str, quantity: Quantity) -> int:
    """A sensor's value in the unit of its quantity; negative temperatures are legal.

    Raises:
        FormatError: unless it is one number.
    """
    return parse_integer(text, f"a {quantity} in {_UNITS[quantity]}")


def parse_fault(text: str) -> bool:
    """Whether the driver marks a sensor as faulty. Source: ``<type><channel>_fault`` of the kernel's hwmon interface.

    Raises:
        FormatError: unless it is 0 or 1.
    """
    return parse_flag(text)


def parse_label(text: str | None, channel: int) -> str:
    """A sensor's label; the channel number where the driver gives none or an empty one."""
    return (text or "").strip() or str(channel)
