"""Prints what the vendor's furiosa-native-device reads from this host, one JSON object per card.

Runs under CPython 3.10 in an environment of its own, so it needs nothing but that package. A field the
library refuses to read is {"error": <its message>}: which fields fail is part of the comparison.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial

from furiosa_native_device import furiosa_native_device_sync as vendor

CARD_FIELDS = {
    "name": "name",
    "index": "device_index",
    "busname": "busname",
    "pci_dev": "pci_dev",
    "serial": "device_sn",
    "uuid": "device_uuid",
    "firmware_version": "firmware_version",
    "driver_version": "driver_version",
    "core_num": "core_num",
    "cores": "cores",
    "alive": "alive",
    "atr_error": "atr_error",
    "heartbeat": "heartbeat",
    "numa_node": "numa_node",
}
SENSORS = {
    "current": "read_currents",
    "voltage": "read_voltages",
    "power": "read_powers_average",
    "temperature": "read_temperatures",
}


def attempt(read: Callable[[], object]) -> object:
    """What `read` gives, or the library's own words for why not."""
    try:
        return read()
    except BaseException as error:  # a Rust panic arrives as a BaseException
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return {"error": str(error)}


def variant(value: object) -> str:
    """The last part of an enum member's name: `Arch.Warboy` is `Warboy`."""
    return str(value).rpartition(".")[2]


def device_file(file: object) -> dict[str, object]:
    """One device file of a card."""
    return {
        "filename": file.filename(),
        "path": str(file.path()),
        "device_index": file.device_index(),
        "mode": variant(file.mode()),
        "cores": file.core_range().value,  # [first, last]; None is the library's "All"
    }


def clock(frequency: object) -> dict[str, object]:
    """One line of the card's clocks."""
    return {"name": frequency.name, "unit": frequency.unit, "value": frequency.value}


def counter(pair: tuple[object, object]) -> dict[str, object]:
    """The performance counters of one device file."""
    file, values = pair
    return {
        "filename": file.filename(),
        "cycle_count": values.cycle_count(),
        "task_execution_cycle": values.task_execution_cycle(),
        "tensor_execution_cycle": values.tensor_execution_cycle(),
    }


def statuses(device: object) -> dict[str, str]:
    """Whether each core is available; keys become text, as JSON wants them."""
    return {str(core): variant(status) for core, status in device.get_status_all().items()}


def readings(read: Callable[[], list[object]]) -> list[dict[str, object]]:
    """The sensors of one quantity, in the library's order."""
    return [{"label": sensor.label, "value": sensor.value} for sensor in read()]


def sensors(device: object) -> dict[str, object]:
    """The four quantities of the card's hwmon directory."""
    fetcher = device.get_hwmon_fetcher()
    return {quantity: attempt(partial(readings, getattr(fetcher, method))) for quantity, method in SENSORS.items()}


def card(device: object) -> dict[str, object]:
    """Every field the library has for one card."""
    fields: dict[str, object] = {key: attempt(getattr(device, method)) for key, method in CARD_FIELDS.items()}
    fields["arch"] = attempt(lambda: variant(device.arch()))
    fields["device_files"] = attempt(lambda: [device_file(file) for file in device.dev_files()])
    fields["clock_frequency"] = attempt(lambda: [clock(each) for each in device.clock_frequency()])
    fields["status"] = attempt(lambda: statuses(device))
    fields["sensors"] = attempt(lambda: sensors(device))
    fields["performance_counters"] = attempt(lambda: [counter(pair) for pair in device.performance_counters()])
    return fields


if __name__ == "__main__":
    json.dump([card(device) for device in vendor.list_devices()], sys.stdout, sort_keys=True)
