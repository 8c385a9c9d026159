"""Runs a vendor library on a fake host: a directory whose `sys/` and `dev/` stand for /sys and /dev.

The libraries have the two paths built in, so a reader runs in a mount namespace of its own, where the tree's
`sys/` lies over /sys and a small tmpfs with real character devices lies over /dev. Nothing is mounted outside
that namespace, and the kernel takes it apart when the reader ends.

This file is both sides: `run_reader` starts it again, through unshare(1), as the program that fills the
namespace and then becomes the reader.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

READER_SECONDS = 60.0
# Nothing of the caller's environment decides what a library does. Colours and hwloc's remarks would only
# clutter the errors.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NO_COLOR": "1", "HWLOC_HIDE_ERRORS": "2"}
# What any program may expect under /dev, whatever the tree says.
COMMON_DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}


class OracleError(Exception):
    """The reader could not be run, or gave no JSON."""


@dataclass(frozen=True, slots=True)
class DevNode:
    """One entry to make below /dev: what the tree's entry leads to, not what it is."""

    name: str
    mode: int
    device: int


def missing_requirement() -> str | None:
    """Why no reader can run here, or None."""
    if os.geteuid() != 0:
        return "a private mount namespace needs root"
    if shutil.which("unshare") is None:
        return "unshare(1) is not installed"
    probe = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False, timeout=READER_SECONDS)
    if probe.returncode:
        return f"no private mount namespace: {probe.stderr.strip()}"
    return None


def run_reader(reader: Path, python: Path, tree: Path) -> object:
    """The JSON that `reader`, run by `python`, prints on the host that `tree` describes.

    Raises:
        OracleError: the namespace or the reader failed, took too long, or printed something else.
    """
    # Only `reader` runs under `python`: the library decides which interpreter that is. This file needs the standard
    # library alone, so it does not wait for what is installed beside it.
    prelude = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), _own_namespace()]
    # `python` stays as given: resolving the link would leave the virtual environment it stands in.
    command = [*_unshare(), *prelude, str(tree.resolve()), str(python.absolute()), str(reader.resolve())]
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=READER_SECONDS,
            cwd="/",
            env=ENVIRONMENT,
        )
    except subprocess.TimeoutExpired as late:
        raise OracleError(f"{reader.name} on {tree}: no answer in {READER_SECONDS:g} s") from late
    said = ended.stderr.strip() or "(nothing on stderr)"
    if ended.returncode:
        raise OracleError(f"{reader.name} on {tree}: exit status {ended.returncode}\n{said}")
    try:
        return json.loads(ended.stdout)
    except json.JSONDecodeError as error:
        raise OracleError(f"{reader.name} on {tree}: {error} in {ended.stdout!r}\n{said}") from error


def _unshare() -> list[str]:
    """The command that gives the next program a mount namespace nobody else sees."""
    return ["unshare", "--mount", "--propagation", "private"]


def dev_nodes(directory: Path) -> list[DevNode]:
    """Everything below `directory`, parents first, with links followed."""
    nodes: list[DevNode] = []
    for entry in sorted(directory.iterdir()):
        status = entry.stat()
        nodes.append(DevNode(entry.name, status.st_mode, status.st_rdev))
        if stat.S_ISDIR(status.st_mode):
            nodes += [DevNode(f"{entry.name}/{below.name}", below.mode, below.device) for below in dev_nodes(entry)]
    return nodes


def make_dev_nodes(root: Path, nodes: list[DevNode]) -> None:
    """Makes `nodes` below `root`; a device file is the device it stands for, and opens as that."""
    for node in nodes:
        path = root / node.name
        if stat.S_ISDIR(node.mode):
            path.mkdir(exist_ok=True)
        elif not path.exists():
            os.mknod(path, node.mode, node.device)


def enter(tree: Path) -> None:
    """Lays `tree` over /sys and /dev. Only ever called in a namespace of its own."""
    # Links in the tree lead to the machine's /dev, so they are followed before it is covered.
    nodes = dev_nodes(tree / "dev")
    common = [DevNode(name, stat.S_IFCHR | 0o666, os.makedev(*at)) for name, at in COMMON_DEVICES.items()]
    # Read-only: a reader that could write would change what the next one sees.
    _mount("--bind", "--options", "ro", str(tree / "sys"), "/sys")
    _mount("--types", "tmpfs", "--options", "mode=755", "tmpfs", "/dev")
    make_dev_nodes(Path("/dev"), common + nodes)


def _own_namespace() -> str:
    return str(Path("/proc/self/ns/mnt").readlink())


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)  # noqa: S607  found on PATH, as unshare is


def main() -> None:
    """`namespace.py OUTER TREE PROGRAM ARGUMENT...`: becomes PROGRAM on the host that TREE describes."""
    outer, tree, program, *arguments = sys.argv[1:]
    if _own_namespace() == outer:
        sys.exit("still in the caller's mount namespace: its /sys and /dev stay as they are")
    enter(Path(tree))
    try:
        os.execv(program, [program, *arguments])  # noqa: S606  no shell is wanted
    except OSError as error:
        sys.exit(f"{program}: {error.strerror}")


if __name__ == "__main__":
    main()
