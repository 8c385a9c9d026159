"""The table of ``npuctl info --full``: one two-column sheet per card."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from npu_core.cli.details import Details
from npu_core.cli.host_scan import CARD, CardScan
from npu_core.cli.table import Cell, Column, Row, Style, Table, aligned, row
from npu_core.cli.words import duration, file_list, frequency, measurement, name_list
from npu_core.counters import Clock, ErrorCounter
from npu_core.device import Device
from npu_core.errors import HostError, Reason
from npu_core.health import HealthStatus
from npu_core.machine import Machine
from npu_core.sensors import Quantity, Readings, distinct_labels

T = TypeVar("T")

_NOT_GIVEN = "not given"
_NOT_OFFERED = "not offered by this driver"
_ALIVE = {True: "yes", False: "no", None: _NOT_OFFERED}
_STYLES = {
    HealthStatus.HEALTHY: Style.GOOD,
    HealthStatus.UNHEALTHY: Style.BAD,
    HealthStatus.UNKNOWN: Style.DOUBTFUL,
}
_QUANTITIES = {
    Quantity.TEMPERATURE: "Temperatures",
    Quantity.POWER: "Power",
    Quantity.VOLTAGE: "Voltages",
    Quantity.CURRENT: "Currents",
}


def sheet(sighting: CardScan[Details]) -> Table:
    """Everything about one card, under its name."""
    device, details = sighting.device, sighting.seen
    columns = (Column(device.name), Column(device.spec.vendor_name))
    groups = (_identity(device), _state(details), _sensors(details.readings), _files(device))
    return Table(columns, tuple(group for each in groups if (group := tuple(each))))


def machine_line(machine: Machine | HostError) -> str:
    """Which machine the cards are in."""
    return f"Machine: {_said(machine, _machine)}"


def _machine(machine: Machine) -> str:
    return " ".join(part for part in (machine.vendor, machine.name) if part) or _NOT_GIVEN


def _identity(device: Device) -> Iterator[Row]:
    for title, value, *attributes in (
        ("Architecture", device.arch.value),
        ("Product", device.product, "device_type", "soc_rev"),
        ("UUID", device.uuid, "device_uuid"),
        ("Serial", device.serial, "device_sn"),
        ("Firmware", device.firmware, "fw_version"),
        ("Driver", device.driver, "version"),
        ("SoC revision", device.soc_rev, "soc_rev"),
        ("PCI-BDF", device.pci, "busname"),
        ("PCI-DEV", device.dev, "dev"),
        ("NUMA node", device.numa_node, "numa_node", "busname"),
        ("Cores", device.cores),
    ):
        yield row(str(title), _absence(device, attributes) if value is None else str(value))


def _absence(device: Device, attributes: Iterable[object]) -> str:
    for item in device.unreadable:
        if item.subject in {*attributes, CARD}:
            return f"unreadable: {item.detail}"
    return _NOT_GIVEN


def _state(details: Details) -> Iterator[Row]:
    health = details.health
    yield (Cell("Health"), Cell("\n".join((health.status.value, *health.reasons)), _STYLES[health.status]))
    yield row("Alive", _said(details.vitals.alive, lambda alive: _ALIVE[alive]))
    yield row("Uptime", _said(details.uptime, duration))
    yield row("Performance mode", _said(details.performance_mode, str))
    yield row("Clocks", _said(details.clocks, _clocks))
    yield row("Error counters", _said(details.errors, _errors))
    yield row("Throttle reason", _said(details.throttle_reason, _throttle))


def _said(value: T | HostError, say: Callable[[T], str]) -> str:
    if not isinstance(value, HostError):
        return say(value)
    return _NOT_OFFERED if value.reason is Reason.MISSING else f"unreadable: {value.detail}"


def _clocks(clocks: tuple[Clock, ...]) -> str:
    return aligned((clock.domain, frequency(clock)) for clock in clocks)


def _errors(errors: tuple[ErrorCounter, ...]) -> str:
    return aligned((error.kind, str(error.count)) for error in errors)


def _throttle(mask: int) -> str:
    return f"{mask:#x}" if mask else "none"


def _sensors(readings: Readings) -> Iterator[Row]:
    labels = distinct_labels(reading.sensor for reading in readings.values)
    for quantity, title in _QUANTITIES.items():
        values = [reading for reading in readings.values if reading.sensor.quantity is quantity]
        if values:
            yield row(title, aligned((labels[reading.sensor], measurement(reading)) for reading in values))
    if readings.unreadable:
        yield row("Unreadable", aligned((item.subject, item.detail) for item in readings.unreadable))


def _files(device: Device) -> Iterator[Row]:
    yield row("Device files", file_list(device.files) or "none")
    if device.absent_files:
        yield row("Absent files", name_list(device.absent_files))
