"""Single files of a simulated host, and what a broken driver makes of them: all of it the kernel's own doing."""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from npu_core.testing import FakeCard, FakeHost

Breakage = Callable[[Path], None]


def sensor_file(host: FakeHost, card: FakeCard, name: str) -> Path:
    """A file of the card's first hwmon chip that has one of this name: ``temp1_input``."""
    chips = Path(host.sysfs, "bus/pci/devices", card.plan.pci).resolve().glob(f"hwmon/hwmon*/{name}")
    return min(chips)


def mgmt_file(host: FakeHost, card: FakeCard, name: str) -> Path:
    """A management attribute of the card."""
    spec = card.plan.spec
    return Path(host.sysfs, "class", spec.sysfs_class, spec.mgmt_name(card.plan.index)).resolve() / name


def text(content: bytes) -> Breakage:
    """It reads like this."""

    def write(path: Path) -> None:
        scratch = path.with_name(".scratch")
        scratch.write_bytes(content)
        scratch.replace(path)

    return write


def blocking(path: Path) -> None:
    """Every reader blocks, until something else is put there."""
    scratch = path.with_name(".scratch")
    os.mkfifo(scratch)
    scratch.replace(path)


def unblock(path: Path, content: bytes) -> None:
    """Put a file with this content there, and let the readers who block go."""
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    text(content)(path)
    os.write(pipe, content)
    os.close(pipe)


def io_error(path: Path) -> None:
    """EIO: nothing is mapped at address 0 of any process."""
    _link(path, "/proc/self/mem")


def refused(path: Path) -> None:
    """EACCES, for root too: nobody may read that setting."""
    _link(path, "/proc/sys/vm/drop_caches")


def gone(path: Path) -> None:
    """ENXIO: a socket cannot be opened."""
    scratch = path.with_name(".scratch")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(scratch))
    scratch.replace(path)


def vanished(path: Path) -> None:
    """It is listed, and not there when it is opened: a link that leads nowhere; no process has that number."""
    _link(path, "/proc/0")


def contents(*directories: Path) -> dict[Path, bytes]:
    """What every file of these directories reads like."""
    return {path: path.read_bytes() for directory in directories for path in directory.iterdir() if _is_plain(path)}


def make(contents: Mapping[Path, bytes]) -> None:
    """Let these files read like this, whatever they were made meanwhile; those that do already are left alone."""
    for path, content in contents.items():
        if not _is_plain(path) or path.read_bytes() != content:
            text(content)(path)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _link(path: Path, target: str) -> None:
    # In one step: who looks in between would see no file at all, which is another thing.
    scratch = path.with_name(".scratch")
    scratch.symlink_to(target)
    scratch.replace(path)
