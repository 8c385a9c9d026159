"""What `npu_core.Host` says of a host, as the records that are compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from npu_core.arch import Arch
from npu_core.counters import PeCounters
from npu_core.device import ComponentVersion, Device, DeviceFile
from npu_core.errors import HostError
from npu_core.host import Host
from npu_core.sensors import Quantity, Readings
from tests.oracle.compare import RngdCard, Sensors, Version, WarboyCard, WarboyFile, given

T = TypeVar("T")

_HERTZ_PER_MEGAHERTZ = 1_000_000


def our_warboys(host: Host) -> dict[str, WarboyCard]:
    """The Warboy cards of a host, by name."""
    return {device.name: _our_warboy(host, device) for device in _devices(host, Arch.WARBOY)}


def our_rngds(host: Host) -> dict[str, RngdCard]:
    """The RNGD cards of a host, by name."""
    return {device.name: _our_rngd(host, device) for device in _devices(host, Arch.RENEGADE)}


def _devices(host: Host, arch: Arch) -> list[Device]:
    return [device for device in host.inventory().devices if device.arch is arch]


def _our_warboy(host: Host, device: Device) -> WarboyCard:
    readings = host.readings(device)
    return WarboyCard(
        name=device.name,
        index=device.index,
        arch="WarboyA0" if device.soc_rev == "A0" else "Warboy",
        busname=given(str, device.pci),
        pci_dev=device.dev,
        serial=device.serial,
        uuid=device.uuid,
        driver=given(str, device.driver),
        firmware=given(str, device.firmware),
        cores=tuple(device.cores),
        device_files=_our_files(device),
        alive=_or_none(host.alive, device),
        errors=_our_errors(host, device),
        uptime=_or_none(host.uptime, device),
        numa_node=device.numa_node,
        clocks=_or_none(host.clocks, device),
        currents=_our_sensors(readings, Quantity.CURRENT),
        voltages=_our_sensors(readings, Quantity.VOLTAGE),
        powers=_our_sensors(readings, Quantity.POWER),
        temperatures=_our_sensors(readings, Quantity.TEMPERATURE),
        counters=tuple(_our_counters(host, device, [file for file in device.files if file.is_pe_file])),
    )


def _our_files(device: Device) -> tuple[WarboyFile, ...]:
    found = (WarboyFile(file.path, _mode(file), tuple(file.cores)) for file in device.files if file.cores is not None)
    return tuple(sorted(found, key=lambda file: file.path))


def _mode(file: DeviceFile) -> str:
    """The library's word for how much of a card a device file opens."""
    if not file.is_pe_file:
        return "MultiCore"
    return "Single" if file.cores is not None and len(file.cores) == 1 else "Fusion"


def _our_errors(host: Host, device: Device) -> dict[str, int] | None:
    counters = _or_none(host.errors, device)
    return None if counters is None else {counter.kind: counter.count for counter in counters}


def _our_sensors(readings: Readings, quantity: Quantity) -> Sensors:
    return tuple(
        (reading.sensor.label, reading.value) for reading in readings.values if reading.sensor.quantity is quantity
    )


def _our_counters(host: Host, device: Device, files: list[DeviceFile]) -> list[PeCounters]:
    """The counters of those of the files that have some."""
    ranges = [file.cores for file in files if file.cores is not None]
    counters = (_or_none(partial(host.pe_counters, cores=cores), device) for cores in ranges)
    return [counter for counter in counters if counter is not None]


def _our_rngd(host: Host, device: Device) -> RngdCard:
    readings = host.readings(device)
    occupancy = _or_none(host.occupancy, device)
    return RngdCard(
        name=device.name,
        bdf=given(str, device.pci),
        serial=device.serial,
        uuid=device.uuid,
        dev=device.dev,
        numa_node=device.numa_node,
        driver=given(_our_version, device.driver),
        firmware=given(_our_version, device.firmware),
        core_count=len(device.cores),
        device_files={file.path: tuple(file.cores) for file in device.files if file.cores is not None},
        alive=_or_none(host.alive, device),
        occupancy=occupancy,
        counters=None if occupancy is None else tuple(_our_counters(host, device, _occupied(device, occupancy))),
        core_megahertz=_our_megahertz(host, device),
        performance_mode=_or_none(host.performance_mode, device),
        throttle_reason=_or_none(host.throttle_reason, device),
        microwatts=_value(readings, Quantity.POWER, device.spec.power_label),
        peak_millidegrees=_value(readings, Quantity.TEMPERATURE, "PEAK"),
        ambient_millidegrees=_value(readings, Quantity.TEMPERATURE, "AMBIENT"),
    )


def _our_version(version: ComponentVersion) -> Version:
    return Version(version.major, version.minor, version.patch, version.reference)


def _occupied(device: Device, occupancy: tuple[bool, ...]) -> list[DeviceFile]:
    """The device files of the single cores that are occupied."""
    files = (device.file(f"{device.name}pe{core}") for core, occupied in enumerate(occupancy) if occupied)
    return [file for file in files if file is not None]


def _our_megahertz(host: Host, device: Device) -> tuple[int, ...] | None:
    clocks = _or_none(host.clocks, device)
    if clocks is None:
        return None
    assert {clock.unit for clock in clocks} <= {"Hz"}, clocks
    return tuple(clock.frequency // _HERTZ_PER_MEGAHERTZ for clock in clocks)


def _value(readings: Readings, quantity: Quantity, label: str) -> int | None:
    reading = readings.find(quantity, [label])
    return None if reading is None else reading.value


def _or_none(read: Callable[[Device], T], device: Device) -> T | None:
    try:
        return read(device)
    except HostError:
        return None
