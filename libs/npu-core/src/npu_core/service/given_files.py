"""The files that an operator names: settings, web configurations, certificates, keys, kubeconfigs, tokens.

A path may lead to anything: a directory, a device, a pipe that nobody writes to, a sparse file of a terabyte, a file of
a server that does not answer. Every service reads such files with this module, so that none of these can hold a service
up or fill its memory.
"""

import os
import select
import stat
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

from npu_core.errors import FormatError, HostError
from npu_core.os_errors import meaning
from npu_core.service.device_threads import DeviceThreads, unanswered

T = TypeVar("T")

ReadFile = Callable[[str], bytes]
"""Takes a path, gives the file's content. Raises as :meth:`GivenFiles.read`."""

MAX_SIZE = 1 << 20
"""Bytes. No ConfigMap or Secret is larger."""

START_SECONDS = 10.0
"""Seconds that one file may take at the start of a service: a server to answer, or the writer of a pipe to close it."""

_EXPECTED = "a readable file"
_BLOCK = 1 << 16
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class FileLook(NamedTuple):
    """What tells one writing of a file from another. Times in nanoseconds since the epoch, the size in bytes."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file as it was read.

    Attributes:
        content: the whole of it.
        mode: its permission bits; 0 for a pipe.
    """

    content: bytes
    mode: int = 0


class GivenFiles:
    """Reads files by their paths, and keeps what pipes said.

    At first the service is starting. A read then ends after :data:`START_SECONDS`, and a pipe that the service
    inherited (``<(...)`` of a shell, ``/dev/stdin``) is read once: a second read would find nothing. After
    :meth:`started` no pipe is read any more, and the caller has to be on a thread that may be lost, because a read may
    never come back.
    """

    def __init__(self, limit: int = MAX_SIZE) -> None:
        """Files of at most ``limit`` bytes."""
        self._limit = limit
        self._pipes: dict[str, GivenFile] = {}
        self._starting = True

    def started(self) -> None:
        """The service has read what it was started with."""
        self._starting = False

    def look(self, path: str) -> FileLook | None:
        """What the path leads to now; None if there is nothing, and for a pipe that was read."""
        if path in self._pipes:
            return None
        try:
            status = os.stat(path)  # noqa: PTH116  # pathlib is not loaded in the daemons
        except OSError:
            return None
        return FileLook(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_kept(self, path: str) -> bool:
        """Whether this was a pipe, so that its content stays what it is."""
        return path in self._pipes

    def read(self, path: str) -> GivenFile:
        """The file that ``path`` leads to.

        Raises:
            FormatError: if there is none, if it is no regular file, is too large, or cannot be read in time. Its
                ``expected`` says why.
        """
        if path in self._pipes:
            return self._pipes[path]
        if not self._starting:
            return read_regular(path, self._limit)
        work = partial(_read_at_start, path, self._limit)
        try:
            given, is_pipe = in_time(work, START_SECONDS)
        except FormatError:
            raise
        except HostError as error:
            raise FormatError(path, f"{_EXPECTED}: {error.detail}") from error
        if is_pipe:
            self._pipes[path] = given
        return given


def read_once(path: str) -> bytes:
    """The content of a file that the program reads once. Raises as :meth:`GivenFiles.read`."""
    return GivenFiles().read(path).content


def read_regular(path: str, limit: int = MAX_SIZE) -> GivenFile:
    """The regular file that ``path`` leads to, read on this thread.

    Raises:
        FormatError: if there is none, if it is no regular file or has more than ``limit`` bytes, or if the system
            refuses it.
    """
    try:
        # Looked at before it is opened: to open a device or a pipe has effects of its own.
        _check(path, os.stat(path), limit)  # noqa: PTH116  # as above
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            status = os.fstat(descriptor)
            _check(path, status, limit)
            content = _read_all(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FormatError(path, f"{_EXPECTED}: {meaning(error, path)}") from error
    return GivenFile(_bounded(path, content, limit), stat.S_IMODE(status.st_mode))


def in_time(work: Callable[[], T], seconds: float) -> T:
    """The result of the work, which runs on a thread that may be lost.

    Raises:
        StuckError: if the work does not return within so many seconds.
        ExhaustedError: if the system refuses a thread.
        Exception: whatever the work raises.
    """
    threads = DeviceThreads()
    future: Future[T] = threads.start("file", work)
    threads.forget("file")  # the thread ends with its work
    try:
        return future.result(seconds)
    except TimeoutError:
        raise unanswered(future, seconds) from None


def _read_at_start(path: str, limit: int) -> tuple[GivenFile, bool]:
    """The file, and whether it is a pipe."""
    try:
        if not stat.S_ISFIFO(os.stat(path).st_mode):  # noqa: PTH116  # as above
            return read_regular(path, limit), False
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not _has_no_name(descriptor):
                raise FormatError(path, "a regular file, not a pipe that has a name")
            return GivenFile(_bounded(path, _read_pipe(path, descriptor, limit), limit)), True
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FormatError(path, f"{_EXPECTED}: {meaning(error, path)}") from error


def _has_no_name(descriptor: int) -> bool:
    """Whether a pipe can only have been inherited. The kernel gives such a pipe a text in the place of a path."""
    return os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:[")  # noqa: PTH115  # as above


def _read_pipe(path: str, descriptor: int, limit: int) -> bytes:
    ends = time.monotonic() + START_SECONDS * 0.9
    readable = select.poll()
    readable.register(descriptor, select.POLLIN)
    content = bytearray()
    while len(content) <= limit:
        left = ends - time.monotonic()
        if left <= 0 or not readable.poll(left * 1000):
            raise FormatError(path, f"a pipe whose writer closes it within {START_SECONDS:g} s")
        block = os.read(descriptor, _BLOCK)
        if not block:
            break
        content += block
    return bytes(content)


def _read_all(descriptor: int, limit: int) -> bytes:
    content = bytearray()
    while len(content) <= limit and (block := os.read(descriptor, _BLOCK)):
        content += block
    return bytes(content)


def _check(path: str, status: os.stat_result, limit: int) -> None:
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise FormatError(path, f"a regular file, not {kind}")
    if status.st_size > limit:
        raise FormatError(path, f"at most {limit} bytes, not {status.st_size}")


def _bounded(path: str, content: bytes, limit: int) -> bytes:
    if len(content) > limit:
        raise FormatError(path, f"at most {limit} bytes")
    return content
