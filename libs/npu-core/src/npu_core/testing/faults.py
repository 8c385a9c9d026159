"""A file system with faults, for the errors that a directory tree cannot show."""

import errno
import fnmatch
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from npu_core.errors import host_error
from npu_core.hostfs import HostFS, RealFS

Fault = Callable[[str], str]
"""What happens instead of an access to a path: gives text, or raises."""


def failing(code: int) -> Fault:
    """Every access fails with this errno: ``failing(errno.EIO)``."""

    def fail(path: str) -> str:
        raise host_error(OSError(code, os.strerror(code)), path)

    return fail


EIO = failing(errno.EIO)
"""Every access fails as one of a broken device does."""

EACCES = failing(errno.EACCES)
"""Every access is refused."""

ENODEV = failing(errno.ENODEV)
"""Every access fails as one of a device does that has gone."""


def garbage(text: str = "\x00\ufffdgarbage\x7f") -> Fault:
    """Every read gives this text."""
    return lambda _path: text


@dataclass(slots=True)
class Blocked:
    """A fault that keeps its readers until :meth:`release`, as a hung card does."""

    _gate: threading.Event = field(default_factory=threading.Event)
    _waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, path: str) -> str:
        """Wait for the release, then fail as a read does whose device came back without it."""
        self._waiting.release()
        self._gate.wait()
        raise host_error(OSError(errno.ETIMEDOUT, "the card came back, the read did not"), path)

    def wait_for_reader(self, timeout: float) -> bool:
        """Wait until one more reader is stuck; False if none was in ``timeout`` seconds."""
        return self._waiting.acquire(timeout=timeout)

    def release(self) -> None:
        """Let every reader go, now and later; their reads fail."""
        self._gate.set()


class FaultyFS:
    """A file system that is as good as the one below it, except where faults were put.

    ::

        fs = FaultyFS()
        fs.put("*/npu0_mgmt/alive", EIO)
        host.open(fs).vitals(device)

    Attributes:
        reads: every path that was read, in order, faulty or not: shows what was never touched.
    """

    def __init__(self, below: HostFS | None = None) -> None:
        """Faults over ``below``, by default the machine's own file system."""
        self.reads: list[str] = []
        self._below = below or RealFS()
        self._faults: dict[str, Fault] = {}

    def put(self, pattern: str, fault: Fault) -> None:
        """Let every access to a path that matches the shell pattern meet this fault. The first pattern put wins."""
        self._faults[pattern] = fault

    def clear(self) -> None:
        """Take every fault away. Readers that are blocked stay so."""
        self._faults.clear()

    def read_text(self, path: str) -> str:
        """See :class:`~npu_core.hostfs.HostFS`."""
        self.reads.append(path)
        fault = self._fault(path)
        return self._below.read_text(path) if fault is None else fault(path)

    def list_dir(self, path: str) -> tuple[str, ...]:
        """See :class:`~npu_core.hostfs.HostFS`; a garbage fault gives one strange name."""
        fault = self._fault(path)
        return self._below.list_dir(path) if fault is None else (fault(path),)

    def read_link(self, path: str) -> str:
        """See :class:`~npu_core.hostfs.HostFS`."""
        fault = self._fault(path)
        return self._below.read_link(path) if fault is None else fault(path)

    def is_char_device(self, path: str) -> bool:
        """See :class:`~npu_core.hostfs.HostFS`; with a garbage fault the path is something else."""
        fault = self._fault(path)
        if fault is None:
            return self._below.is_char_device(path)
        fault(path)
        return False

    def _fault(self, path: str) -> Fault | None:
        return next((fault for pattern, fault in self._faults.items() if fnmatch.fnmatchcase(path, pattern)), None)
