"""Limits of time that do not depend on what else a machine does.

The time of a process is the time by the clock, less the time in which its threads were ready and waited for a
processor. On a machine that does nothing else, both are the same. So a limit ends a test that computes for ever and one
that waits for an event that never comes, and ends no test for being starved.
"""

import mmap
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LAYOUT = struct.Struct("=Id")
_NANOSECONDS = 1e-9
_PAUSE = 0.1
"""Seconds between two looks at a child's threads."""


class Limit:
    """Seconds that a child may take for its present part, such as a test. Made before the fork: both sides see it."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _LAYOUT.size)

    def begin(self, seconds: float) -> None:
        """In the child: a part begins that may take so many seconds."""
        part, _ = _LAYOUT.unpack(self._shared[:])
        self._shared[:] = _LAYOUT.pack(part + 1, seconds)

    @property
    def part(self) -> tuple[int, float]:
        """The number of the part, and the seconds that it may take; (0, 0.0) before the first one."""
        part, seconds = _LAYOUT.unpack(self._shared[:])
        return part, seconds


class Stopwatch:
    """Measures the time of a child from outside."""

    def __init__(self, tasks: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            tasks: directory of the child's threads in /proc.
            clock: seconds, monotonic.
        """
        self._tasks, self._clock = tasks, clock
        self._limited = (0, 0.0)
        self._waits: dict[str, float] = {}
        self._seen = clock()
        self._taken = 0.0

    def is_over(self, limit: Limit) -> bool:
        """Whether the present part has taken more than its limit. To be asked several times a second."""
        if self._clock() < self._seen + _PAUSE:
            return False
        if (part := limit.part) != self._limited:
            self._limited, self._taken = part, 0.0
        now, waits = self._clock(), dict(self._waits_by_thread())
        waited = sum(wait - self._waits.get(thread, 0.0) for thread, wait in waits.items())
        # Threads that wait at the same time count each: a limit may come late, and never early.
        self._taken += max(now - self._seen - waited, 0.0)
        self._seen, self._waits = now, waits
        return self._limited[0] > 0 and self._taken > self._limited[1]

    def _waits_by_thread(self) -> list[tuple[str, float]]:
        found = []
        with suppress(OSError):
            for task in self._tasks.iterdir():
                with suppress(OSError):  # a thread that ended meanwhile
                    _, waited, _ = (task / "schedstat").read_text(encoding="ascii").split()
                    found.append((task.name, int(waited) * _NANOSECONDS))
        return found
