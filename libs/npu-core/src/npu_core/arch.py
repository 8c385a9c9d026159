"""What the kinds of card look like on a host. A new chip is a new row of :data:`ARCH_SPECS`.

Source: names, counts and granted files follow the vendor's drivers and libraries as docs/host-contract.md lists
them.
"""

from dataclasses import dataclass
from enum import StrEnum

from npu_core.cores import CoreRange


class Arch(StrEnum):
    """A family of cards. The value is the family's name in labels and metrics."""

    WARBOY = "warboy"
    RENEGADE = "renegade"


class AliveRule(StrEnum):
    """Which management attribute says that a card is alive."""

    ALIVE_FILE = "alive"
    """``alive``: ``1`` is alive, ``0`` is dead."""

    DEVICE_STATE = "device_state"
    """``device_state``: ``1`` is alive for drivers numbered 1.x, ``0`` for those numbered by year."""


class CountersFile(StrEnum):
    """Which attribute of a core range's class entry counts its work."""

    PERF_REGS = "perf_regs"
    """29 registers of every range, single or fused."""

    METRICS = "metrics"
    """Cycles and task cycles, 64 bits each, of single cores."""


@dataclass(frozen=True, slots=True)
class ArchSpec:
    """One row of the table: how a family of cards shows itself on a host and what a container of it needs.

    Attributes:
        arch: the family.
        vendor_name: as the vendor's tools print it.
        device_types: lower-case beginnings of the ``device_type`` attribute that mean this family.
        pci_id: vendor and device id, ``1ed2:0000``.
        pe_count: processing elements per card.
        fused_ranges: core ranges, beyond single cores, that the driver makes a device file for.
        device_dir: directory of the device files below /dev, empty for /dev itself.
        sysfs_class: directory below /sys/class.
        sysfs_prefix: what stands before a device-file name in that directory (the kernel writes ``/`` as ``!``).
        mgmt_suffix: suffix of the management node, ``npu0`` + this.
        channel_count: DMA channels, ``ch0`` and so on.
        granted_suffixes: device files of the whole card that every container with any of its cores is given.
        alive_rule: where the driver says that the card is alive.
        counters_file: where the driver counts a core range's work.
        power_label: label of the sensor with the power of the whole card.
        temperature_labels: labels of the headline temperature, best first.
    """

    arch: Arch
    vendor_name: str
    device_types: tuple[str, ...]
    pci_id: str
    pe_count: int
    fused_ranges: tuple[CoreRange, ...]
    device_dir: str
    sysfs_class: str
    sysfs_prefix: str
    mgmt_suffix: str
    channel_count: int
    granted_suffixes: tuple[str, ...]
    alive_rule: AliveRule
    counters_file: CountersFile
    power_label: str
    temperature_labels: tuple[str, ...]

    @property
    def cores(self) -> CoreRange:
        """Every core of a card."""
        return CoreRange(0, self.pe_count - 1)

    @property
    def core_files(self) -> tuple[CoreRange, ...]:
        """Core ranges the driver makes a device file for, single cores first."""
        return (*self.cores.split(1), *self.fused_ranges)

    def has_file_for(self, cores: CoreRange) -> bool:
        """Whether the driver makes one device file for exactly these cores."""
        return cores in self.core_files

    @property
    def unit_sizes(self) -> tuple[int, ...]:
        """Numbers of cores that a card can be cut into evenly with one device file each, ascending."""
        return tuple(
            size
            for size in range(1, self.pe_count + 1)
            if self.pe_count % size == 0 and all(self.has_file_for(part) for part in self.cores.split(size))
        )

    def sysfs_name(self, name: str) -> str:
        """The entry of :attr:`sysfs_class` that belongs to a device file: ``npu0pe0`` -> ``rngd!npu0pe0``."""
        return self.sysfs_prefix + name

    def mgmt_name(self, index: int) -> str:
        """The entry of :attr:`sysfs_class` with the attributes of card ``index``."""
        return self.sysfs_name(f"npu{index}{self.mgmt_suffix}")


def _ranges(*texts: str) -> tuple[CoreRange, ...]:
    return tuple(CoreRange.parse(text) for text in texts)


_WARBOY = ArchSpec(
    arch=Arch.WARBOY,
    vendor_name="FuriosaAI Warboy",
    device_types=("warboy",),
    pci_id="1ed2:0000",
    pe_count=2,
    fused_ranges=_ranges("0-1"),
    device_dir="",
    sysfs_class="npu_mgmt",
    sysfs_prefix="",
    mgmt_suffix="_mgmt",
    channel_count=4,
    granted_suffixes=("_mgmt", "ch0", "ch1", "ch2", "ch3"),
    alive_rule=AliveRule.ALIVE_FILE,
    counters_file=CountersFile.PERF_REGS,
    power_label="PCI Total RMS PWR",
    temperature_labels=("Average", "Peak"),
)

_RENEGADE = ArchSpec(
    arch=Arch.RENEGADE,
    vendor_name="FuriosaAI RNGD",
    device_types=("rngd", "renegade"),
    pci_id="1ed2:0001",
    pe_count=8,
    fused_ranges=_ranges("0-1", "2-3", "4-5", "6-7", "0-3", "4-7"),
    device_dir="rngd",
    sysfs_class="rngd_mgmt",
    sysfs_prefix="rngd!",
    mgmt_suffix="mgmt",
    channel_count=8,
    granted_suffixes=(
        "mgmt",
        *(f"ch{channel}" for channel in range(8)),
        *(f"ch{channel}r" for channel in range(8)),
        "dmar",
        "bar0",
        "bar2",
        "bar4",
    ),
    alive_rule=AliveRule.DEVICE_STATE,
    counters_file=CountersFile.METRICS,
    power_label="RMS_TOTAL",
    temperature_labels=("PEAK", "AMBIENT"),
)

ARCH_SPECS: dict[Arch, ArchSpec] = {spec.arch: spec for spec in (_WARBOY, _RENEGADE)}
"""The table, one row per family."""


def arch_spec(arch: Arch) -> ArchSpec:
    """The row of ``arch``."""
    return ARCH_SPECS[arch]


def spec_of_type(device_type: str) -> ArchSpec | None:
    """The row whose cards call themselves ``device_type``, whatever its case; None for an unknown kind."""
    lowered = device_type.strip().lower()
    for spec in ARCH_SPECS.values():
        if lowered.startswith(spec.device_types):
            return spec
    return None
