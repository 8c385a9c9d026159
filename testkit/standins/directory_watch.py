"""What the kernel's inotify tells a program that watches a directory, as nfd-worker does since v0.19."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
_HEADER = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def watch(directory: Path) -> Iterator["DirectoryWatch"]:
    """Watch a directory as NFD does, with Go's fsnotify: names that come, go or move, content and attributes."""
    descriptor = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mask = _MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
        assert _LIBC.inotify_add_watch(descriptor, os.fsencode(directory), mask) >= 0
        yield DirectoryWatch(descriptor)
    finally:
        os.close(descriptor)


class DirectoryWatch:
    """Events that were not asked for yet wait in the kernel."""

    def __init__(self, descriptor: int) -> None:
        """A watch of an inotify descriptor that does not block."""
        self._descriptor = descriptor

    def names(self) -> list[str]:
        """The name that each event since the last call is about, in order."""
        try:
            events = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return []
        found, place = [], 0
        while place < len(events):
            *_, length = _HEADER.unpack_from(events, place)
            place += _HEADER.size
            found.append(events[place : place + length].rstrip(b"\0").decode())
            place += length
        return found
