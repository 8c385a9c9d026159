"""Which processes hold device files open, through /proc."""

from dataclasses import dataclass

from npu_core.errors import AccessDeniedError, HostError
from npu_core.hostfs import HostFS, RealFS

_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """One process and the device files it has open.

    Attributes:
        pid: process id, as this /proc numbers it.
        command: its command line, or its name in brackets where it has none; empty if unreadable.
        paths: absolute paths of the device files, as the process opened them, sorted, each once.
    """

    pid: int
    command: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holders:
    """One look through all processes.

    Attributes:
        holders: by process id.
        hidden: processes whose open files may not be seen (another user's, without privileges). While there are
            any, a device file without a holder may still be held.
    """

    holders: tuple[Holder, ...] = ()
    hidden: int = 0

    def of(self, path: str) -> tuple[Holder, ...]:
        """Those that hold the device file with this path."""
        return tuple(holder for holder in self.holders if path in holder.paths)


def find_holders(paths: frozenset[str], procfs: str = "/proc", fs: HostFS | None = None) -> Holders:
    """The processes that have one of the device files open.

    A process that ends while it is looked at is left out. Paths are compared as the processes wrote them, so a
    container that renamed a device file inside goes unseen.

    Raises:
        HostError: if the process directory itself cannot be read.
    """
    files = fs or RealFS()
    holders: list[Holder] = []
    hidden = 0
    for name in files.list_dir(procfs):
        if not name.isdecimal():
            continue
        process = f"{procfs}/{name}"
        try:
            held = _held(files, process, paths)
        except AccessDeniedError:
            hidden += 1
            continue
        if held:
            holders.append(Holder(int(name), _command(files, process), held))
    return Holders(tuple(sorted(holders)), hidden)


def _held(fs: HostFS, process: str, paths: frozenset[str]) -> tuple[str, ...]:
    try:
        descriptors = fs.list_dir(f"{process}/fd")
    except AccessDeniedError:
        raise
    except HostError:
        return ()  # ended meanwhile
    targets = {_target(fs, f"{process}/fd/{descriptor}") for descriptor in descriptors}
    return tuple(sorted(targets & paths))


def _target(fs: HostFS, descriptor: str) -> str:
    try:
        return fs.read_link(descriptor).removesuffix(_DELETED)
    except AccessDeniedError:
        raise  # root without the right to look into others may list their files, but not see them
    except HostError:
        return ""  # closed meanwhile


def _command(fs: HostFS, process: str) -> str:
    for file, form in (("cmdline", "{}"), ("comm", "[{}]")):
        try:
            text = fs.read_text(f"{process}/{file}").replace("\0", " ").strip()
        except HostError:
            text = ""  # ended meanwhile, or not ours to read
        if text:
            return form.format(text)
    return ""
