"""Directories of the node that were removed and made anew while a container has the old one mounted.

A mount stays with the directory that it was made of. Nobody reads what is written to a removed directory, and a socket
in the new directory cannot be seen from the container. Only a new pod gets the new directory.
"""

import os
from collections.abc import Iterable

from npu_core.service.logs import EventLog

_log = EventLog(__name__)


def is_removed(directory: str) -> bool:
    """Whether the directory is one that has been removed: it has no name on its file system any more."""
    try:
        return os.stat(directory).st_nlink == 0  # noqa: PTH116  # pathlib is not loaded in the daemons
    except OSError:
        return False  # it is not mounted, or not readable: who uses it says so


class RemovedDirectories:
    """Watches directories that a service writes to or looks into, and says once if one was removed.

    Attributes:
        found: those that were removed when they were looked at last.
    """

    def __init__(self, directories: Iterable[str]) -> None:
        """A watch over these; nothing is looked at yet."""
        self.found: tuple[str, ...] = ()
        self._directories = tuple(dict.fromkeys(directories))

    def look(self) -> tuple[str, ...]:
        """Look at each; returns :attr:`found`."""
        before, self.found = self.found, tuple(each for each in self._directories if is_removed(each))
        for directory in self.found:
            if directory not in before:
                _log.error("directory was removed on the node, restart this pod to get the new one", path=directory)
        return self.found
