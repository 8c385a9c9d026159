"""Prints what the vendor's furiosa-smi-py reads from this host, as one JSON object with every card.

It needs nothing but that package. A field the library refuses to read is {"error": <its message>}: which
fields fail is part of the comparison. The message names only the kind of error; the library's log says more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial

import furiosa_smi_py as vendor

INFO_FIELDS = ("name", "index", "bdf", "serial", "uuid", "numa_node", "core_num", "major", "minor")
LINK_FIELDS = (
    "link_speed_status",
    "link_width_status",
    "max_link_speed_capability",
    "max_link_width_capability",
    "pcie_gen_status",
)
PCI_FIELDS = ("class_id", "sub_class_id", "vendor_id", "device_id", "revision_id", "subsystem_id")
SRIOV_FIELDS = ("sriov_total_vfs", "sriov_enabled_vfs")
ROOT_COMPLEX_FIELDS = ("domain", "bus")
SWITCH_FIELDS = ("domain", "bus", "device", "function")
MEMORIES = ("dram", "dram_shared", "instruction", "sram")
VERSION_FIELDS = ("major", "minor", "patch", "metadata", "prerelease")


def attempt(read: Callable[[], object]) -> object:
    """What `read` gives, or the library's own words for why not."""
    try:
        return read()
    except BaseException as error:  # a Rust panic arrives as a BaseException
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return {"error": str(error)}


def fields(value: object, names: tuple[str, ...]) -> dict[str, object]:
    """The named fields of one of the library's structs; each is a method there."""
    return {name: attempt(getattr(value, name)) for name in names}


def variant(value: object) -> str:
    """The last part of an enum member's name: `Arch.Rngd` is `Rngd`."""
    return str(value).rpartition(".")[2]


def version(value: object) -> dict[str, object]:
    """A version in its parts, and as the library writes it."""
    return {"text": str(value), **fields(value, VERSION_FIELDS)}


def info(device: object) -> dict[str, object]:
    """The fields that identify a card."""
    value = device.device_info()
    return {
        **fields(value, INFO_FIELDS),
        "arch": variant(value.arch()),
        "firmware_version": attempt(lambda: version(value.firmware_version())),
    }


def device_files(device: object) -> list[dict[str, object]]:
    """The device files that stand for cores, in the library's order."""
    return [{"path": file.path(), "cores": file.cores()} for file in device.device_files()]


def core_status(device: object) -> dict[str, str]:
    """Whether each core is occupied; keys are text, as JSON wants them."""
    return {str(each.core()): variant(each.status()) for each in device.core_status().pe_status()}


def core_frequency(device: object) -> dict[str, object]:
    """MHz of each core."""
    return {str(each.core()): each.frequency() for each in device.core_frequency().pe_frequency()}


def memory_utilization(device: object) -> dict[str, list[dict[str, object]]]:
    """The blocks of each kind of memory, in bytes, in the library's order."""
    usage = device.memory_utilization()
    return {
        kind: [fields(block, ("core", "in_use_bytes", "total_bytes")) for block in getattr(usage, kind)().memory()]
        for kind in MEMORIES
    }


def performance_counters(device: object) -> list[dict[str, object]]:
    """The counters of each core, without the time they were read."""
    counters = device.device_performance_counter().pe_performance_counters()
    return [fields(each, ("core", "cycle_count", "task_execution_cycle")) for each in counters]


def pcie(device: object) -> dict[str, object]:
    """Where the card sits and how it is linked."""
    value = device.pcie_info()
    switch = value.switch_info()
    return {
        "device": fields(value.device_info(), PCI_FIELDS),
        "link": fields(value.link_info(), LINK_FIELDS),
        "sriov": fields(value.sriov_info(), SRIOV_FIELDS),
        "root_complex": fields(value.root_complex_info(), ROOT_COMPLEX_FIELDS),
        "switch": None if switch is None else fields(switch, SWITCH_FIELDS),
    }


def temperature(device: object) -> dict[str, object]:
    """The two temperatures the library gives, in degrees Celsius."""
    return fields(device.device_temperature(), ("soc_peak", "ambient"))


def card(device: object, every: list[object]) -> dict[str, object]:
    """Every field the library has for one card; a list over cards is in the order of the listing."""
    return {
        "info": attempt(partial(info, device)),
        "liveness": attempt(device.liveness),
        "device_files": attempt(partial(device_files, device)),
        "core_status": attempt(partial(core_status, device)),
        "core_frequency": attempt(partial(core_frequency, device)),
        "memory_frequency": attempt(lambda: device.memory_frequency().frequency()),
        "memory_utilization": attempt(partial(memory_utilization, device)),
        "performance_counters": attempt(partial(performance_counters, device)),
        "temperature": attempt(partial(temperature, device)),
        "power": attempt(device.power_consumption),
        "governor": attempt(lambda: variant(device.governor_profile())),
        "throttle_reason": attempt(device.throttle_reason),
        "pcie": attempt(partial(pcie, device)),
        "link_types": [
            attempt(lambda other=other: variant(device.device_to_device_link_type(other))) for other in every
        ],
        "p2p_accessible": [attempt(partial(device.p2p_accessible, other)) for other in every],
    }


def host() -> dict[str, object]:
    """What the library says of the host: its driver, its cards, and the cards unbound from the driver."""
    vendor.init()
    devices = vendor.list_devices()
    return {
        "cards": [card(device, devices) for device in devices],
        "disabled": attempt(vendor.list_disabled_devices),
        "driver_version": attempt(lambda: version(vendor.driver_info())),
    }


def main() -> None:
    """The library logs to stdout, so the answer goes to a copy of it and the log to stderr."""
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        json.dump(host(), answer, sort_keys=True)


if __name__ == "__main__":
    main()
