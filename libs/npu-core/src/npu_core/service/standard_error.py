"""Standard error that nobody may be reading: whoever writes to it never waits.

A pipe that is not read is full after 64 KiB, and the next write waits for as long as its reader is stopped: a container
runtime that is being upgraded, a log collector that hangs. A service that waits there answers nobody, gives out no
units and does not end on SIGTERM. So one thread alone writes to the pipe and may hang there; all others hand their text
over to it. What it cannot take is dropped and counted, and said once when the pipe is read again.
"""

import atexit
import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable

from npu_core.service.logs import EventLog

_log = EventLog(__name__)
MAX_WAITING_BYTES = 256 * 1024
"""Bytes of text that wait for the pipe at most."""
EXIT_DEADLINE = 1.0
"""Seconds that a process which ends waits for its last lines to be read."""
_STANDARD_ERROR = 2
"""Its descriptor."""


class LineWriter:
    """Writes text to a descriptor, on a thread of its own that may hang. For any thread."""

    def __init__(
        self,
        descriptor: int,
        report_dropped: Callable[[int], None],
        max_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        """A writer with its thread.

        Args:
            descriptor: where to.
            report_dropped: is called with a number of lines when lines were dropped and the rest was written.
            max_bytes: bytes that may wait.

        Raises:
            RuntimeError: if the system refuses the thread.
        """
        self._descriptor = descriptor
        self._report_dropped = report_dropped
        self._max_bytes = max_bytes
        # The lock is reentrant: freeing memory inside write() may run code that warns, which is a write too.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_writing = False
        self._unreported = 0
        self._dropped = 0
        threading.Thread(target=self._run, name="standard error", daemon=True).start()

    @property
    def dropped(self) -> int:
        """How many lines were lost."""
        return self._dropped

    def write(self, text: bytes) -> None:
        """Have the text written as soon as it can be; it is dropped if too much waits already. Never waits."""
        with self._changed:
            # After a gap everything is dropped until the pipe is read: else a slow reader gets single lines between
            # reports of gaps.
            is_full = self._waiting and self._waiting_bytes + len(text) > self._max_bytes
            if self._unreported or is_full:
                self._drop(text)
                return
            self._waiting.append(text)
            self._waiting_bytes += len(text)
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Wait until all text is written, at most for so many seconds; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._is_writing or self._unreported), seconds)

    def _drop(self, text: bytes) -> None:
        lines = _count_lines(text)
        self._dropped += lines
        self._unreported += lines

    def _run(self) -> None:
        lost = 0
        while True:
            text = self._next()
            if text is None:
                self._report_gap()
            elif _is_written(self._descriptor, text):
                with self._changed:
                    self._unreported += lost
                lost = 0
            else:  # nobody can read it any more, or the disk behind it is full
                lines = _count_lines(text)
                lost += lines
                self._dropped += lines

    def _next(self) -> bytes | None:
        """The next text; None if there is none, and a gap is to be reported."""
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._unreported)
            if not self._waiting:
                return None
            text = self._waiting.popleft()
            self._waiting_bytes -= len(text)
            self._is_writing = True
            return text

    def _report_gap(self) -> None:
        with self._changed:
            lines, self._unreported = self._unreported, 0
        # Without the lock: the report is a line of the log, whose own lock another thread may hold and wait for ours.
        self._report_dropped(lines)


def _count_lines(text: bytes) -> int:
    return max(1, text.count(b"\n"))


def _is_written(descriptor: int, text: bytes) -> bool:
    """Write all of it, however long it takes; whether that was possible."""
    while text:
        try:
            text = text[os.write(descriptor, text) :]
        except BlockingIOError:  # somebody who shares the pipe has made it non-blocking
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
        except OSError:
            return False
    return True


class _Handover(io.RawIOBase):
    """What a text stream needs to hand its text over to a writer."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STANDARD_ERROR

    def write(self, text: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]  # any buffer is one of these
        self._writer.write(bytes(text))
        return len(text)


_writer: LineWriter | None = None


def dropped_lines() -> int:
    """How many lines of this process's standard error were lost since its start."""
    return 0 if _writer is None else _writer.dropped


def protect() -> None:
    """Let nothing in this process wait for standard error from now on: neither logs nor tracebacks.

    At the end of the process, what waits is written if somebody reads it within :data:`EXIT_DEADLINE`.

    Raises:
        RuntimeError: if the system refuses a thread.
    """
    global _writer  # noqa: PLW0603  # a process has one standard error
    # gRPC's core writes to the descriptor itself, and on threads that serve. What it says there, its errors say too.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if sys.stderr is None:  # closed before the start: nobody is to hear anything
        return
    writer = _writer = LineWriter(_STANDARD_ERROR, lambda lines: _log.error("log lines dropped", lines=lines))
    handover = io.TextIOWrapper(
        _Handover(writer),  # type: ignore[type-var]  # it is not buffered, as with python -u
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )
    sys.stderr = handover
    atexit.register(writer.drain, EXIT_DEADLINE)
