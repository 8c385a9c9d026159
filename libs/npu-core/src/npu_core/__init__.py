"""FuriosaAI NPUs of a Linux host: finds the cards, cuts them into PEs, reads their sensors.

A tour. :class:`Host` reads a machine, or a directory tree that looks like one; what it returns are frozen values::

    from npu_core import FUSION, Host, Quantity, units_of

    host = Host()
    inventory = host.inventory()
    for device in inventory.devices:                    # Device: what the card is
        for unit in units_of(device, FUSION):           # Unit: what is allocated as a whole
            print(unit.id, [file.path for file in unit.files])
        for reading in host.readings(device).values:    # Reading: a sensor and its value
            if reading.sensor.quantity is Quantity.TEMPERATURE:
                print(reading.sensor.label, reading.value / 1000, "°C")

Failures are values (:class:`Unreadable`, :class:`Rejected`) where a look at many things must not fail for one of
them, and typed errors (:class:`NpuError` and below) elsewhere. :mod:`npu_core.testing` writes simulated hosts.

The library proper imports the standard library alone. The extra ``[cli]`` brings the ``npuctl`` command, and
``[kubelet]`` a client for the kubelet's PodResources API. Importing the package loads none of its parts: each is
loaded when a name of it is first used (docs/adr/0004-parts-load-when-used.md).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npu_core.arch import ARCH_SPECS, Arch, ArchSpec
    from npu_core.cards import CardReader, read_all
    from npu_core.cores import CoreRange
    from npu_core.counters import Clock, ErrorCounter, PeCounters, Utilization
    from npu_core.device import ComponentVersion, Device, DeviceFile, FoundCard, Inventory, PciAddress, Rejected
    from npu_core.errors import (
        AccessDeniedError,
        BusyError,
        ExhaustedError,
        FormatError,
        GoneError,
        HostError,
        ImpossibleError,
        MissingError,
        NpuError,
        Problem,
        ReadFailedError,
        Reason,
        SensorFaultError,
        SettingsError,
        StuckError,
        Unreadable,
        UnsupportedDeviceError,
        UsageError,
    )
    from npu_core.health import HealthPolicy, HealthReport, HealthState, HealthStatus, Vitals, judge
    from npu_core.holders import Holder, Holders, find_holders
    from npu_core.host import Host
    from npu_core.hostfs import HostFS, RealFS
    from npu_core.identity import carried_over, doubles, is_another_card, is_same_card, is_same_hardware
    from npu_core.limits import LIMITS, Measure, Span
    from npu_core.machine import Machine
    from npu_core.partition import FUSION, SINGLE, Partitioning, Unit, UnitId, units_of
    from npu_core.sensors import Quantity, Reading, Readings, Sensor, distinct_labels

__version__ = "0.1.0"

__all__ = [
    "ARCH_SPECS",
    "FUSION",
    "LIMITS",
    "SINGLE",
    "AccessDeniedError",
    "Arch",
    "ArchSpec",
    "BusyError",
    "CardReader",
    "Clock",
    "ComponentVersion",
    "CoreRange",
    "Device",
    "DeviceFile",
    "ErrorCounter",
    "ExhaustedError",
    "FormatError",
    "FoundCard",
    "GoneError",
    "HealthPolicy",
    "HealthReport",
    "HealthState",
    "HealthStatus",
    "Holder",
    "Holders",
    "Host",
    "HostError",
    "HostFS",
    "ImpossibleError",
    "Inventory",
    "Machine",
    "Measure",
    "MissingError",
    "NpuError",
    "Partitioning",
    "PciAddress",
    "PeCounters",
    "Problem",
    "Quantity",
    "ReadFailedError",
    "Reading",
    "Readings",
    "RealFS",
    "Reason",
    "Rejected",
    "Sensor",
    "SensorFaultError",
    "SettingsError",
    "Span",
    "StuckError",
    "Unit",
    "UnitId",
    "Unreadable",
    "UnsupportedDeviceError",
    "UsageError",
    "Utilization",
    "Vitals",
    "__version__",
    "carried_over",
    "distinct_labels",
    "doubles",
    "find_holders",
    "is_another_card",
    "is_same_card",
    "is_same_hardware",
    "judge",
    "read_all",
    "units_of",
]

_PARTS = {
    "arch": "ARCH_SPECS Arch ArchSpec",
    "cards": "CardReader read_all",
    "cores": "CoreRange",
    "counters": "Clock ErrorCounter PeCounters Utilization",
    "device": "ComponentVersion Device DeviceFile FoundCard Inventory PciAddress Rejected",
    "errors": "AccessDeniedError BusyError ExhaustedError FormatError GoneError HostError ImpossibleError MissingError "
    "NpuError Problem ReadFailedError Reason SensorFaultError SettingsError StuckError Unreadable "
    "UnsupportedDeviceError UsageError",
    "health": "HealthPolicy HealthReport HealthState HealthStatus Vitals judge",
    "holders": "Holder Holders find_holders",
    "host": "Host",
    "hostfs": "HostFS RealFS",
    "identity": "carried_over doubles is_another_card is_same_card is_same_hardware",
    "limits": "LIMITS Measure Span",
    "machine": "Machine",
    "partition": "FUSION SINGLE Partitioning Unit UnitId units_of",
    "sensors": "Quantity Reading Readings Sensor distinct_labels",
}
_HOME = {name: part for part, names in _PARTS.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
