"""Noticing that the configuration file changed.

The file is looked at, not watched: nodes run out of inotify instances. In a pod it is a link through ``..data`` into a
directory that the kubelet swaps as a whole, an editor replaces the file, a script writes into it; a look at what the
path leads to sees all of them alike.
"""

import hashlib
import os
from typing import NamedTuple


class _Look(NamedTuple):
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class ConfigWatch:
    """Tells when the content of a file is not what it was.

    Attributes:
        digest: of the content last seen, hexadecimal; empty if it could not be read.
    """

    def __init__(self, path: str) -> None:
        """A watch of the file that ``path`` leads to, from its present content on."""
        self._path = path
        self._look: _Look | None = None
        self.digest = ""
        self.changed()

    def changed(self) -> bool:
        """Whether the content differs from the one at the last call. Costs one system call while nothing moves."""
        look = self._stat()
        if look == self._look and look is not None:
            return False
        digest = self._digest()
        changed = digest != self.digest
        # The look from before the reading: a change during it is seen at the next call.
        self._look, self.digest = look, digest
        return changed

    def _stat(self) -> _Look | None:
        try:
            status = os.stat(self._path)  # noqa: PTH116  # pathlib is not loaded in the daemon
        except OSError:
            return None
        return _Look(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _digest(self) -> str:
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123  # as above
                return hashlib.sha256(file.read()).hexdigest()
        except OSError:
            return ""
