"""Noticing that the configuration file changed.

The file is looked at, not watched: nodes run out of inotify instances. In a pod it is a link through ``..data`` into a
directory that the kubelet swaps as a whole, an editor replaces the file, a script writes into it; a look at what the
path leads to sees all of them alike.
"""

import hashlib

from npu_core.errors import FormatError
from npu_core.service.given_files import FileLook, GivenFiles


class ConfigWatch:
    """Tells when the content of a file is not what it was.

    Attributes:
        digest: of the content last seen, hexadecimal; empty if it could not be read.
    """

    def __init__(self, path: str, files: GivenFiles) -> None:
        """A watch of the file that ``path`` leads to, from its present content on.

        Args:
            path: the file.
            files: reads it.
        """
        self._path = path
        self._files = files
        self._look: FileLook | None = None
        self._seen: bytes | FormatError = b""
        self.digest = ""
        self.changed()

    def content(self) -> bytes:
        """The content at the last call of :meth:`changed`.

        Raises:
            FormatError: if the file could not be read then; its ``expected`` says why.
        """
        if isinstance(self._seen, FormatError):
            raise self._seen
        return self._seen

    @property
    def can_change(self) -> bool:
        """Whether there is a file to look at: what came out of a pipe stays what it is."""
        return not self._files.is_kept(self._path)

    def changed(self) -> bool:
        """Whether the content differs from the one at the last call. Costs one system call while nothing moves."""
        look = self._files.look(self._path)
        if look == self._look and look is not None:
            return False
        try:
            self._seen = self._files.read(self._path).content
            digest = hashlib.sha256(self._seen).hexdigest()
        except FormatError as error:
            # Read again at every call: what kept it from being read may end without a trace in the file.
            self._seen, digest, look = error, "", None
        changed = digest != self.digest
        # The look from before the reading: a change during it is seen at the next call.
        self._look, self.digest = look, digest
        return changed
