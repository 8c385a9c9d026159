"""Directories of the node that were removed and made anew while a container has the old one mounted.

A mount stays with the directory that it was made of. Nobody reads what is written to a removed directory, and a socket
in the new directory cannot be seen from the container. Only a new pod gets the new directory.
"""

import os
from collections.abc import Iterable

from npu_core.service.logs import EventLog

_log = EventLog(__name__)


def _links(directory: str) -> int | None:
    """How many names the directory has on its file system; None if nobody can tell."""
    try:
        return os.stat(directory).st_nlink  # noqa: PTH116  # pathlib is not loaded in the daemons
    except OSError:
        return None  # it is not mounted, or not readable: who uses it says so


class RemovedDirectories:
    """Watches directories that a service writes to or looks into, and says once if one was removed.

    Attributes:
        found: those that were removed when they were looked at last.
    """

    def __init__(self, directories: Iterable[str]) -> None:
        """A watch over these; nothing is looked at yet."""
        self.found: tuple[str, ...] = ()
        self._directories = tuple(dict.fromkeys(directories))
        self._counted: set[str] = set()

    def look(self) -> tuple[str, ...]:
        """Look at each; returns :attr:`found`."""
        before, self.found = self.found, tuple(each for each in self._directories if self._is_removed(each))
        for directory in self.found:
            if directory not in before:
                _log.error("directory was removed on the node, restart this pod to get the new one", path=directory)
        return self.found

    def _is_removed(self, directory: str) -> bool:
        """Whether it has no name any more, and had one before: some file systems (FUSE) say 0 of every directory."""
        number = _links(directory)
        if number:
            self._counted.add(directory)
        return number == 0 and directory in self._counted
