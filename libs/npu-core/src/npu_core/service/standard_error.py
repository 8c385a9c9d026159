"""Writes to standard error that never wait, even if nobody reads the pipe.

A pipe that nobody reads is full after 64 KiB. The next write then waits until the reader goes on: the reader may be a
container runtime during an upgrade, or a log collector that hangs. A service that waits in a write answers no request,
allocates no units and does not end on SIGTERM. So one thread alone writes to the pipe and may hang there. All other
threads hand their text over to that thread. Lines that do not fit into its queue are dropped and counted. When somebody
reads the pipe again, one log line gives the number of dropped lines.
"""

import atexit
import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable

from npu_core.service.events import SharedEvent
from npu_core.service.logs import EventLog

_log = EventLog(__name__)
MAX_WAITING_BYTES = 256 * 1024
"""Largest number of bytes that wait for the pipe."""
EXIT_DEADLINE = 1.0
"""Seconds that an ending process waits until somebody has read its last lines."""
_STANDARD_ERROR = 2
"""The file descriptor of standard error."""


class LineWriter:
    """Writes text to a descriptor, on a thread of its own that may hang. Any thread may call the methods."""

    def __init__(
        self,
        descriptor: int,
        report_dropped: Callable[[int], None],
        max_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        """Make a writer, and start its thread.

        Args:
            descriptor: the file descriptor to write to.
            report_dropped: is called with the number of dropped lines, once the lines before them were written.
            max_bytes: largest number of bytes that wait for the descriptor.

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
        """How many lines were dropped."""
        return self._dropped

    def write(self, text: bytes) -> None:
        """Queue the text for the thread; drop the text if the queue is full. Never waits."""
        with self._changed:
            # After a drop, drop everything until the queue is written. Else a slow reader would get single lines
            # between many reports of dropped lines.
            is_full = self._waiting and self._waiting_bytes + len(text) > self._max_bytes
            if self._unreported or is_full:
                self._drop(text)
                return
            self._waiting.append(text)
            self._waiting_bytes += len(text)
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Wait until all text is written, at most ``seconds``; returns whether all text is written."""
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
            else:  # the reader has closed the pipe, or the disk with the log file is full
                lines = _count_lines(text)
                lost += lines
                self._dropped += lines

    def _next(self) -> bytes | None:
        """The next text; None if no text waits and dropped lines have to be reported."""
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
        # Not under the lock: the report is a log line, and a thread that holds the lock of logging may wait for this
        # lock.
        self._report_dropped(lines)


def _count_lines(text: bytes) -> int:
    return max(1, text.count(b"\n"))


def _is_written(descriptor: int, text: bytes) -> bool:
    """Write all of the text, however long the write takes; whether the write succeeded."""
    while text:
        try:
            text = text[os.write(descriptor, text) :]
        except BlockingIOError:  # another process that shares the pipe has made the pipe non-blocking
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
        except OSError:
            return False
    return True


class _Handover(io.RawIOBase):
    """The raw stream below ``sys.stderr``, which hands text over to a :class:`LineWriter`."""

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
    """How many lines for standard error this process has dropped since its start."""
    return 0 if _writer is None else _writer.dropped


def protect() -> None:
    """Route ``sys.stderr`` through a thread, so that neither logs nor tracebacks of this process wait for a reader.

    At its end, the process waits at most :data:`EXIT_DEADLINE` until the queued lines are written.

    Raises:
        RuntimeError: if the system refuses a thread.
    """
    global _writer  # noqa: PLW0603  # a process has one standard error
    # gRPC's core writes to the descriptor directly, also on threads that serve requests. The errors that gRPC raises
    # have the same information.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if sys.stderr is None:  # standard error was closed before the start: nobody wants the log
        return
    writer = _writer = LineWriter(_STANDARD_ERROR, lambda lines: _log.error(SharedEvent.LINES_DROPPED, lines=lines))
    handover = io.TextIOWrapper(
        _Handover(writer),  # type: ignore[type-var]  # it is not buffered, as with python -u
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )
    sys.stderr = handover
    atexit.register(writer.drain, EXIT_DEADLINE)
