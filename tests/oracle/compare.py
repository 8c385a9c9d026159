"""Both readings of a host are records of one type per family; this says what they disagree about.

A field is None where a side gives no value: it refuses, or says that there is none. Sides that both refuse agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from npu_core.counters import Clock, PeCounters

T = TypeVar("T")
Sensors = tuple[tuple[str, int], ...]
"""Labels and values, in order."""


@dataclass(frozen=True, slots=True)
class WarboyFile:
    """A device file that opens cores."""

    path: str
    mode: str
    cores: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WarboyCard:
    """What both sides can say of a Warboy card."""

    name: str
    index: int
    arch: str | None
    busname: str | None
    pci_dev: str | None
    serial: str | None
    uuid: str | None
    driver: str | None
    firmware: str | None
    cores: tuple[int, ...] | None
    device_files: tuple[WarboyFile, ...] | None
    alive: bool | None
    errors: dict[str, int] | None
    uptime: int | None
    numa_node: int | None
    clocks: tuple[Clock, ...] | None
    currents: Sensors | None
    voltages: Sensors | None
    powers: Sensors | None
    temperatures: Sensors | None
    counters: tuple[PeCounters, ...] | None


@dataclass(frozen=True, slots=True)
class Version:
    """What is left of a version's text in both sides' fields."""

    major: int | None
    minor: int | None
    patch: int | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class RngdCard:
    """What both sides can say of an RNGD card."""

    name: str
    bdf: str | None
    serial: str | None
    uuid: str | None
    dev: str | None
    numa_node: int | None
    driver: Version | None
    firmware: Version | None
    core_count: int | None
    device_files: dict[str, tuple[int, ...]] | None
    alive: bool | None
    occupancy: tuple[bool, ...] | None
    counters: tuple[PeCounters, ...] | None
    """Of occupied cores: the library gives zeros for idle ones, whatever they count."""
    core_megahertz: tuple[int, ...] | None
    performance_mode: str | None
    throttle_reason: int | None
    microwatts: int | None
    peak_millidegrees: int | None
    ambient_millidegrees: int | None


Card = WarboyCard | RngdCard


def disagreements(library: Mapping[str, Card], ours: Mapping[str, Card]) -> list[str]:
    """One line for every field, and every card, that the two do not agree about; empty if they agree."""
    lines = [f"{name}: only the library lists it" for name in sorted(library.keys() - ours.keys())]
    lines += [f"{name}: only npu_core lists it" for name in sorted(ours.keys() - library.keys())]
    for name in sorted(library.keys() & ours.keys()):
        lines += [
            f"{name} {field}: the library says {theirs!r}, npu_core {own!r}"
            for field, theirs, own in differing_fields(library[name], ours[name])
        ]
    return lines


def differing_fields(theirs: Card, own: Card) -> list[tuple[str, object, object]]:
    """The fields of one card that are not equal, with both values."""
    pairs = [(field.name, getattr(theirs, field.name), getattr(own, field.name)) for field in fields(theirs)]
    return [(name, one, other) for name, one, other in pairs if one != other]


def missing_fields(card: Card) -> list[str]:
    """The fields a side gives no value for."""
    return [field.name for field in fields(card) if getattr(card, field.name) is None]


def given(convert: Callable[[Any], T], value: object) -> T | None:
    """The value converted, if there is one."""
    return None if value is None else convert(value)
