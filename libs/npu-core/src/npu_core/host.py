"""A host, as its users see it: finds the cards and reads what they say.

Everything starts at two directories, so a host may as well be a directory tree::

    host = Host()                                          # this machine
    host = Host(sysfs="/host/sys", devfs="/host/dev")      # seen from a container
    for device in host.inventory().devices:
        print(device.name, device.product, host.readings(device).values)

Nothing is kept open, and nothing is cached but in a :meth:`Host.glance`: every call reads afresh, and a card can be
unbound at any time. A read of a broken card may block for ever; daemons make it on a thread that may be lost
(:mod:`npu_core.cards`).
"""

import os
from collections.abc import Callable, Mapping
from typing import Self, TypeVar

from npu_core.arch import AliveRule, CountersFile
from npu_core.cores import CoreRange
from npu_core.counters import Clock, ErrorCounter, PeCounters
from npu_core.device import Device, FoundCard, Inventory, Rejected
from npu_core.discovery import find_cards, identify
from npu_core.errors import HostError, MissingError
from npu_core.health import Vitals
from npu_core.hostfs import HostFS, ListedOnce, RealFS
from npu_core.hwmon import read_sensors
from npu_core.limits import LIMITS, Limits, Measure, possible, possible_clocks
from npu_core.machine import Machine, Placeholder
from npu_core.parse import clocks, dmi, mgmt, perf_regs
from npu_core.sensors import Readings
from npu_core.tree import HostTree

T = TypeVar("T")

_COUNTER_PARSERS = {
    CountersFile.PERF_REGS: perf_regs.parse_perf_regs,
    CountersFile.METRICS: perf_regs.parse_pe_metrics,
}


class Host:
    """The NPUs of one machine, read through ``/sys`` and ``/dev``."""

    def __init__(
        self,
        sysfs: str | os.PathLike[str] = "/sys",
        devfs: str | os.PathLike[str] = "/dev",
        fs: HostFS | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        """A host whose /sys and /dev this process sees at the given directories.

        ``fs`` replaces the file system, for tests that inject faults. A number outside ``limits`` raises an
        :class:`~npu_core.errors.ImpossibleError`.
        """
        self._tree = HostTree(os.fspath(sysfs), os.fspath(devfs), fs or RealFS())
        self._limits = limits

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The host at ``NPU_SYSFS`` and ``NPU_DEVFS`` of the environment; at /sys and /dev where they are not set.

        ``environment`` is the process's own by default.
        """
        environment = os.environ if environment is None else environment
        return cls(environment.get("NPU_SYSFS") or "/sys", environment.get("NPU_DEVFS") or "/dev")

    def __repr__(self) -> str:
        return f"Host(sysfs={self._tree.sysfs!r}, devfs={self._tree.devfs!r})"

    def glance(self) -> "Host":
        """The same host for one look at many cards: each directory is listed at its first use and never again.

        Not to be kept: the next look needs the next glance.
        """
        return Host(self._tree.sysfs, self._tree.devfs, ListedOnce(self._tree.fs), self._limits)

    def inventory(self) -> Inventory:
        """Enumerate the cards.

        A card is whatever has a management directory in a family's sysfs class. It is kept whichever of its
        attributes cannot be read; the failures are in :attr:`~npu_core.device.Device.unreadable`. What is not
        offered is in :attr:`~npu_core.device.Inventory.rejected`, with the reason.

        Raises:
            HostError: if a root cannot be read, or a class directory is there but cannot be listed: "cannot tell"
                is never an empty inventory.
        """
        found = [self.identify(card) for card in self.find()]
        return Inventory(
            tuple(card for card in found if isinstance(card, Device)),
            tuple(card for card in found if isinstance(card, Rejected)),
        )

    def find(self) -> tuple[FoundCard, ...]:
        """The first half of :meth:`inventory`: list the cards without asking any of them anything.

        It reads directories only, so it returns even where a card hangs.

        Raises:
            HostError: as :meth:`inventory`.
        """
        return find_cards(self._tree)

    def identify(self, card: FoundCard) -> Device | Rejected:
        """The second half of :meth:`inventory`: read what one card is.

        Never raises: what could not be read is part of the answer. Blocks for as long as the card's driver does.
        """
        return identify(self._tree, card)

    def vitals(self, device: Device) -> Vitals:
        """One cheap look at a card: is it there, is it alive, are its device files still in place.

        Never raises: what could not be read is part of the answer.
        """
        try:
            present = device.spec.mgmt_name(device.index) in self._tree.list_or_nothing(
                self._tree.class_dir(device.spec)
            )
        except HostError as error:
            return Vitals(present=True, alive=error)
        life = self._life(device) if present else None
        try:
            there = set(self._tree.list_or_nothing(self._tree.device_dir(device.spec)))
        except HostError as error:
            # A death is a death, whether or not the device files can be counted.
            return Vitals(present, life if life is False else error)
        missing = tuple(file.name for file in device.files if file.name not in there)
        if present and not missing and not device.has_core_file:
            every = [f"{device.name}pe{cores}" for cores in device.spec.core_files]
            missing = () if there.intersection(every) else tuple(every)
        return Vitals(present, life, missing)

    def _life(self, device: Device) -> bool | HostError | None:
        try:
            return self.alive(device)
        except MissingError:
            return None
        except HostError as error:
            return error

    def alive(self, device: Device) -> bool:
        """What the driver says of the card's life.

        Source: ``alive`` of Warboy; ``device_state`` of RNGD, read by the driver's generation.

        Raises:
            MissingError: if this driver does not say.
            HostError: the other leaves if it could not be read.
        """
        match device.spec.alive_rule:
            case AliveRule.ALIVE_FILE:
                return self._attribute(device, "alive", mgmt.parse_alive)
            case AliveRule.DEVICE_STATE:
                return self._attribute(
                    device, "device_state", lambda text: mgmt.parse_device_state(text, device.driver)
                )

    def uptime(self, device: Device) -> int:
        """Seconds since the NPU started. Source: ``heartbeat``.

        Raises:
            HostError: if it could not be read.
        """
        return self._attribute(device, "heartbeat", self._uptime)

    def _uptime(self, text: str) -> int:
        return possible(mgmt.parse_heartbeat(text), Measure.UPTIME, self._limits[Measure.UPTIME])

    def errors(self, device: Device) -> tuple[ErrorCounter, ...]:
        """The card's error counters. Source: ``atr_error``.

        Raises:
            HostError: if they could not be read.
        """
        return self._attribute(device, "atr_error", mgmt.parse_atr_error)

    def clocks(self, device: Device) -> tuple[Clock, ...]:
        """The card's clocks. Source: ``ne_clk_freq_info``, or ``npu_clocks`` where there is none.

        Raises:
            HostError: if they could not be read.
        """
        try:
            return self._clocks(device, "ne_clk_freq_info", clocks.parse_named_clocks)
        except MissingError:
            return self._clocks(device, "npu_clocks", clocks.parse_numbered_clocks)

    def _clocks(self, device: Device, name: str, parse: Callable[[str], tuple[Clock, ...]]) -> tuple[Clock, ...]:
        return self._attribute(device, name, lambda text: possible_clocks(parse(text), self._limits))

    def performance_mode(self, device: Device) -> str:
        """The power policy, in the driver's words: ``4 (FULL 1)``.

        Source: ``performance_mode`` of Warboy, ``npu_governor`` of newer RNGD drivers.

        Raises:
            HostError: if it could not be read.
        """
        try:
            return self._attribute(device, "performance_mode", str.strip)
        except MissingError:
            return self._attribute(device, "npu_governor", str.strip)

    def throttle_reason(self, device: Device) -> int:
        """Why the clocks are throttled, as the driver's bit mask; 0 means not at all.

        Source: ``throttle_reason`` of newer RNGD drivers.

        Raises:
            HostError: if it could not be read.
        """
        return self._attribute(device, "throttle_reason", mgmt.parse_throttle_reason)

    def occupancy(self, device: Device) -> tuple[bool, ...]:
        """Which PEs are occupied, by core. Source: ``pe_occupancy`` of newer RNGD drivers.

        Raises:
            HostError: if it could not be read.
        """
        return self._attribute(device, "pe_occupancy", mgmt.parse_occupancy)

    def pe_counters(self, device: Device, cores: CoreRange) -> PeCounters:
        """The performance counters of one core range of the card.

        Source: ``perf_regs`` of Warboy, for any core range with a device file; ``metrics`` of newer RNGD drivers, for
        single cores.

        Raises:
            AccessDeniedError: also, on some drivers, while nobody uses these cores.
            MissingError: if this driver has none.
            HostError: the other leaves if they could not be read.
        """
        parse = _COUNTER_PARSERS[device.spec.counters_file]
        return self._tree.read_counters(device.spec, device.index, cores, lambda text: parse(text, cores))

    def readings(self, device: Device) -> Readings:
        """Every sensor of the card, on however many hwmon chips. One bad sensor does not cost the others.

        Never raises: what could not be read is part of the answer. A card without hwmon has no readings.
        """
        return read_sensors(self._tree, device, self._limits)

    def machine(self) -> Machine:
        """Vendor and name of the machine, where its firmware gives them.

        A text that names no machine (``Default string``) counts as none. Then the mainboard is asked.

        Source: ``sys_vendor`` and ``product_name`` of ``class/dmi/id``; ``board_vendor`` and ``board_name`` where
        those say nothing.

        Raises:
            HostError: if one of them is there but could not be read.
        """
        vendor, vendor_from, no_vendor = self._first_dmi("sys_vendor", "board_vendor")
        name, name_from, no_name = self._first_dmi("product_name", "board_name")
        return Machine(vendor, name, vendor_from, name_from, (*no_vendor, *no_name))

    def _first_dmi(self, *items: str) -> tuple[str | None, str, tuple[Placeholder, ...]]:
        """The first of the strings that says something, its name, and the placeholders before it."""
        placeholders: list[Placeholder] = []
        for item in items:
            text = self._dmi(item)
            if text is None:
                continue
            if not dmi.is_placeholder(text):
                return text, item, tuple(placeholders)
            placeholders.append(Placeholder(item, text))
        return None, items[0], tuple(placeholders)

    def _dmi(self, item: str) -> str | None:
        try:
            return self._tree.read(self._tree.dmi_file(item), dmi.parse_dmi)
        except MissingError:
            return None

    def _attribute(self, device: Device, name: str, parse: Callable[[str], T]) -> T:
        return self._tree.read_mgmt(device.spec, device.index, name, parse)
