"""Values as people read them. Machines are given the values themselves."""

from collections.abc import Iterable

from npu_core.counters import Clock
from npu_core.device import DeviceFile
from npu_core.sensors import Quantity, Reading

NOTHING = "-"
"""Stands where a value could not be had; it is never a 0."""

_MEGA = 1_000_000
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60
_FILES_WIDTH = 44
_ELLIPSIS = "…"


def temperature(millicelsius: int | None) -> str:
    """``40°C``, to the nearest degree."""
    return NOTHING if millicelsius is None else f"{round(millicelsius / 1000)}°C"


def power(microwatts: int | None) -> str:
    """``1.37 W``."""
    return NOTHING if microwatts is None else f"{microwatts / _MEGA:.2f} W"


def measurement(reading: Reading) -> str:
    """A sensor's value with the unit of its quantity: ``40.2°C``, ``1.37 W``, ``0.812 V``, ``1.180 A``."""
    match reading.sensor.quantity:
        case Quantity.TEMPERATURE:
            return f"{reading.value / 1000:.1f}°C"
        case Quantity.POWER:
            return power(reading.value)
        case Quantity.VOLTAGE:
            return f"{reading.value / 1000:.3f} V"
        case Quantity.CURRENT:
            return f"{reading.value / 1000:.3f} A"


def share(ratio: float | None) -> str:
    """``57.3%``, of a ratio within 0..1."""
    return NOTHING if ratio is None else f"{100 * ratio:.1f}%"


def frequency(clock: Clock) -> str:
    """``2000 MHz``, in the driver's unit except that plain hertz are given in megahertz."""
    return f"{clock.frequency / _MEGA:g} MHz" if clock.unit == "Hz" else f"{clock.frequency} {clock.unit}"


def duration(seconds: int) -> str:
    """``2d 04:04:09``; without the days where there are none."""
    days, rest = divmod(seconds, _DAY)
    clock = f"{rest // _HOUR:02}:{rest % _HOUR // _MINUTE:02}:{rest % _MINUTE:02}"
    return f"{days}d {clock}" if days else clock


def short(text: str, limit: int) -> str:
    """On one line, of at most ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + _ELLIPSIS


def file_list(files: Iterable[DeviceFile]) -> str:
    """Device files as names below /dev, broken into lines: ``npu0_mgmt npu0ch0``, ``rngd/npu0pe0``."""
    return name_list(file.path.removeprefix("/dev/") for file in files)


def name_list(names: Iterable[str]) -> str:
    """Names, broken into lines."""
    lines = [""]
    for name in names:
        if lines[-1] and len(lines[-1]) + 1 + len(name) > _FILES_WIDTH:
            lines.append("")
        lines[-1] += f" {name}" if lines[-1] else name
    return "\n".join(lines)


def count(number: int, what: str, many: str = "") -> str:
    """``1 NPU``, ``2 NPUs``; ``many`` is the plural where an s does not make it."""
    return f"{number} {what}" if number == 1 else f"{number} {many or what + 's'}"
