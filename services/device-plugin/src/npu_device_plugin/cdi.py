"""CDI, opt-in: the file in which a container runtime looks up what a unit's name stands for.

One file per family, of our own name, written whole or not at all, at every start and whenever the units change; files
of ours that no family needs any more are removed. Nobody else's file is ever touched.

Source: the Container Device Interface's specification, version 0.6.0.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from npu_core.arch import Arch
from npu_device_plugin.allocation.grants import PERMISSIONS, Grant, grant
from npu_device_plugin.allocation.resource_state import Offer

CDI_VERSION = "0.5.0"
"""The oldest with everything that is used here: a runtime refuses a file of a version it does not know."""

_VENDOR = "furiosa.ai"
_PREFIX = "furiosa-npu-device-plugin-"
_MODE = 0o644
_SCRATCH_BYTES = 8
"""Number of random bytes in the name of a file that is being written."""


def device_name(arch: Arch, unit_id: str) -> str:
    """The fully qualified name of a unit: ``furiosa.ai/warboy=npu0pe0-1``."""
    return f"{_VENDOR}/{arch}={unit_id}"


def file_name(arch: Arch) -> str:
    """The name of a family's file."""
    return f"{_PREFIX}{arch}.json"


def spec_texts(offers: Iterable[Offer]) -> dict[str, str]:
    """The files by name, one for each family that has something to look up."""
    named = {file_name(offer.arch): (offer.arch, _devices(offer)) for offer in offers}
    # Runtimes refuse a file without a device.
    return {name: _spec_text(arch, devices) for name, (arch, devices) in named.items() if devices}


def _spec_text(arch: Arch, devices: list[dict[str, object]]) -> str:
    """The same for the same units."""
    document = {"cdiVersion": CDI_VERSION, "kind": f"{_VENDOR}/{arch}", "devices": devices}
    return json.dumps(document, indent=2) + "\n"


def _devices(offer: Offer) -> list[dict[str, object]]:
    # Without those that have no file left: for one device that changes nothing, runtimes refuse the whole file.
    return [
        {"name": offered.unit.id, "containerEdits": _edits(grant([offered.unit]))}
        for offered in offer.units
        if offered.unit.files
    ]


def _edits(granted: Grant) -> dict[str, object]:
    # No environment: of a container with several units, the last one's would stand for all. The kubelet brings it.
    return {"deviceNodes": [{"path": path, "permissions": PERMISSIONS} for path in granted.paths]}


class _Written(NamedTuple):
    """The text of a file, and the version of the file that had this text."""

    text: str
    version: tuple[int, ...]


def _version(path: str) -> tuple[int, ...]:
    """Numbers of which at least one changes when the file is overwritten or replaced."""
    status = os.stat(path)  # noqa: PTH116  # pathlib is not loaded in the daemon
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _starts(path: str, length: int) -> bytes:
    """The first bytes of a file. Neither follows a link nor waits for the writer of a pipe.

    Raises:
        OSError: if nothing can be read there, or not now.
    """
    descriptor = _no_link(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, length)
    finally:
        os.close(descriptor)


class SpecDirectory:
    """The directory where runtimes look for CDI files.

    Attributes:
        path: the directory's.
    """

    def __init__(self, path: str) -> None:
        """A directory that is made when the first file is written."""
        self.path = path
        self._written: dict[str, _Written] = {}

    def write(self, texts: dict[str, str]) -> None:
        """Let our files be exactly these, by name; those with the text they have already are left alone.

        Raises:
            OSError: if the directory or a file in it cannot be written.
        """
        os.makedirs(self.path, mode=0o755, exist_ok=True)  # noqa: PTH103  # pathlib is not loaded in the daemon
        for name, text in texts.items():
            if not self._is_there(name, text):
                self._replace(name, text)
                self._remember(name, text)
        self._remove_orphans(keep=texts)

    def clear(self) -> bool:
        """Remove our files; whether there were any.

        Raises:
            OSError: if one of them, or the directory, cannot be changed.
        """
        try:
            return self._remove_orphans(keep=())
        except (FileNotFoundError, NotADirectoryError):
            return False  # a directory that is not there, as where CDI was never used

    def _is_there(self, name: str, text: str) -> bool:
        """Whether the file has this text. The file is read only if its version is not the one written or read last."""
        known, content = self._written.get(name), text.encode()
        path = f"{self.path}/{name}"
        try:
            if known is not None and known.text == text and known.version == _version(path):
                return True
            is_same = _starts(path, len(content) + 1) == content
        except OSError:
            return False  # the file is missing or is not a file: the write that follows gives the error
        if is_same:
            self._remember(name, text)
        return is_same

    def _remember(self, name: str, text: str) -> None:
        with suppress(FileNotFoundError):  # somebody removed the file at once: the next call writes it again
            self._written[name] = _Written(text, _version(f"{self.path}/{name}"))

    def _replace(self, name: str, text: str) -> None:
        # Runtimes read *.json and *.yaml; a file under another name is nobody's until it is whole.
        # Nobody can make a file or a link under this name before: the name is random, and the file has to be new.
        scratch = f"{self.path}/.{name}.{os.urandom(_SCRATCH_BYTES).hex()}"
        try:
            with open(scratch, "x", encoding="utf-8", opener=_no_link) as file:
                os.fchmod(file.fileno(), _MODE)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, f"{self.path}/{name}")  # noqa: PTH105  # as above
        except OSError:
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(scratch)  # noqa: PTH108  # as above
            raise

    def _remove_orphans(self, keep: Iterable[str]) -> bool:
        kept = set(keep)
        names = os.listdir(self.path)  # noqa: PTH208  # as above
        orphans = [name for name in names if name.lstrip(".").startswith(_PREFIX) and name not in kept]
        for name in orphans:
            with suppress(FileNotFoundError):  # another instance may clean up too
                os.unlink(f"{self.path}/{name}")  # noqa: PTH108  # as above
            self._written.pop(name, None)
        return bool(orphans)
