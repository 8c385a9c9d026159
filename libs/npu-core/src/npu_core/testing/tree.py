"""Writing into a simulated host while somebody reads it: nobody ever sees half an attribute."""

import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ATTRIBUTE_MODE = 0o644
_WRITE_ONLY_MODE = 0o200


class TreeWriter:
    """Writes files, links and device nodes below one directory."""

    def __init__(self, root: Path) -> None:
        """A writer below ``root``, which is made if it is not there."""
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._serials = itertools.count()
        self._pipes: set[Path] = set()

    def write(self, path: str, text: str, mode: int = _ATTRIBUTE_MODE) -> None:
        """Replace a file at once, as the kernel does: a reader gets the old text or the new one."""
        target = self._made(path)
        # Beside the tree, so that no reader lists it, yet on the same file system, so that it can be renamed.
        scratch = self.root / f".writing-{os.getpid()}-{next(self._serials)}"
        scratch.write_text(text, encoding="utf-8")
        scratch.chmod(mode)
        with self._letting_go(target):
            scratch.replace(target)

    def write_only(self, path: str) -> None:
        """A file that a driver would refuse to be read."""
        self.write(path, "", _WRITE_ONLY_MODE)

    def pipe(self, path: str) -> None:
        """A file whose reading blocks until it is replaced or removed, as a read of a hung card does."""
        target = self._made(path)
        target.unlink(missing_ok=True)
        os.mkfifo(target)
        self._pipes.add(target)

    def link(self, path: str, target: str) -> None:
        """A relative link to another path of the tree."""
        place = self._made(path)
        place.unlink(missing_ok=True)
        place.symlink_to(os.path.relpath(self.root / target, place.parent))

    def raw_link(self, path: str, target: str) -> None:
        """A link with exactly this target."""
        place = self._made(path)
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    def character_device(self, path: str, *, real: bool = False) -> None:
        """A character device: a link to /dev/null, which needs no privilege, or a real node, which needs root."""
        place = self._made(path)
        place.unlink(missing_ok=True)
        if real:
            os.mknod(place, 0o660 | stat.S_IFCHR, os.stat(os.devnull).st_rdev)  # noqa: PTH116  # beside mknod
        else:
            place.symlink_to(os.devnull)

    def remove(self, path: str) -> None:
        """Remove a file, a link or a whole directory, if it is there."""
        target = self.root / path
        with self._letting_go(target):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    def make_dir(self, path: str) -> None:
        """Make a directory and those above it."""
        (self.root / path).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _letting_go(self, target: Path) -> Iterator[None]:
        """Whoever is blocked in a pipe that is about to go comes back with nothing read."""
        pipes = {pipe for pipe in tuple(self._pipes) if pipe == target or target in pipe.parents}
        ends = [os.open(pipe, os.O_RDWR | os.O_NONBLOCK) for pipe in pipes if pipe.is_fifo()]
        try:
            yield
        finally:
            for end in ends:
                os.close(end)
            self._pipes -= pipes

    def _made(self, path: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
