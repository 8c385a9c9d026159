"""What a process costs at one moment, as the kernel counts it."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Footprint:
    """One process at one moment.

    Attributes:
        rss: KiB resident, shared pages included.
        pss: KiB resident, each page divided by the number of processes that share it.
        private: KiB that nobody else has, which is what one more process costs a node (Private_Clean + Private_Dirty).
        dirty: KiB of ``private`` that are not a file's pages and cannot be given back (Private_Dirty).
        threads: how many there are.
        files: how many file descriptors are open.
        cpu: seconds of processor time of all threads so far, also of those that have ended; a resolution of 10 ms.
        precise_cpu: the same to the microsecond, of the threads that there are now.
        wakeups: times that one of the threads that there are now gave up the processor to wait, and so was woken.
    """

    rss: int
    pss: int
    private: int
    dirty: int
    threads: int
    files: int
    cpu: float
    precise_cpu: float
    wakeups: int


def footprint(pid: int) -> Footprint:
    """What the process costs now.

    Raises:
        OSError: if there is no such process, or it is not ours to look at.
    """
    place = Path(f"/proc/{pid}")
    memory = _fields(place / "smaps_rollup")
    tasks = list((place / "task").iterdir())
    stat = (place / "stat").read_text().rpartition(")")[2].split()
    return Footprint(
        rss=memory["Rss"],
        pss=memory["Pss"],
        private=memory["Private_Clean"] + memory["Private_Dirty"],
        dirty=memory["Private_Dirty"],
        threads=len(tasks),
        files=sum(1 for _ in (place / "fd").iterdir()),
        cpu=(int(stat[11]) + int(stat[12])) / _TICKS,
        precise_cpu=sum(map(_nanoseconds, tasks)) / 1e9,
        wakeups=sum(map(_wakeups, tasks)),
    )


def _nanoseconds(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0  # the thread has ended since it was listed


def _wakeups(task: Path) -> int:
    try:
        return _fields(task / "status")["voluntary_ctxt_switches"]
    except (FileNotFoundError, ProcessLookupError):
        return 0  # as above


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file of lines like ``Rss:   123 kB``."""
    rows = (line.partition(":") for line in path.read_text().splitlines())
    values = ((name, value.split()) for name, _, value in rows)
    return {name: int(words[0]) for name, words in values if words and words[0].isdigit()}
