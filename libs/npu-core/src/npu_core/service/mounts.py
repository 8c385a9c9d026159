"""Directories of the node that somebody removed and created again while a container has the old directory mounted.

A mount keeps the directory that was mounted. Nobody reads files that a service writes to a removed directory, and a
container does not see a socket in the new directory. Only a container that starts later mounts the new directory.
"""

import os
from collections.abc import Iterable

from npu_core.service.events import SharedEvent
from npu_core.service.logs import EventLog

_log = EventLog(__name__)


def _links(directory: str) -> int | None:
    """How many names the directory has on its file system; None if nobody can tell."""
    try:
        return os.stat(directory).st_nlink  # noqa: PTH116  # pathlib is not loaded in the daemons
    except OSError:
        return None  # not mounted, or not readable: the code that uses the directory reports that


class RemovedDirectories:
    """Watches directories that a service writes to or reads from, and logs once when a directory was removed.

    Attributes:
        found: the directories that the last look found removed.
    """

    def __init__(self, directories: Iterable[str]) -> None:
        """A watch over these directories, which notices from now on that one of them is removed."""
        self.found: tuple[str, ...] = ()
        self._directories = tuple(dict.fromkeys(directories))
        self._counted = {each for each in self._directories if _links(each)}

    def look(self) -> tuple[str, ...]:
        """Look at each directory; returns :attr:`found`."""
        before, self.found = self.found, tuple(each for each in self._directories if self._is_removed(each))
        for directory in self.found:
            if directory not in before:
                _log.error(SharedEvent.DIRECTORY_REMOVED, path=directory)
        return self.found

    def _is_removed(self, directory: str) -> bool:
        """Whether it has no name any more, and had one before: some file systems (FUSE) say 0 of every directory."""
        number = _links(directory)
        if number:
            self._counted.add(directory)
        return number == 0 and directory in self._counted
