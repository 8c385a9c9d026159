"""Children, a few at a time."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tools.mutation.child import fork, observed
from tools.mutation.observation import Observation
from tools.mutation.own_time import Limit, Stopwatch

_LOOK = 0.005
"""Seconds between looks at the children."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """Something that a child does.

    Attributes:
        subject: what it is about.
        run: does it, writes what was seen to that path, and tells the limit how long each part may take; exit status.
        patience: seconds that it may take, whatever it waits for.
    """

    subject: T
    run: Callable[[Path, Limit], int]
    patience: float


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """A job that is over.

    Attributes:
        subject: what it was about.
        status: the child's exit status; None if it was killed.
        seen: of the tests.
        output: what it printed.
    """

    subject: T
    status: int | None
    seen: Observation
    output: str


@dataclass(frozen=True, slots=True)
class _Child(Generic[T]):
    job: Job[T]
    directory: Path
    deadline: float
    limit: Limit
    stopwatch: Stopwatch


def run_all(jobs: Iterable[Job[T]], at_once: int) -> Iterator[Ended[T]]:
    """Do all of these, at most so many at a time; each as it ends. Nobody is left behind, however this ends."""
    waiting = iter(jobs)
    running: dict[int, _Child[T]] = {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        try:
            while True:
                while len(running) < at_once and (job := next(waiting, None)):
                    pid, child = _start(job, Path(tempfile.mkdtemp(dir=scratch)))
                    running[pid] = child
                if not running:
                    return
                yield from _over(running)
                time.sleep(_LOOK)
        finally:
            for pid in running:
                _kill(pid)
                os.waitpid(pid, 0)


def _start(job: Job[T], directory: Path) -> tuple[int, _Child[T]]:
    limit = Limit()
    pid = fork(lambda: job.run(directory / "result", limit), directory / "output")
    return pid, _Child(job, directory, time.monotonic() + job.patience, limit, Stopwatch(Path(f"/proc/{pid}/task")))


def _over(running: dict[int, _Child[T]]) -> Iterator[Ended[T]]:
    """Those that are over by now, killed if they have taken too long."""
    for pid, child in list(running.items()):
        if child.stopwatch.is_over(child.limit) or time.monotonic() > child.deadline:
            _kill(pid)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del running[pid]
            _kill(pid)  # what its tests may have started
            code = os.waitstatus_to_exitcode(status)
            output = (child.directory / "output").read_text(encoding="utf-8", errors="replace")
            yield Ended(child.job.subject, code if code >= 0 else None, observed(child.directory / "result"), output)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
