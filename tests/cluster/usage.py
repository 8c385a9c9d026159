"""What a container uses of the machine, by its control groups of either version."""

from dataclasses import dataclass
from pathlib import Path

from cluster.keeper import hierarchies

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


def usage(group: str, container: str) -> Usage:
    """What a container uses that runs.

    Args:
        group: the control group of the node.
        container: its id.
    """
    if _files(group, container, "memory.current"):
        return Usage(
            memory=_number(group, container, "memory.current")
            - _field(group, container, "memory.stat", "inactive_file"),
            limit=_number(group, container, "memory.max"),
            processor=_field(group, container, "cpu.stat", "usage_usec") / _MICROSECONDS,
            throttled=_field(group, container, "cpu.stat", "nr_throttled"),
            killed=_field(group, container, "memory.events", "oom_kill"),
        )
    files = _field(group, container, "memory.stat", "total_inactive_file")
    return Usage(
        memory=_number(group, container, "memory.usage_in_bytes") - files,
        limit=_number(group, container, "memory.limit_in_bytes"),
        processor=_number(group, container, "cpuacct.usage") / _NANOSECONDS,
        throttled=_field(group, container, "cpu.stat", "nr_throttled"),
        killed=_field(group, container, "memory.oom_control", "oom_kill"),
    )


def _files(group: str, container: str, name: str) -> list[Path]:
    return [path for root in hierarchies() for path in (root / group).glob(f"kubepods*/**/*{container}*/{name}")]


def _text(group: str, container: str, name: str) -> str:
    # One controller may be found by several names of its hierarchy.
    return _files(group, container, name)[0].read_text(encoding="ascii")


def _number(group: str, container: str, name: str) -> int:
    return int(_text(group, container, name))


def _field(group: str, container: str, name: str, key: str) -> int:
    [number] = [int(line.split()[1]) for line in _text(group, container, name).splitlines() if line.split()[0] == key]
    return number
