"""How a card is cut into units, and what units are called."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Self

from npu_core.arch import ARCH_SPECS, Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import Device, DeviceFile
from npu_core.document import Value
from npu_core.errors import FormatError, UsageError

_UNIT_ID = re.compile(r"npu(0|[1-9][0-9]{0,2})pe([0-9]+(?:-[0-9]+)?)", re.ASCII)
MAX_INDEX = 255
"""Largest card number: the vendor's libraries keep it in one byte."""


@dataclass(frozen=True, slots=True)
class Partitioning(Value):
    """A policy: how many PEs go into one unit.

    Attributes:
        unit_size: PEs per unit; None stands for all PEs of the card, whatever its family.

    Raises:
        UsageError: if no family of cards can be cut so.
    """

    unit_size: int | None

    def __post_init__(self) -> None:
        if self.unit_size is not None and self.unit_size not in _all_unit_sizes():
            raise UsageError(f"{self.unit_size} PEs per unit: expected {describe_partitionings()}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``Fusion``, ``Single`` (in any case) or a PE count such as ``2``.

        Raises:
            FormatError: on anything else.
        """
        word = text.strip().lower()
        if word == "fusion":
            return cls(None)
        if word == "single":
            return cls(1)
        for size in _all_unit_sizes():
            if word == str(size):
                return cls(size)
        raise FormatError(text, describe_partitionings())

    def __str__(self) -> str:
        return {None: "Fusion", 1: "Single"}.get(self.unit_size, str(self.unit_size))

    def fits(self, spec: ArchSpec) -> bool:
        """Whether cards of this family can be cut so."""
        return self.unit_size is None or self.unit_size in spec.unit_sizes

    def core_ranges(self, spec: ArchSpec) -> tuple[CoreRange, ...]:
        """The core ranges of one card's units: together every core, each once.

        Raises:
            UsageError: unless :meth:`fits`.
        """
        if not self.fits(spec):
            sizes = ", ".join(map(str, spec.unit_sizes))
            raise UsageError(f"{spec.arch} cards cannot be cut into units of {self} PEs, only of {sizes}")
        return spec.cores.split(self.unit_size or spec.pe_count)


def _all_unit_sizes() -> frozenset[int]:
    return frozenset(size for spec in ARCH_SPECS.values() for size in spec.unit_sizes)


def describe_partitionings() -> str:
    """Every policy there is, in words, for messages."""
    counts = ", ".join(str(size) for size in sorted(_all_unit_sizes()))
    return f"Fusion, Single or a PE count ({counts})"


FUSION = Partitioning(None)
"""One unit per card, all its PEs fused."""

SINGLE = Partitioning(1)
"""One unit per PE."""


def partitionings_of(spec: ArchSpec) -> tuple[Partitioning, ...]:
    """Every policy that cards of a family can be cut by, each way of cutting once: Fusion first, then by size."""
    return (FUSION, *(Partitioning(size) for size in spec.unit_sizes if size != spec.pe_count))


@dataclass(frozen=True, slots=True)
class UnitId(Value):
    """The name of a unit: which cores of which card.

    It is the name of a device file, because the kubelet replays an old allocation, paths included, after restarts:
    an id must always mean the same path. Only the Fusion unit of a family without one file for the whole card
    (``npu0pe0-7`` of RNGD) has an id that is no file.
    """

    index: int
    cores: CoreRange

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``npu0pe0-1``.

        Raises:
            FormatError: on anything else.
        """
        match = _UNIT_ID.fullmatch(text)
        if match is None or int(match[1]) > MAX_INDEX:
            raise FormatError(text, "a unit id such as npu0pe0 or npu0pe0-1")
        return cls(int(match[1]), CoreRange.parse(match[2]))

    @property
    def card(self) -> str:
        """``npu0``."""
        return f"npu{self.index}"

    def __str__(self) -> str:
        return f"{self.card}pe{self.cores}"


@dataclass(frozen=True, slots=True)
class Unit(Value):
    """What is allocated as a whole: some or all cores of one card.

    Attributes:
        device: the card.
        cores: the unit's cores.
        files: the device files a container of it needs and that exist, in the card's order.
    """

    device: Device
    cores: CoreRange
    files: tuple[DeviceFile, ...]

    @property
    def id(self) -> str:
        """``npu0pe0-1``: unique within the family."""
        return str(UnitId(self.device.index, self.cores))

    @property
    def pe_files(self) -> tuple[CoreRange, ...]:
        """The fewest device files that open all of the unit's cores, by core: ``0-1`` or, on RNGD, ``0-3 4-7``.

        This is what the runtimes in a container are told to open.
        """
        return _cover(self.device.arch, self.cores)

    @property
    def missing_files(self) -> tuple[str, ...]:
        """Names of the files of :attr:`pe_files` that do not exist: without them the unit cannot be used."""
        names = (str(UnitId(self.device.index, cores)) for cores in self.pe_files)
        return tuple(name for name in names if self.device.file(name) is None)


@cache  # of the few core ranges that cards are cut into
def _cover(arch: Arch, cores: CoreRange) -> tuple[CoreRange, ...]:
    files = arch_spec(arch).core_files
    candidates = sorted((part for part in files if cores.encloses(part)), key=len, reverse=True)
    chosen: list[CoreRange] = []
    for part in candidates:
        if not any(part.overlaps(taken) for taken in chosen):
            chosen.append(part)
    return tuple(sorted(chosen))


def _needs(unit_cores: CoreRange, spec: ArchSpec, file: DeviceFile) -> bool:
    if file.cores is None:
        return file.suffix in spec.granted_suffixes
    return unit_cores.encloses(file.cores)


def units_of(device: Device, partitioning: Partitioning) -> tuple[Unit, ...]:
    """Cut a card: its units by core, together every PE exactly once, however few device files exist.

    Raises:
        UsageError: if cards of this family cannot be cut so; see :meth:`Partitioning.fits`. If the partitioning is
            a text, which :meth:`Partitioning.parse` reads.
    """
    if not isinstance(partitioning, Partitioning):
        raise UsageError(f"units_of takes a Partitioning, such as Partitioning.parse({partitioning!r}), not a text")
    spec = device.spec
    return tuple(
        Unit(device, cores, tuple(file for file in device.files if _needs(cores, spec, file)))
        for cores in partitioning.core_ranges(spec)
    )
