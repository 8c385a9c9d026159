"""What the sensors of a card read: its hwmon chips, however many and however numbered."""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from npu_core.device import Device
from npu_core.errors import HostError, MissingError, SensorFaultError, Unreadable
from npu_core.limits import LIMITS, Limits, possible_reading
from npu_core.parse import hwmon as parse
from npu_core.sensors import Reading, Readings, Sensor
from npu_core.tree import HostTree

_DIRECTORY = re.compile(r"hwmon([0-9]{1,6})", re.ASCII)


class _Chip(NamedTuple):
    name: str
    path: str


class _Silence(NamedTuple):
    """No value, and why; of a whole chip where there is no sensor."""

    why: Unreadable
    sensor: Sensor | None = None


def read_sensors(tree: HostTree, device: Device, limits: Limits = LIMITS) -> Readings:
    """Every sensor of the card; see :meth:`npu_core.host.Host.readings`. Never raises."""
    if device.pci is None:
        return Readings()
    try:
        chips = _chips(tree, f"{tree.pci_dir(device.pci)}/hwmon")
    except HostError as error:
        return Readings(unreadable=(Unreadable.of(device.name, "hwmon", error),))
    found = [reading for chip in chips for reading in _chip(tree, device.name, chip, limits)]
    return Readings(
        tuple(reading for reading in found if isinstance(reading, Reading)),
        tuple(reading.why for reading in found if isinstance(reading, _Silence)),
        tuple(reading.sensor for reading in found if isinstance(reading, _Silence) and reading.sensor is not None),
    )


def _chips(tree: HostTree, directory: str) -> list[_Chip]:
    matches = map(_DIRECTORY.fullmatch, tree.list_or_nothing(directory))
    numbers = sorted(int(match[1]) for match in matches if match)
    paths = [f"{directory}/hwmon{number}" for number in numbers]
    names = _distinct(_chip_name(tree, path) for path in paths)
    return [_Chip(name, path) for name, path in zip(names, paths, strict=True)]


def _chip_name(tree: HostTree, path: str) -> str:
    """The driver's name of the chip. An unreadable one costs only the name, not the sensors."""
    name = tree.attempt(f"{path}/name")
    return name.strip() if isinstance(name, str) else ""


def _distinct(names: Iterable[str]) -> Iterator[str]:
    chips = list(names)
    numbers = {name: itertools.count(2) for name in chips}
    seen: set[str] = set()
    for name in chips:
        if name in seen:
            # A number that makes another chip's name is passed over.
            yield next(numbered for number in numbers[name] if (numbered := f"{name}.{number}") not in numbers)
        else:
            seen.add(name)
            yield name


def _chip(tree: HostTree, card: str, chip: _Chip, limits: Limits) -> Iterator[Reading | _Silence]:
    try:
        channels = parse.channel_files(tree.fs.list_dir(chip.path))
    except HostError as error:
        yield _Silence(Unreadable.of(card, f"hwmon {chip.name}".rstrip(), error))
        return
    for channel in channels:
        yield _sensor(tree, card, chip, channel, limits)


def _sensor(tree: HostTree, card: str, chip: _Chip, files: parse.ChannelFiles, limits: Limits) -> Reading | _Silence:
    label = tree.attempt(f"{chip.path}/{files.label_file}") if files.label_file else None
    name = parse.parse_label(label if isinstance(label, str) else None, files.channel)
    sensor = Sensor(card, files.quantity, files.channel, name, chip.name)
    try:
        _check_fault(tree, chip, files)
        return Reading(sensor, tree.read(f"{chip.path}/{files.value_file}", lambda text: _value(text, files, limits)))
    except HostError as error:
        return _Silence(Unreadable.of(card, f"{chip.name}/{files.value_file}".lstrip("/"), error), sensor)


def _value(text: str, files: parse.ChannelFiles, limits: Limits) -> int:
    return possible_reading(parse.parse_sensor_value(text, files.quantity), files.quantity, limits)


def _check_fault(tree: HostTree, chip: _Chip, files: parse.ChannelFiles) -> None:
    """Raise if the driver marks the sensor as faulty, or if the file that says so cannot be read."""
    if files.fault_file is None:
        return
    path = f"{chip.path}/{files.fault_file}"
    try:
        faulty = tree.read(path, parse.parse_fault)
    except MissingError:
        return  # the file disappeared after the directory was listed
    if faulty:
        raise SensorFaultError(f"the driver says that the sensor is faulty: {files.fault_file} is 1", path=path)
