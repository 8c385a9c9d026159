"""The sink for Node Feature Discovery's ``features.d``: one file, whole at every moment.

nfd-worker reads the directory whenever it likes, and what it cannot read counts as gone: the labels are then taken off
the node. So a new file gets its content, its mode and its way to the disk in a sub-directory, which no version of NFD
looks into and which is on the same mount, and takes the old one's place by a rename. Workers before v0.15 read dot
files too, so a temporary file beside the target would not do.

nfd-worker since v0.19 watches the directory. The worker reads the directory at the first event, and ignores events for
one second afterwards. So the file has to be complete at the first event. If no file exists yet, the service writes a
file without a name (O_TMPFILE) and links it when it is complete, because the sub-directory for the usual way would be
an event. The write to the file without a name is an event too, and a quick worker may read the directory before the
link. An event of another program's file may also make the worker ignore the event of this file. So the service sets the
file's time again 0.25 s later, and then after intervals that grow by half, up to about a minute. A worker that ignores
events for some time sees a reminder before twice that time is over. After a minute, workers read the directory without
any event.
"""

import errno
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from npu_core.os_errors import explain
from npu_core.service.logs import EventLog
from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.feature_text import MAX_BYTES, parse, render
from npu_feature_discovery.labels.table import PREFIX, Labels
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError

T = TypeVar("T")

_log = EventLog(__name__)
SCRATCH_DIR = ".furiosa-npu-feature-discovery"
"""Where a file is written before it gets its name, beside the target."""
MODE = 0o644
"""nfd-worker may run as anybody."""
_SCRATCH_MODE = 0o755
_CLOCK_SLACK = timedelta(seconds=1)
_FIRST_REMINDER = 0.25
"""Seconds until the service sets the file's time again for the first time."""
_REMINDER_GROWTH = 1.5
"""How many times as long each later interval is as the one before."""
_LAST_REMINDER = 64.0
_REASONS = {
    errno.ENOENT: FailureReason.NO_DIRECTORY,
    errno.ENOTDIR: FailureReason.NO_DIRECTORY,
    errno.EROFS: FailureReason.READ_ONLY,
    errno.EACCES: FailureReason.NO_PERMISSION,
    errno.EPERM: FailureReason.NO_PERMISSION,
    errno.ENOSPC: FailureReason.NO_SPACE,
    errno.EDQUOT: FailureReason.NO_SPACE,
}
_MAY_BE_THE_SCRATCH_DIR = {errno.ENOENT, errno.EACCES, errno.EPERM}
"""What a write says when another instance swept its file, or another user owns the scratch directory."""


def utc_now() -> datetime:
    """The wall clock's time; expiry is a time of the wall clock."""
    return datetime.now(UTC)


class FeatureFileSink:
    """Keeps one feature file. Nothing is remembered: what is on disk is compared each time.

    Attributes:
        name: ``feature-file``.
        path: the file.
    """

    name = "feature-file"

    def __init__(
        self,
        path: str,
        expiry: timedelta | None = None,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A sink for the file at ``path``, whose directory has to be there.

        Args:
            path: absolute.
            expiry: after how long without this service the labels are to be taken for gone; the time in the file is
                moved when half of it is over. None for never.
            now: the wall clock.
            clock: a monotonic clock, in seconds.
        """
        self.path = path
        self._directory, self._file_name = os.path.split(path)
        self._scratch_dir = f"{self._directory}/{SCRATCH_DIR}"
        self._expiry = expiry
        self._now = now
        self._clock = clock
        self._swept = False
        self._remind_later()

    def publish(self, labels: Labels) -> Outcome:
        """See :class:`~npu_feature_discovery.sinks.Sink`."""
        with self._failures():
            if not self._swept:
                self._sweep()
                self._swept = True
            found = self._content()
            if found is not None and self._says(found, labels):
                if self.doubts_in() <= 0:
                    self._remind()
                return Outcome.UNCHANGED
            existed = _is_there(self.path)
            self._write(render(labels, None if self._expiry is None else self._now() + self._expiry))
            self._remind_later()
        return Outcome.UPDATED if existed else Outcome.CREATED

    def remove(self) -> Outcome:
        """See :class:`~npu_feature_discovery.sinks.Sink`. The scratch directory goes too."""
        with self._failures():
            existed = _is_there(self.path)
            if existed:
                os.unlink(self.path)
            self._remove_scratch_dir()
        return Outcome.REMOVED if existed else Outcome.ABSENT

    def remove_if_ours(self) -> Outcome:
        """As :meth:`remove`, if the file says nothing but labels of ours; anything else is left alone.

        Raises:
            SinkError: as :meth:`remove`.
        """
        return self.remove() if self.known() else Outcome.ABSENT

    def known(self) -> Labels:
        """See :class:`~npu_feature_discovery.sinks.Sink`. Nothing if there is anything in the file but our labels."""
        content = self._content()
        text = None if content is None else parse(content)
        if text is None or not all(key.startswith(PREFIX) for key in text.labels):
            return {}
        return text.labels

    def forget(self) -> None:
        """See :class:`~npu_feature_discovery.sinks.Sink`. There is nothing to forget."""

    def doubts_in(self) -> float:
        """See :class:`~npu_feature_discovery.sinks.Sink`. nfd-worker may have ignored the event."""
        return self._reminder_due - self._clock()

    def _remind_later(self) -> None:
        self._reminder_gap = _FIRST_REMINDER
        self._reminder_due = self._clock() + self._reminder_gap

    def _remind(self) -> None:
        try:
            # The sub-directory is made now, so that a later change of the file is a single event in the directory.
            self._make_scratch_dir()
            os.utime(self.path)
        except FileNotFoundError:
            raise  # the file went just now
        except OSError as error:
            # The labels are in place, and a worker finds them by itself within a minute.
            _log.debug(Event.CANNOT_REMIND, reason=self._explained(error))
        self._reminder_gap *= _REMINDER_GROWTH
        is_last = self._reminder_gap > _LAST_REMINDER
        self._reminder_due = math.inf if is_last else self._clock() + self._reminder_gap

    def close(self) -> None:
        """See :class:`~npu_feature_discovery.sinks.Sink`. A write takes no time worth ending."""

    def _content(self) -> bytes | None:
        """What is in the file; None if there is none of ours: another kind, another mode, or unreadable."""
        try:
            # Neither a link nor a pipe that somebody put there is to hold us or lead us away.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != MODE:
                return None
            return os.read(descriptor, MAX_BYTES + 1)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def _says(self, content: bytes, labels: Labels) -> bool:
        if self._expiry is None:
            return content == render(labels)
        text = parse(content)
        if text is None or text.expires is None or text.labels != labels:
            return False
        # A time too far ahead was written before somebody set the clock back.
        return self._expiry / 2 < text.expires - self._now() <= self._expiry + _CLOCK_SLACK

    def _write(self, content: bytes) -> None:
        if not _is_there(self.path) and self._create(content):
            return
        try:
            self._write_once(content)
        except OSError as error:
            if error.errno not in _MAY_BE_THE_SCRATCH_DIR:
                raise
            self._remove_scratch_dir()
            self._write_once(content)

    def _create(self, content: bytes) -> bool:
        """Create the file in one step, complete; whether the file system allowed that."""
        try:
            descriptor = os.open(self._directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, MODE)
        except OSError:
            return False  # some file systems have no O_TMPFILE; the usual way works, or raises the reason
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) != MODE:
                os.fchmod(descriptor, MODE)
            _write_all(descriptor, content)
            # With src_dir_fd, Python calls linkat() with AT_SYMLINK_FOLLOW, which follows the link in /proc.
            os.link(f"/proc/self/fd/{descriptor}", self.path, src_dir_fd=descriptor)
            # fsync() comes last, because a write is an event too, at which a worker reads the directory. If the power
            # fails before fsync(), the file may be empty, and the next start writes the file again.
            os.fsync(descriptor)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _make_scratch_dir(self) -> None:
        if not self._has_scratch_dir():
            os.mkdir(self._scratch_dir, _SCRATCH_MODE)

    def _write_once(self, content: bytes) -> None:
        self._make_scratch_dir()
        # Two instances may write at once, as while one takes over from another: each into a file of its own.
        scratch = f"{self._scratch_dir}/{self._file_name}-{os.urandom(6).hex()}"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                _write_all(descriptor, content)
                os.fchmod(descriptor, MODE)  # not at the opening, where the umask would have a say
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(scratch, self.path)
        except BaseException:
            _unlink(scratch)
            raise

    def _sweep(self) -> None:
        """Remove what a killed instance left behind."""
        if self._has_scratch_dir():
            for name in os.listdir(self._scratch_dir):
                _unlink(f"{self._scratch_dir}/{name}")

    def _remove_scratch_dir(self) -> None:
        self._sweep()
        if _is_there(self._scratch_dir):
            os.rmdir(self._scratch_dir)

    def _has_scratch_dir(self) -> bool:
        """Whether it is there. What is no directory is removed: a link would have others' files swept."""
        try:
            mode = os.lstat(self._scratch_dir).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not stat.S_ISDIR(mode):
            os.unlink(self._scratch_dir)
        return stat.S_ISDIR(mode)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SinkError:
        reason = _REASONS.get(error.errno or 0, FailureReason.IO)
        if reason is FailureReason.NO_DIRECTORY and not os.path.isdir(self._directory):
            return SinkError(reason, f"{self._directory} is no directory: is Node Feature Discovery's mounted there?")
        return SinkError(reason, self._explained(error))

    def _explained(self, error: OSError) -> str:
        setting, purpose = "--output-file", "the feature file"
        return explain(error, self._place(error), setting=setting, purpose=purpose, wants=os.W_OK)

    def _place(self, error: OSError) -> str:
        """Where it happened. A scratch file's name is never the same, so it would be news each time."""
        place = str(error.filename2 or error.filename or self.path)
        return self._scratch_dir if place.startswith(f"{self._scratch_dir}/") else place


class StandardOutputSink:
    """Writes the labels to standard output as a feature file has them, whenever they change.

    Attributes:
        name: ``standard-output``.
    """

    name = "standard-output"

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """A sink that hands each text to ``write``."""
        self._write = write
        self._written: Labels | None = None

    def publish(self, labels: Labels) -> Outcome:
        """See :class:`~npu_feature_discovery.sinks.Sink`."""
        if labels == self._written:
            return Outcome.UNCHANGED
        existed = self._written is not None
        try:
            self._write(render(labels))
        except OSError as error:
            raise SinkError(FailureReason.IO, f"standard output: {error.strerror or error}") from error
        self._written = labels
        return Outcome.UPDATED if existed else Outcome.CREATED

    def remove(self) -> Outcome:
        """See :class:`~npu_feature_discovery.sinks.Sink`. What was printed stays printed."""
        return Outcome.ABSENT

    def known(self) -> Labels:
        """See :class:`~npu_feature_discovery.sinks.Sink`."""
        return self._written or {}

    def forget(self) -> None:
        """See :class:`~npu_feature_discovery.sinks.Sink`."""
        self._written = None

    def doubts_in(self) -> float:
        """See :class:`~npu_feature_discovery.sinks.Sink`. Nobody takes back what was printed."""
        return math.inf

    def close(self) -> None:
        """See :class:`~npu_feature_discovery.sinks.Sink`. There is nothing to end."""


def _is_there(path: str) -> bool:
    return os.path.lexists(path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        _log.debug(Event.LEFTOVER_STAYS, path=path, reason=error.strerror)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
