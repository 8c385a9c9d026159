"""The file system of a host, as little of it as is needed, so that tests can put faults in between.

The fake host of the tests is a real directory tree (:mod:`npu_core.testing`); this port is for the errors that a
directory tree cannot show.
"""

import os
import stat
from typing import Protocol

from npu_core.errors import FormatError, host_error

_ATTRIBUTE_LIMIT = 65536
"""Bytes. The kernel gives at most one page per attribute; more means that it is not an attribute."""


class HostFS(Protocol):
    """What is asked of a file system. Paths are absolute; every failure is a :class:`~npu_core.errors.HostError`."""

    def read_text(self, path: str) -> str:
        """The whole of a small text file, UTF-8."""
        ...

    def list_dir(self, path: str) -> tuple[str, ...]:
        """The names in a directory, in no particular order."""
        ...

    def read_link(self, path: str) -> str:
        """The target of a symbolic link, as it is written."""
        ...

    def is_char_device(self, path: str) -> bool:
        """Whether the path, links followed, is a character device. False if there is nothing."""
        ...


class RealFS:
    """The file system of this machine."""

    def read_text(self, path: str) -> str:
        """See :meth:`HostFS.read_text`.

        Raises:
            HostError: the leaf that says why not.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
            try:
                content = os.read(descriptor, _ATTRIBUTE_LIMIT)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise host_error(error, path) from error
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise FormatError(content.decode(errors="backslashreplace"), "UTF-8 text", path=path) from error

    def list_dir(self, path: str) -> tuple[str, ...]:
        """See :meth:`HostFS.list_dir`.

        Raises:
            HostError: the leaf that says why not.
        """
        try:
            return tuple(os.listdir(path))
        except OSError as error:
            raise host_error(error, path) from error

    def read_link(self, path: str) -> str:
        """See :meth:`HostFS.read_link`.

        Raises:
            HostError: the leaf that says why not.
        """
        try:
            return os.readlink(path)
        except OSError as error:
            raise host_error(error, path) from error

    def is_char_device(self, path: str) -> bool:
        """See :meth:`HostFS.is_char_device`.

        Raises:
            HostError: for any reason but that there is nothing at the path.
        """
        try:
            return stat.S_ISCHR(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise host_error(error, path) from error


class ListedOnce:
    """A file system in which a directory is listed once, at the first time; everything else is as below it.

    For one look at many cards that share their directories. A listing that failed is tried again.
    """

    def __init__(self, below: HostFS) -> None:
        """Over ``below``, of which nothing is listed yet."""
        self._below = below
        self._listings: dict[str, tuple[str, ...]] = {}
        self.read_text = below.read_text
        self.read_link = below.read_link
        self.is_char_device = below.is_char_device

    def list_dir(self, path: str) -> tuple[str, ...]:
        """See :meth:`HostFS.list_dir`.

        Raises:
            HostError: the leaf that says why not.
        """
        listing = self._listings.get(path)
        if listing is None:
            listing = self._listings[path] = self._below.list_dir(path)
        return listing
