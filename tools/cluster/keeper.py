"""The process that owns a node: boots it, halts it, and leaves nothing behind when whoever asked for it is gone.

``python -m tools.cluster.keeper`` makes a folder and a control group, prints the folder, and takes orders on standard
input, one a line: ``boot`` answers with the process id of the node's first process, ``halt`` ends all processes of the
node. At the end of standard input, which comes when the process at the other end of the pipe ends in whatever way, it
halts the node and removes control group and folder.

A node is a PID namespace, so that the end of its first process is the end of them all, and with them of the mount and
network namespaces, their mounts, links and iptables rules. If the keeper itself is killed, the first process is killed
too; what then is left, a folder and empty control groups, is removed by the next keeper.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.cluster.programs import program

PREFIX = "furiosa-npu-node-"
HOME = Path("/var/tmp")  # noqa: S108  # not /run or /dev/shm, which a node has of its own
_PATIENCE = 20.0


def main() -> int:
    """Keep one node; the exit status."""
    # It ends with its pipe, and by nothing else: not by a Ctrl-C or a closed terminal, which end the other side.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=HOME))
    folder.chmod(0o755)
    with (folder / "lock.new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only now: nobody finds it without its holder.
        (folder / "lock.new").rename(folder / "lock")
        make_groups(folder.name)
        node = _Machine(folder)
        try:
            _say(folder)
            for line in sys.stdin:
                if line.strip() == "boot":
                    _say(node.boot())
                elif line.strip() == "halt":
                    node.halt()
                    _say("halted")
        finally:
            node.halt()
            remove_groups(folder.name)
            _remove(folder)
    return 0


class _Machine:
    """The node's first process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def boot(self) -> int:
        """Start it; its process id, once its mounts and links are made, or 0."""
        namespaces = ["--mount", "--net", "--pid", "--ipc", "--uts", "--propagation", "private", "--mount-proc"]
        with (self._folder / "logs" / "init.log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    *(program("setpriv"), "--pdeathsig", "KILL"),
                    *(program("unshare"), *namespaces, "--fork", "--kill-child=SIGKILL"),
                    *(sys.executable, "-m", "tools.cluster.init", str(self._folder)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            self.halt()
            return 0
        return children(self._process.pid)[0]

    def halt(self) -> None:
        """End every process of the node at once."""
        if self._process is None:
            return
        # The first process, not the one that waits for it: its end is the end of all others, and is over when it is.
        for child in children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        self._process = None
        remove_groups(self._folder.name, keep_root=True)


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def children(pid: int) -> list[int]:
    """The ids of a process's children; none if there is no such process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def hierarchies() -> list[Path]:
    """Where control groups are: one directory, or one for each controller of the first version."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    fields = [line.split() for line in lines]
    return sorted({Path(field[1]) for field in fields if field[2] in {"cgroup", "cgroup2"}})


def make_groups(name: str) -> None:
    """Make a control group of that name in each hierarchy, from which the kubelet's can be made."""
    for root in hierarchies():
        group = root / name
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (group / file).exists() and (root / file).exists():
                (group / file).write_text((root / file).read_text(encoding="ascii"), encoding="ascii")
        for each in (root, group):
            controllers = each / "cgroup.controllers"
            for controller in controllers.read_text(encoding="ascii").split() if controllers.exists() else ():
                with contextlib.suppress(OSError):
                    (each / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")


def remove_groups(name: str, *, keep_root: bool = False) -> None:
    """Remove a control group and all below it; its processes have been killed, and may take a moment to be gone."""
    deadline = time.monotonic() + _PATIENCE
    for root in hierarchies():
        group = root / name
        found = [Path(path) for path, _, _ in os.walk(group, topdown=False)]
        for each in found:
            if each == group and keep_root:
                continue
            while each.exists():
                try:
                    each.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.05)


def sweep() -> None:
    """Remove what nodes left whose keeper was killed: nobody holds the lock of their folder."""
    for folder in HOME.glob(f"{PREFIX}*"):
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_groups(folder.name)
                _remove(folder)
        except OSError:
            continue


def _remove(folder: Path) -> None:
    # What a process that is just ending still holds is tried again.
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
