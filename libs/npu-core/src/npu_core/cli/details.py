"""Everything that can be read of a card, for ``npuctl info --full``."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from npu_core.cli import info
from npu_core.cli.documents import Json, unreadable_list
from npu_core.cli.host_scan import CardScan, HostScan, HostScanner, attempt
from npu_core.counters import Clock, ErrorCounter
from npu_core.device import ComponentVersion, Device
from npu_core.errors import HostError, Reason, Unreadable
from npu_core.health import HealthState, Vitals, judge
from npu_core.host import Host
from npu_core.machine import Machine
from npu_core.sensors import Quantity, Readings, distinct_labels

_SENSOR_KEYS = {
    Quantity.TEMPERATURE: "temperature_millicelsius",
    Quantity.POWER: "power_microwatts",
    Quantity.VOLTAGE: "voltage_millivolts",
    Quantity.CURRENT: "current_milliamperes",
}
_NOT_A_FAILURE = {Reason.MISSING, Reason.STUCK}
"""A missing attribute is one that the driver does not offer, and a card that hangs is noted once, as a whole."""


@dataclass(frozen=True, slots=True)
class Details:
    """What a card says beyond its identity. An error is a value that could not be read."""

    vitals: Vitals
    uptime: int | HostError
    performance_mode: str | HostError
    clocks: tuple[Clock, ...] | HostError
    errors: tuple[ErrorCounter, ...] | HostError
    throttle_reason: int | HostError
    readings: Readings

    @property
    def health(self) -> HealthState:
        """What the device plugin would make of this one look at a card that it did not know before."""
        return HealthState().after(judge(self.vitals), now=0.0)

    @property
    def alive(self) -> bool | None:
        """What the driver says; None if it does not say, or could not be asked."""
        return self.vitals.alive if isinstance(self.vitals.alive, bool) else None


def look(surveyor: HostScanner) -> HostScan[Details]:
    """The cards and everything about them."""
    return surveyor.look(partial(read, surveyor.host), _unanswered)


def read(host: Host, device: Device) -> Details:
    """Everything about one card. Never raises: failures are among the values."""
    return Details(
        vitals=host.vitals(device),
        uptime=attempt(lambda: host.uptime(device)),
        performance_mode=attempt(lambda: host.performance_mode(device)),
        clocks=attempt(lambda: host.clocks(device)),
        errors=attempt(lambda: host.errors(device)),
        throttle_reason=attempt(lambda: host.throttle_reason(device)),
        readings=host.readings(device),
    )


def _unanswered(error: HostError) -> Details:
    return Details(Vitals(present=True, alive=error), error, error, error, error, error, Readings())


def unreadable(sighting: CardScan[Details]) -> Iterator[Unreadable]:
    """What could not be read of a card."""
    yield from sighting.device.unreadable
    for subject, value in _facts(sighting.seen).items():
        if isinstance(value, HostError) and value.reason not in _NOT_A_FAILURE:
            yield Unreadable.of(sighting.device.name, subject, value)
    yield from sighting.seen.readings.unreadable


def _facts(details: Details) -> dict[str, object]:
    return {
        "alive": details.vitals.alive,
        "uptime": details.uptime,
        "performance_mode": details.performance_mode,
        "clocks": details.clocks,
        "errors": details.errors,
        "throttle_reason": details.throttle_reason,
    }


def document(sighting: CardScan[Details], machine: Machine | HostError) -> dict[str, Json]:
    """One card for machines: the keys of ``npuctl info`` and more."""
    device, details = sighting.device, sighting.seen
    return {
        **info.summary(device, details.readings),
        **_identity(device),
        **_state(details),
        "sensors": _sensors(details.readings),
        "device_files": [file.path for file in device.files],
        "absent_device_files": list(device.absent_files),
        "machine": None if isinstance(machine, HostError) else {"vendor": machine.vendor, "name": machine.name},
        "unreadable": unreadable_list(unreadable(sighting)),
    }


def _identity(device: Device) -> dict[str, Json]:
    return {
        "product": device.product,
        "uuid": device.uuid,
        "serial": device.serial,
        "firmware": _version(device.firmware),
        "driver": _version(device.driver),
        "soc_revision": device.soc_rev,
        "numa_node": device.numa_node,
        "pe_count": len(device.cores),
    }


def _version(version: ComponentVersion | None) -> Json:
    return None if version is None else {"version": version.number, "reference": version.reference}


def _state(details: Details) -> dict[str, Json]:
    clocks, errors = details.clocks, details.errors
    return {
        "alive": details.alive,
        "health": details.health.status.value,
        "health_reasons": list(details.health.reasons),
        "uptime_seconds": _or_null(details.uptime),
        "performance_mode": _or_null(details.performance_mode),
        "clocks": None if isinstance(clocks, HostError) else [_clock(clock) for clock in clocks],
        "error_counts": None if isinstance(errors, HostError) else {error.kind: error.count for error in errors},
        "throttle_reason": _or_null(details.throttle_reason),
    }


def _clock(clock: Clock) -> Json:
    return {"domain": clock.domain, "frequency": clock.frequency, "unit": clock.unit}


def _or_null(value: str | int | HostError) -> Json:
    return None if isinstance(value, HostError) else value


def _sensors(readings: Readings) -> Json:
    labels = distinct_labels(reading.sensor for reading in readings.values)
    return {
        key: {labels[reading.sensor]: reading.value for reading in readings.values if reading.sensor.quantity is kind}
        for kind, key in _SENSOR_KEYS.items()
    }
