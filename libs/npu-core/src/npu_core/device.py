"""Cards and their device files, as values: no I/O here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.document import Value
from npu_core.errors import FormatError, Unreadable

CardKey = tuple[Arch, int]
"""What tells a card from every other of its host: family and index."""

_BDF = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.ASCII | re.IGNORECASE)
_MAX_PCI_DEVICE = 0x1F
_VERSION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?(?![0-9])", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class PciAddress(Value):
    """A PCI function: domain, bus, device, function. Orders as the bus does."""

    domain: int
    bus: int
    device: int
    function: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0000:6d:00.0``, in any case.

        Raises:
            FormatError: on anything else.
        """
        match = _BDF.fullmatch(text)
        if match is None or int(match[3], 16) > _MAX_PCI_DEVICE:
            raise FormatError(text, "a PCI address such as 0000:6d:00.0")
        return cls(*(int(part, 16) for part in match.groups()))

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{self.function}"


@dataclass(frozen=True, slots=True)
class ComponentVersion(Value):
    """A driver's or firmware's version, as far as its text gives one.

    Attributes:
        major: None if the text does not start with a number; so are minor and patch if they are not given.
        minor: see major.
        patch: see major.
        reference: hash of the build, or None.
        raw: the text, trimmed; never lost, however strange.
    """

    major: int | None
    minor: int | None
    patch: int | None
    reference: str | None
    raw: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1.9.2, 3def9c2``; total: a text that is no version has only :attr:`raw`.

        Tolerates a missing reference or patch, and ``-pre`` and ``+meta`` parts.
        """
        raw = text.strip()
        number, _, reference = (part.strip() for part in raw.partition(","))
        match = _VERSION.match(number)
        major, minor, patch = _numbers(match) if match else (None, None, None)
        return cls(major, minor, patch, reference or None, raw)

    @property
    def number(self) -> str:
        """The part before the comma: ``1.9.2``, ``2025.4.0-dev2+0e9e56a``."""
        return self.raw.partition(",")[0].strip()

    def __str__(self) -> str:
        return self.raw


def _numbers(match: re.Match[str]) -> tuple[int | None, ...]:
    return tuple(None if part is None else int(part) for part in match.groups())


@dataclass(frozen=True, slots=True)
class DeviceFile(Value):
    """A node below /dev that belongs to a card.

    Attributes:
        card: ``npu0``.
        suffix: what follows the card's name: ``pe0-1``, ``_mgmt``, ``ch3``; empty for the node ``npu0`` itself.
        cores: the processing elements it opens; None for a file of the whole card (management, channels, ...).
        directory: below /dev, empty for /dev itself.
    """

    card: str
    suffix: str
    cores: CoreRange | None
    directory: str = ""

    @property
    def name(self) -> str:
        """File name: ``npu0pe0-1``."""
        return self.card + self.suffix

    @property
    def path(self) -> str:
        """Absolute path on the host and in containers, wherever this process sees the host's /dev."""
        return f"/dev/{self.directory}/{self.name}" if self.directory else f"/dev/{self.name}"

    @property
    def is_pe_file(self) -> bool:
        """Whether it opens one core range, as ``npu0pe0-1`` does; the whole-card node ``npu0`` is none."""
        return self.suffix.startswith("pe")


@dataclass(frozen=True, slots=True)
class Device(Value):
    """One card, as the host describes it. Says what the card is, never how it fares.

    Two cards of different families may have the same index; :attr:`key` tells them apart.

    Attributes:
        index: number in the device-file names. Has holes, and may change when the driver is loaded anew.
        arch: the family.
        product: product code, ``warboyB0`` (see docs/host-contract.md for the rule); None if unreadable.
        uuid: as the driver gives it; None if it gives none. Neither unique nor non-zero on every card.
        serial: serial number, or None.
        pci: address on the PCI bus, or None if unreadable.
        numa_node: NUMA node, or None where the machine does not say.
        dev: ``major:minor`` of the management node, or None.
        firmware: version of the firmware, or None.
        driver: version of the driver, or None.
        soc_rev: revision of the silicon, ``B0``, or None.
        physical_function: PCI address of the physical function that this virtual function belongs to; None for a card
            that is no virtual function, or whose PCI entry could not be read.
        files: the device files that exist, in the order of :func:`file_order`.
        unreadable: attributes that exist but could not be read; the fields they feed are None.
    """

    index: int
    arch: Arch
    product: str | None = None
    uuid: str | None = None
    serial: str | None = None
    pci: PciAddress | None = None
    numa_node: int | None = None
    dev: str | None = None
    firmware: ComponentVersion | None = None
    driver: ComponentVersion | None = None
    soc_rev: str | None = None
    physical_function: PciAddress | None = None
    files: tuple[DeviceFile, ...] = ()
    unreadable: tuple[Unreadable, ...] = field(default=())

    @property
    def name(self) -> str:
        """``npu0``: unique within a family only."""
        return f"npu{self.index}"

    @property
    def key(self) -> CardKey:
        """Unique on a host."""
        return (self.arch, self.index)

    @property
    def spec(self) -> ArchSpec:
        """The family's row of the architecture table."""
        return arch_spec(self.arch)

    @property
    def cores(self) -> CoreRange:
        """Every core of the card."""
        return self.spec.cores

    @property
    def absent_files(self) -> tuple[str, ...]:
        """Names of the device files that cards of the family can have and this one lacks.

        The driver may not have made them yet, or may be one that never makes them.
        """
        there = {file.suffix for file in self.files}
        cores = (f"pe{cores}" for cores in self.spec.core_files)
        return tuple(self.name + suffix for suffix in (*self.spec.granted_suffixes, *cores) if suffix not in there)

    @property
    def has_core_file(self) -> bool:
        """Whether a file exists that opens cores of the card, be it one that could not be looked at.

        Nothing of a card without such a file can be used here, whatever /sys says: a container may be given all of /sys
        and a part of /dev.
        """
        return _has_core_file(self.name, self.files, self.unreadable)

    def file(self, name: str) -> DeviceFile | None:
        """The device file called ``name``, if it exists."""
        return next((file for file in self.files if file.name == name), None)


def _has_core_file(card: str, files: tuple[DeviceFile, ...], unreadable: tuple[Unreadable, ...]) -> bool:
    unseen = (item.subject.rpartition("/")[2] for item in unreadable)
    return any(file.is_pe_file for file in files) or any(name.startswith(f"{card}pe") for name in unseen)


def file_order(file: DeviceFile) -> tuple[bool, tuple[int, ...], str]:
    """Sort key: files of the whole card by name, then core files by range, narrow ones first, then the card's node."""
    width_and_place = () if file.cores is None else (len(file.cores), file.cores.first)
    return (file.cores is not None and not file.is_pe_file, width_and_place, file.suffix)


@dataclass(frozen=True, slots=True)
class FoundCard(Value):
    """A card that was listed, before any of its attributes was read.

    Attributes:
        arch: family by the place where it was found.
        index: its number.
        files: the device files that exist.
        managed: whether it has a management directory; without one it is only device files.
        unreadable: entries among its device files that could not be looked at.
    """

    arch: Arch
    index: int
    files: tuple[DeviceFile, ...]
    managed: bool
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def name(self) -> str:
        """``npu0``."""
        return f"npu{self.index}"

    @property
    def key(self) -> CardKey:
        """Unique on a host."""
        return (self.arch, self.index)

    @property
    def has_core_file(self) -> bool:
        """See :attr:`Device.has_core_file`."""
        return _has_core_file(self.name, self.files, self.unreadable)


@dataclass(frozen=True, slots=True)
class Rejected(Value):
    """Something that looks like a card and is not offered, with the reason in words.

    Attributes:
        name: of the card, ``npu3``.
        arch: family by the place where it was found.
        reason: a sentence for the operator.
    """

    name: str
    arch: Arch
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory(Value):
    """What one enumeration of a host found. Compares equal to the next one exactly if nothing changed.

    Attributes:
        devices: the cards, by family, then index. A card with unreadable attributes is among them.
        rejected: what looked like a card and is not one of them, and why.
    """

    devices: tuple[Device, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    def __iter__(self) -> Iterator[Device]:
        return iter(self.devices)

    def __len__(self) -> int:
        return len(self.devices)

    def device(self, arch: Arch, index: int) -> Device | None:
        """The card with that key, if it was found."""
        return next((device for device in self.devices if device.key == (arch, index)), None)

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """Every unreadable attribute of every card."""
        return tuple(item for device in self.devices for item in device.unreadable)
