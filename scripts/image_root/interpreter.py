"""The interpreter and its standard library, at the paths that it has here."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

_NEVER_NEEDED = (
    "__pycache__",
    "config-*",
    "curses",
    "dbm",
    "dist-packages",
    "ensurepip",
    "EXTERNALLY-MANAGED",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "sitecustomize.py",
    "sqlite3",
    "test",
    "tests",
    "tkinter",
    "turtle.py",
    "turtledemo",
    "_curses*",
    "_dbm.*",
    "_gdbm.*",
    "_sqlite3.*",
    "_tkinter.*",
    "readline.*",
    "_test*.so",
    "_ctypes_test*.so",
    "xx*.so",
    "*.a",
    "libpython*",
)
"""Of the standard library: tests, desktop, installers, databases, terminals, and what links programs against it."""

_MERGED = ("bin", "sbin", "lib", "lib64")
"""Where these are links into /usr, the image's are as well: the dynamic linker has a path of its own."""

_FILES = {
    "etc/passwd": "root:x:0:0:root:/:/nonexistent\nnonroot:x:65532:65532:nonroot:/:/nonexistent\n",
    "etc/group": "root:x:0:\nnonroot:x:65532:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_EVERYBODYS = 0o1777


def lay_out(root: Path) -> None:
    """Make the directories and the few files that libraries look for."""
    for name in ("usr/bin", "usr/lib", "etc", "dev", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(_EVERYBODYS)
    for name in _MERGED:
        here = Path("/", name)
        if here.is_symlink():
            target = here.readlink()
            (root / target.relative_to("/") if target.is_absolute() else root / target).mkdir(
                parents=True, exist_ok=True
            )
            (root / name).symlink_to(target)
    for name, text in _FILES.items():
        (root / name).write_text(text, encoding="ascii")


def copy(root: Path) -> list[Path]:
    """Copy the interpreter and the standard library; returns the image's files of machine code among them."""
    program = executable()
    there = root / program.relative_to("/")
    there.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(program, there)
    there.with_name("python3").symlink_to(program.name)
    here = Path(sysconfig.get_path("stdlib"))
    library = root / here.relative_to("/")
    shutil.copytree(here, library, ignore=_unneeded, ignore_dangling_symlinks=True)
    return [there, *machine_code(library)]


def executable() -> Path:
    """The interpreter's program, under its own name."""
    return Path(sys.executable).resolve()


def site(root: Path) -> Path:
    """Where the image's interpreter looks for packages."""
    return root / Path(sysconfig.get_path("purelib")).relative_to("/")


def machine_code(directory: Path) -> list[Path]:
    """Every shared library in a directory."""
    found = (path for path in directory.rglob("*") if ".so" in path.suffixes and not path.is_symlink())
    return sorted(path for path in found if path.is_file())


def _unneeded(directory: str, names: Iterable[str]) -> set[str]:
    names = list(names)
    unneeded = set(shutil.ignore_patterns(*_NEVER_NEEDED)(directory, names))
    # Links out of the standard library lead to what the image does not have.
    return unneeded | {name for name in names if os.path.islink(os.path.join(directory, name))}  # noqa: PTH114, PTH118
