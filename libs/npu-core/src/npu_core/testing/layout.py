"""The files of a simulated card, as values: paths below the root, and what is in them. Writes nothing."""

from dataclasses import dataclass

from npu_core.arch import Arch, CountersFile
from npu_core.cores import CoreRange
from npu_core.device import PciAddress
from npu_core.partition import UnitId
from npu_core.sensors import Quantity
from npu_core.testing.plan import CardPlan, SensorPlan

WRITE_ONLY = ("device_led", "ne_clock", "new_pe_ids", "remove_pe_ids", "reset", "tty_lock")
"""Attributes of a real driver that can only be written; reading one is an error."""

ERROR_LINES = (
    "AXI Post Error",
    "AXI Fetch Error",
    "AXI Discard Error",
    "AXI Doorbell done",
    "PCIe Post Error",
    "PCIe Fetch Error",
    "PCIe Discard Error",
    "PCIe Doorbell done",
    "Device Error",
)

ERROR_KINDS = tuple("_".join(line.lower().split()) for line in ERROR_LINES)
"""The kinds of the error counters, as the library names them."""

_REGISTERS_BEFORE = (
    "ProgramCounter",
    "InstructionCount",
    "TensorExecutionCount",
    "BranchCount",
    "BranchTakenCount",
    "DramToSramCount",
    "SramToDramCount",
    "LastBranchTaken",
    "LastBranchTakenTarget",
)
_REGISTERS_BETWEEN = (
    "LastTensorExecutionTime",
    "WaitTag",
    "SendSubmissionTail",
    "SendCompletionHead",
    "RecvSubmissionTail",
    "RecvCompletionHead",
    "DataMemoryControllerTotalDramToSramIssueCount",
    "DataMemoryControllerTotalSramToDramIssueCount",
    "DataMemoryControllerTotalDramToSramCompleteCount",
    "DataMemoryControllerTotalSramToDramCompleteCount",
    "DataMemoryControllerTotalDramToSramLatency",
    "DataMemoryControllerTotalSramToDramLatency",
    "DataMemoryControllerLastDramToSramLatency",
    "DataMemoryControllerLastSramToDramLatency",
    "LoadStoreSubmissionTail",
    "LoadStoreSubmissionHead",
)
_ALLOC_STATUS = "\n".join(
    f"{memory}_{what}: {value:#x}"
    for memory, capacity in (("dram", 6_375_342_080), ("shared", 0), ("sram", 33_554_432), ("inst", 0))
    for what, value in (("capacity", capacity), ("usage", 0))
)
_TYPES = {
    Quantity.TEMPERATURE: ("temp", "input"),
    Quantity.POWER: ("power", "average"),
    Quantity.VOLTAGE: ("in", "input"),
    Quantity.CURRENT: ("curr", "input"),
}
_DRIVERS = {Arch.WARBOY: "npu_pdma", Arch.RENEGADE: "furiosa_rngd"}


@dataclass(frozen=True, slots=True)
class CardPaths:
    """Where the files of a card are, relative to the root of the simulated host."""

    plan: CardPlan

    @property
    def classes(self) -> str:
        """The family's class directory."""
        return f"sys/class/{self.plan.spec.sysfs_class}"

    @property
    def virtual(self) -> str:
        """The directory the class's links point into."""
        return f"sys/devices/virtual/{self.plan.spec.sysfs_class}"

    @property
    def mgmt(self) -> str:
        """The management directory."""
        return f"{self.virtual}/{self.plan.spec.mgmt_name(self.plan.index)}"

    @property
    def pci_link(self) -> str:
        """The PCI function, by bus."""
        return f"sys/bus/pci/devices/{self.plan.pci}"

    @property
    def pci(self) -> str:
        """The PCI function, by place."""
        address = PciAddress.parse(self.plan.pci)
        return f"sys/devices/pci{address.domain:04x}:{address.bus:02x}/{self.plan.pci}"

    @property
    def device_dir(self) -> str:
        """The directory of the device files."""
        return f"dev/{self.plan.spec.device_dir}".rstrip("/")

    def hwmon(self, number: int) -> str:
        """A hwmon chip's directory."""
        return f"{self.pci}/hwmon/hwmon{number}"

    def pe_entry(self, cores: CoreRange) -> str:
        """The class entry of one core range."""
        return f"{self.virtual}/{self.plan.spec.sysfs_name(str(UnitId(self.plan.index, cores)))}"


def mgmt_attributes(plan: CardPlan) -> dict[str, str]:
    """The readable management attributes, without line ends."""
    common = {
        "platform_type": "FuriosaAI",
        "device_type": plan.device_type,
        "device_uuid": plan.uuid,
        "device_sn": plan.serial,
        "busname": plan.pci,
        "dev": plan.dev,
        "version": plan.driver,
        "fw_version": plan.firmware,
        "heartbeat": "14649",
        "atr_error": error_text({}),
    }
    if plan.soc_rev is not None:
        common["soc_rev"] = plan.soc_rev
    return common | (_warboy_attributes(plan) if plan.arch is Arch.WARBOY else _rngd_attributes(plan))


def _warboy_attributes(plan: CardPlan) -> dict[str, str]:
    return {
        "alive": "1",
        "soc_uid": f"A76AAD68-{plan.index:08X}",
        "ne_clk_freq_info": (
            "ne tensor (MHz): 2000\nne memory (MHz): 1000\nne operation (MHz): 1000\ndram (MT/s): 4266"
        ),
        "performance_mode": "4 (FULL 1)",
        "performance_level": "15",
        "ne_dtm_policy": "0",
    }


def _rngd_attributes(plan: CardPlan) -> dict[str, str]:
    pe_count = plan.spec.pe_count
    return {
        "device_state": plan.alive_state,
        "board_revision": "BD_REV_INIT",
        "soc_id": f"00000000-{plan.index:08X}",
        "cur_pe_ids": ",".join(str(cores) for cores in plan.spec.core_files),
        "npu_clocks": "\n".join(["1000000000"] * pe_count),
        "pe_occupancy": "\n".join(["0"] * pe_count),
        "npu_governor": "powersave",
        "throttle_reason": "0",
    }


def error_text(counts: dict[str, int]) -> str:
    """The ``atr_error`` attribute with these counts by kind (``device_error``), the others 0."""
    return "\n".join(f"{line}: {counts.get(kind, 0)}" for line, kind in zip(ERROR_LINES, ERROR_KINDS, strict=True))


def perf_regs_text(cycles: int = 0, task_cycles: int = 0, tensor_cycles: int = 0) -> str:
    """The ``perf_regs`` attribute: 29 registers, of which four are more than decoration."""
    registers = [
        *((name, 0) for name in _REGISTERS_BEFORE),
        ("TaskExecutionTime", task_cycles & 0xFFFFFFFF),
        ("TensorExecutionTime", tensor_cycles & 0xFFFFFFFF),
        *((name, 0) for name in _REGISTERS_BETWEEN),
        ("CycleCount", cycles & 0xFFFFFFFF),
        ("CycleCountHigh", cycles >> 32),
    ]
    return "\n".join(f"{name}: {value:#x}" for name, value in registers)


def pe_attributes(plan: CardPlan, cores: CoreRange) -> dict[str, str]:
    """The attributes of one core range's class entry, without line ends, all counters at 0."""
    if plan.spec.counters_file is CountersFile.PERF_REGS:
        return {"perf_regs": perf_regs_text()}
    return {"metrics": metrics_text(), "alloc_status": _ALLOC_STATUS} if len(cores) == 1 else {}


def metrics_text(cycles: int = 0, task_cycles: int = 0) -> str:
    """The ``metrics`` attribute of RNGD drivers."""
    return f"CycleCount: {cycles:#x}\nTaskCycleCount: {task_cycles:#x}"


def hwmon_attributes(chip: str, sensors: tuple[SensorPlan, ...]) -> dict[str, str]:
    """The files of one hwmon chip, without line ends."""
    files = {"name": chip, "uevent": ""}
    for sensor in sensors:
        files[value_file(sensor)] = str(sensor.value)
        if sensor.label is not None:
            kind, _ = _TYPES[sensor.quantity]
            files[f"{kind}{sensor.channel}_label"] = sensor.label
    return files


def value_file(sensor: SensorPlan) -> str:
    """The file that holds the sensor's value."""
    kind, item = _TYPES[sensor.quantity]
    return f"{kind}{sensor.channel}_{item}"


def pci_attributes(plan: CardPlan) -> dict[str, str]:
    """The attributes of the PCI function, without line ends."""
    vendor, device = plan.spec.pci_id.split(":")
    attributes = {
        "class": "0x120000",
        "vendor": f"0x{vendor}",
        "device": f"0x{device}",
        "revision": "0x01",
        "subsystem_vendor": f"0x{vendor}",
        "subsystem_device": "0x0001",
        "current_link_speed": "16.0 GT/s PCIe",
        "current_link_width": "8" if plan.arch is Arch.WARBOY else "16",
        "max_link_speed": "16.0 GT/s PCIe" if plan.arch is Arch.WARBOY else "32.0 GT/s PCIe",
        "max_link_width": "8" if plan.arch is Arch.WARBOY else "16",
        "sriov_totalvfs": "0",
        "sriov_numvfs": "0",
    }
    if plan.numa_node is not None:
        attributes["numa_node"] = str(plan.numa_node)
    return attributes


def driver_dir(plan: CardPlan) -> str:
    """The PCI driver that the card is bound to."""
    return f"sys/bus/pci/drivers/{_DRIVERS[plan.arch]}"
