"""A simulated card in a tree: what can happen to it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from npu_core.arch import AliveRule, Arch, CountersFile
from npu_core.cores import CoreRange
from npu_core.errors import UsageError
from npu_core.sensors import Quantity
from npu_core.testing import layout
from npu_core.testing.plan import CardPlan, ImpossibleHostError, SensorPlan
from npu_core.testing.tree import TreeWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEAD_STATE = {"0": "3", "1": "0"}
"""What a dead card's ``device_state`` says, by what an alive one's does."""


class FakeCard:
    """One card of a :class:`~npu_core.testing.FakeHost`: mutate it, and the files change as the driver's would.

    Attributes:
        plan: how the card was declared.
        present: False after :meth:`disappear`, until :meth:`reappear`.
    """

    def __init__(
        self, plan: CardPlan, tree: TreeWriter, hwmon_numbers: "Callable[[], int]", *, real_nodes: bool
    ) -> None:
        """Made by the host, which hands out hwmon numbers."""
        self.plan = plan
        self.present = False
        self._tree = tree
        self._next_hwmon = hwmon_numbers
        self._real_nodes = real_nodes
        self._paths = layout.CardPaths(plan)
        self._attributes = layout.mgmt_attributes(plan)
        self._errors: dict[str, int] = {}
        self._absent = set(plan.absent_files)
        self._chips: dict[str, tuple[SensorPlan, ...]] = {}
        self._hwmon: dict[str, int] = {}
        for number, sensors in enumerate((plan.sensors, plan.extra_sensors)):
            if sensors:
                self._chips[f"chip{number}"] = sensors

    @property
    def name(self) -> str:
        """``npu0``."""
        return self.plan.name

    # -- the ordinary life of a card ------------------------------------------------------------------------------

    def set_temperature(self, millidegrees: int, label: str | None = None) -> None:
        """Let one temperature sensor, or all of them, read this.

        Raises:
            UsageError: if the number is not whole, if the card has no such sensor, or is not there.
        """
        if not isinstance(millidegrees, int):
            raise UsageError(f"a temperature is a whole number of millidegrees, not {millidegrees!r}")
        sensors = [sensor for sensor in self._sensors() if sensor.quantity is Quantity.TEMPERATURE]
        chosen = [sensor for sensor in sensors if label in {None, sensor.label}]
        if not chosen:
            labels = ", ".join(sensor.label or "" for sensor in sensors) or "none"
            raise UsageError(f"{self.name} has no temperature sensor {label!r}; it has {labels}")
        for sensor in chosen:
            self.set_sensor(sensor.quantity, sensor.channel, millidegrees)

    def set_sensor(self, quantity: Quantity, channel: int, value: int | str) -> None:
        """Let a sensor of the first chip read this, in its quantity's unit; text is written as it is.

        Raises:
            UsageError: if the card has no such sensor, or is not there.
        """
        self._check_present()
        sensor = next((each for each in self._sensors() if (each.quantity, each.channel) == (quantity, channel)), None)
        if sensor is None:
            raise UsageError(f"{self.name} has no {quantity} sensor {channel}")
        self._write(f"{self._paths.hwmon(self._hwmon['chip0'])}/{layout.value_file(sensor)}", str(value))

    def set_uptime(self, seconds: int) -> None:
        """Let the heartbeat read this."""
        self.set_attribute("heartbeat", str(seconds))

    def set_error(self, kind: str, count: int) -> None:
        """Let one error counter (``device_error``) read this.

        Raises:
            UsageError: if the driver has no such counter.
        """
        if kind not in layout.ERROR_KINDS:
            raise UsageError(f"{self.name} counts no {kind!r}, only {', '.join(layout.ERROR_KINDS)}")
        self._errors[kind] = count
        self.set_attribute("atr_error", layout.error_text(self._errors))

    def set_perf_regs(self, cores: CoreRange, cycles: int, task_cycles: int, tensor_cycles: int = 0) -> None:
        """Let the performance counters of one core range read this.

        RNGD drivers count single cores only, and no tensor cycles: the rest is left out there.

        Raises:
            UsageError: if the card is not there.
        """
        self._check_present()
        entry = self._paths.pe_entry(cores)
        if self.plan.spec.counters_file is CountersFile.PERF_REGS:
            self._write(f"{entry}/perf_regs", layout.perf_regs_text(cycles, task_cycles, tensor_cycles))
        elif len(cores) == 1:
            self._write(f"{entry}/metrics", layout.metrics_text(cycles, task_cycles))

    # -- faults ---------------------------------------------------------------------------------------------------

    def die(self) -> None:
        """The driver reports the card as dead; everything else stays."""
        name, alive = self._life_attribute()
        self.set_attribute(name, _DEAD_STATE[alive] if name == "device_state" else "0")

    def revive(self) -> None:
        """The driver reports the card as alive again."""
        self.set_attribute(*self._life_attribute())

    def _life_attribute(self) -> tuple[str, str]:
        if self.plan.spec.alive_rule is AliveRule.ALIVE_FILE:
            return "alive", "1"
        return "device_state", self.plan.alive_state

    def set_attribute(self, name: str, text: str) -> None:
        """Replace any management attribute, with a line end if the card's attributes have one."""
        self._attributes[name] = text
        if self.present:
            self._write(f"{self._paths.mgmt}/{name}", text)

    def remove_attribute(self, name: str) -> None:
        """Let a management attribute not exist, as with a driver that does not offer it."""
        self._attributes.pop(name, None)
        self._tree.remove(f"{self._paths.mgmt}/{name}")

    def hang(self, name: str) -> None:
        """Let every reader of a management attribute block, until :meth:`set_attribute` replaces it.

        The readers then come back with an empty text; so they do if the card disappears.

        Raises:
            UsageError: if the card is not there.
        """
        self._check_present()
        self._tree.pipe(f"{self._paths.mgmt}/{name}")

    def remove_files(self) -> None:
        """Take away every device file, as in a container that was given none of them."""
        for suffix in layout_suffixes(self.plan):
            self.remove_file(suffix)

    def make_files(self) -> "Iterator[str]":
        """Make the device files that are not there, one at each step, as a driver does that takes its time.

        Yields:
            The suffix of the file that was just made. The channels come last.
        """
        for suffix in sorted(layout_suffixes(self.plan), key=lambda suffix: suffix.startswith("ch")):
            if suffix in self._absent:
                self.restore_file(suffix)
                yield suffix

    def remove_file(self, suffix: str) -> None:
        """Take away one device file: ``ch0``, ``pe0-1``, ``_mgmt``."""
        self._absent.add(suffix)
        self._tree.remove(f"{self._paths.device_dir}/{self.name}{suffix}")

    def restore_file(self, suffix: str) -> None:
        """Bring back one device file."""
        self._absent.discard(suffix)
        if self.present:
            self._make_node(self.name + suffix)

    def disappear(self) -> None:
        """Take the card off the bus: device files, class entries and the PCI function go, in that order."""
        for name in self.plan.file_names:
            self._tree.remove(f"{self._paths.device_dir}/{name}")
        for entry in self._entries():
            self._tree.remove(f"{self._paths.classes}/{entry}")
            self._tree.remove(f"{self._paths.virtual}/{entry}")
        for number in self._hwmon.values():
            self._tree.remove(f"sys/class/hwmon/hwmon{number}")
        self._hwmon = {}
        if self.plan.entry_of is None:
            self._tree.remove(self._paths.pci_link)
            self._tree.remove(self._paths.pci)
        self.present = False

    def reappear(self, *, with_files: bool = True) -> None:
        """Bring the card back, with the attributes it had; its hwmon numbers are new, as after a rebind.

        Args:
            with_files: whether the card has its device files at once; else see :meth:`make_files`.

        Raises:
            ImpossibleHostError: if it is there already.
        """
        if self.present:
            raise ImpossibleHostError(f"{self.name} is there already")
        if self.plan.entry_of is None:
            self._write_pci()
        self._write_hwmon()
        self._write_classes()
        if not with_files:
            self._absent.update(layout_suffixes(self.plan))
        for suffix in layout_suffixes(self.plan):
            if suffix not in self._absent:
                self._make_node(self.name + suffix)
        self.present = True

    def renumber(self, index: int) -> None:
        """Take another number, while the card is away: for :meth:`FakeHost.renumber`, which knows the other cards."""
        self.plan = replace(self.plan, index=index)
        self._paths = layout.CardPaths(self.plan)
        self._attributes["dev"] = self.plan.dev

    def renumber_hwmon(self) -> None:
        """Give every hwmon chip of the card a new number, as after a reload of the driver.

        Raises:
            UsageError: if the card is not there.
        """
        self._check_present()
        for number in self._hwmon.values():
            self._tree.remove(self._paths.hwmon(number))
            self._tree.remove(f"sys/class/hwmon/hwmon{number}")
        self._write_hwmon()

    def _check_present(self) -> None:
        if not self.present:
            raise UsageError(f"{self.name} is not there")

    def _write_hwmon(self) -> None:
        for chip, sensors in self._chips.items():
            self._hwmon[chip] = number = self._next_hwmon()
            directory = self._paths.hwmon(number)
            for file, text in layout.hwmon_attributes(self._chip_name(chip), sensors).items():
                self._write(f"{directory}/{file}", text)
            self._tree.link(f"sys/class/hwmon/hwmon{number}", directory)

    # -- writing --------------------------------------------------------------------------------------------------

    def _sensors(self) -> tuple[SensorPlan, ...]:
        return self._chips.get("chip0", ())

    def _chip_name(self, chip: str) -> str:
        base = self.name if self.plan.arch is Arch.WARBOY else f"rngd{self.plan.index}"
        return base if chip == "chip0" else f"{base}_board"

    def _entries(self) -> tuple[str, ...]:
        """Class entries: one per device file, under the kernel's spelling of its name."""
        mgmt = self.plan.spec.mgmt_name(self.plan.index)
        others = (self.plan.spec.sysfs_name(name) for name in self.plan.file_names if "ch" not in name)
        return (mgmt, *(name for name in others if name != mgmt))

    def _write_classes(self) -> None:
        for name in layout.WRITE_ONLY:
            self._tree.write_only(f"{self._paths.mgmt}/{name}")
        for name, text in self._attributes.items():
            self._write(f"{self._paths.mgmt}/{name}", text)
        for cores in self.plan.spec.core_files:
            for name, text in layout.pe_attributes(self.plan, cores).items():
                self._write(f"{self._paths.pe_entry(cores)}/{name}", text)
        for entry in self._entries():
            self._write(f"{self._paths.virtual}/{entry}/uevent", f"DEVNAME={entry.replace('!', '/')}")
            self._tree.link(f"{self._paths.classes}/{entry}", f"{self._paths.virtual}/{entry}")

    def _write_pci(self) -> None:
        for name, text in layout.pci_attributes(self.plan).items():
            self._tree.write(f"{self._paths.pci}/{name}", text + "\n")
        if self.plan.physical_function:
            self._tree.raw_link(f"{self._paths.pci}/physfn", f"../{self.plan.physical_function}")
        driver = layout.driver_dir(self.plan)
        self._tree.make_dir(driver)
        self._tree.link(f"{self._paths.pci}/driver", driver)
        self._tree.link(self._paths.pci_link, self._paths.pci)

    def _make_node(self, name: str) -> None:
        self._tree.character_device(f"{self._paths.device_dir}/{name}", real=self._real_nodes)

    def _write(self, path: str, text: str) -> None:
        self._tree.write(path, text + "\n" if self.plan.line_ends else text)


def layout_suffixes(plan: CardPlan) -> tuple[str, ...]:
    """What follows the card's name in each of its device files."""
    return tuple(name.removeprefix(plan.name) for name in plan.file_names)
