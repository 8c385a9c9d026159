"""Who holds which cores in truth: the environment of the processes in containers, whatever any program says of them."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tools.cluster.keeper import hierarchies

_UNIT = re.compile(r"npu(\d+)pe(\d+)(?:-(\d+))?")
_LINK = re.compile(r"(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<container>.+)-(?P<id>[0-9a-f]{64})\.log")
_EFFECTIVE = ("cpuset.cpus.effective", "cpuset.effective_cpus")
"""The files with the processors in force, in version 2 and in version 1 of control groups."""
_ID = re.compile(r"(?:^|-)([0-9a-f]{64})(?:\.scope)?$")


@dataclass(frozen=True, slots=True)
class Held:
    """One container with running processes, and what they were told to use.

    Attributes:
        pod: its name; empty if the container's log has no name yet.
        container: its name.
        id: the runtime's.
        units: what NPU_DEVNAME says.
        cores: pairs of card and core.
    """

    pod: str
    container: str
    id: str
    units: str
    cores: frozenset[tuple[int, int]]


def held(group: str, logs: Path) -> list[Held]:
    """The running containers that hold cores.

    Args:
        group: the control group of the node.
        logs: the directory that the node has as /var/log/containers.
    """
    links = logs.iterdir() if logs.is_dir() else ()
    names = {match["id"]: match for path in links if (match := _LINK.fullmatch(path.name))}
    found = []
    for container, pids in containers(group).items():
        units = next((text for pid in pids if (text := _environment(pid).get("NPU_DEVNAME"))), None)
        if units is not None:
            name = names.get(container)
            pod, part = (name["pod"], name["container"]) if name else ("", "")
            found.append(Held(pod, part, container, units, cores_of(units)))
    return sorted(found, key=lambda each: (each.pod, each.container))


def overlaps(containers: Iterable[Held]) -> list[tuple[Held, Held]]:
    """Pairs of containers that have a core in common."""
    return [(one, other) for one, other in combinations(containers, 2) if one.cores & other.cores]


def cores_of(units: str) -> frozenset[tuple[int, int]]:
    """``npu0pe0-1,npu1pe0`` as pairs of card and core."""
    return frozenset(
        (int(card), core)
        for card, first, last in _UNIT.findall(units)
        for core in range(int(first), int(last or first) + 1)
    )


def processors(group: str) -> set[str]:
    """Which processors the containers below a control group may use, each set once: ``0-1``, ``1``."""
    directories = [directory for root in hierarchies() for _, directory in groups_of_containers(root / group)]
    texts = (_text(directory / name) for directory in directories for name in _EFFECTIVE)
    return {text.strip() for text in texts} - {""}


def processors_of_machine() -> str:
    """Every processor of the machine, as a control group's file would have it."""
    return Path("/sys/devices/system/cpu/online").read_text(encoding="ascii").strip()


def containers(group: str) -> dict[str, list[int]]:
    """Process ids by container, in whichever hierarchy has the node's pods."""
    found: dict[str, list[int]] = {}
    for root in hierarchies():
        for container, directory in groups_of_containers(root / group):
            if pids := [int(line) for line in _text(directory / "cgroup.procs").split()]:
                found.setdefault(container, pids)
        if found:
            break
    return found


def groups_of_containers(group: Path) -> Iterator[tuple[str, Path]]:
    """The ids and directories of containers below a node's control group. A directory may disappear at any moment."""
    # Not Path.glob, which fails when a directory disappears between its listing and its reading.
    for place, _, _ in os.walk(group):
        directory = Path(place)
        if (match := _ID.search(directory.name)) and "kubepods" in place:
            yield match[1], directory


def _text(path: Path) -> str:
    """The text of a file; empty if the file has disappeared."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
