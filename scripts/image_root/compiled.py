"""Modules compiled once and for all.

A compiled file that goes by its source's time is made anew at each start where times differ, as they do in images, and
cannot be kept where the root is read-only. These are never compared with a source.
"""

import compileall
import py_compile
from collections.abc import Collection
from functools import partial
from pathlib import Path


def compile_all(root: Path, library: Path, site: Path, ours: Collection[str]) -> None:
    """Compile the standard library and the packages; the sources of our own alone stay, for tracebacks.

    Args:
        root: of the image; paths in the compiled files are those inside of it.
        library: the standard library.
        site: the packages.
        ours: the names of our own.

    Raises:
        ValueError: if a module cannot be compiled.
    """
    kept = [site / name for name in ours]
    beside = [path for path in site.iterdir() if path not in kept]
    lone = [*(path for path in library.iterdir() if path != site), *beside]
    for path in kept:
        _compile(path, root, in_place=False)
    for path in lone:
        if path.is_dir() or path.suffix == ".py":
            _compile(path, root, in_place=True)
    for source in [source for path in lone for source in _sources(path)]:
        if not source.with_suffix(".pyc").exists():
            raise ValueError(f"{source} was not compiled")
        source.unlink()


def _compile(path: Path, root: Path, *, in_place: bool) -> None:
    once = partial(
        compileall.compile_dir if path.is_dir() else compileall.compile_file,
        quiet=1,
        legacy=in_place,
        stripdir=str(root),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    done = once(path)
    if not done:
        raise ValueError(f"{path} cannot be compiled")


def _sources(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.suffix == ".py" else []
