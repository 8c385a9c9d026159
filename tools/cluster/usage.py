"""What a container uses of the machine, by its control groups of either version."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NANOSECONDS = 1e9
_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Usage:
    """What one container used.

    Attributes:
        memory: bytes now, as the kubelet counts them: without the pages of files that were not used for a while.
        limit: bytes that it may have.
        processor: seconds since the container started.
        throttled: periods in which it had to wait because of a limit of processor time.
        killed: how often the kernel killed one of its processes for want of memory.
    """

    memory: int
    limit: int
    processor: float
    throttled: int
    killed: int


def usage(roots: Sequence[Path], group: str, container: str) -> Usage:
    """What a container uses that runs.

    Args:
        roots: where control groups are.
        group: the control group of the node.
        container: its id.
    """
    places = [place for root in roots for place in (root / group).glob(f"kubepods*/**/*{container}*") if place.is_dir()]
    if any((place / "memory.current").exists() for place in places):
        return Usage(
            memory=_number(places, "memory.current") - _field(places, "memory.stat", "inactive_file"),
            limit=_number(places, "memory.max"),
            processor=_field(places, "cpu.stat", "usage_usec") / _MICROSECONDS,
            throttled=_field(places, "cpu.stat", "nr_throttled"),
            killed=_field(places, "memory.events", "oom_kill"),
        )
    files = _field(places, "memory.stat", "total_inactive_file")
    return Usage(
        memory=_number(places, "memory.usage_in_bytes") - files,
        limit=_number(places, "memory.limit_in_bytes"),
        processor=_number(places, "cpuacct.usage") / _NANOSECONDS,
        throttled=_field(places, "cpu.stat", "nr_throttled"),
        killed=_field(places, "memory.oom_control", "oom_kill"),
    )


def _text(places: Sequence[Path], name: str) -> str:
    """A file of the container's group, in whichever hierarchy has it."""
    return next(place / name for place in places if (place / name).exists()).read_text(encoding="ascii")


def _number(places: Sequence[Path], name: str) -> int:
    return int(_text(places, name))


def _field(places: Sequence[Path], name: str, key: str) -> int:
    [number] = [int(line.split()[1]) for line in _text(places, name).splitlines() if line.split()[0] == key]
    return number
