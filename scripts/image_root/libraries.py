"""The shared libraries that machine code of the image loads from the system, and no other."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

_FOUND = re.compile(r"(?:=> )?(/\S+) \(0x")
_ASKED_FOR_LATER = ("libgcc_s.so.1",)
"""Loaded by the C library when a thread is cancelled, so that nothing names it."""


def copy(root: Path, files: Iterable[Path]) -> list[Path]:
    """Copy what these files of the image are linked with; returns the copies.

    Raises:
        FileNotFoundError: if a library is not found.
    """
    wanted = {library for file in files for library in _linked(file)}
    directories = {library.parent for library in wanted}
    wanted |= {path for name in _ASKED_FOR_LATER for directory in directories if (path := directory / name).exists()}
    # A wheel's own library lies in the image already.
    copies = [_copy(root, library) for library in sorted(wanted) if not library.is_relative_to(root)]
    _say_whose(root, wanted)
    shutil.copy2("/etc/ld.so.conf", root / "etc/ld.so.conf")
    if Path("/etc/ld.so.conf.d").is_dir():
        shutil.copytree("/etc/ld.so.conf.d", root / "etc/ld.so.conf.d")
    _run("ldconfig", "-r", str(root))
    return copies


def strip(files: Iterable[Path]) -> None:
    """Remove what only debuggers and linkers read."""
    for file in files:
        _run("strip", "--strip-unneeded", str(file))


def _linked(file: Path) -> set[Path]:
    told = _run("ldd", str(file), may_fail=True)
    if "not found" in told:
        raise FileNotFoundError(f"{file} is linked with what is not here:\n{told}")
    return {Path(path) for path in _FOUND.findall(told)}


def _copy(root: Path, library: Path) -> Path:
    """Copy a library under its own name, and link to it under the name it was asked for by."""
    itself = library.resolve()
    there = root / itself.relative_to("/")
    there.parent.mkdir(parents=True, exist_ok=True)
    if not there.exists():
        shutil.copy2(itself, there)
    asked = root / library.relative_to("/")
    asked.parent.mkdir(parents=True, exist_ok=True)
    if not asked.exists():
        asked.symlink_to(itself)
    return there


def _say_whose(root: Path, wanted: Iterable[Path]) -> None:
    """Keep the system's records of the packages the libraries are from: scanners look there for what is vulnerable."""
    if shutil.which("dpkg-query") is None:
        return
    places = {str(path) for library in wanted for path in (library, library.resolve())}
    # A merged /usr: packages may own the file under either name.
    places |= {place.removeprefix("/usr") for place in places}
    owners = _run("dpkg-query", "--search", *sorted(places), may_fail=True)
    records = root / "var/lib/dpkg/status.d"
    records.mkdir(parents=True, exist_ok=True)
    packages = {line.rpartition(": ")[0] for line in owners.splitlines() if not line.startswith("diversion")}
    for package in sorted(packages):
        record = _run("dpkg-query", "--status", package)
        (records / package.partition(":")[0]).write_text(record, encoding="utf-8")


def _run(program: str, *arguments: str, may_fail: bool = False) -> str:
    found = shutil.which(program, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"no {program} in the build image")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    if done.returncode != 0 and not may_fail:
        raise OSError(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
