"""A node's first process: makes the node's mounts and links, and then waits for processes that nobody else waits for.

``python -m tools.cluster.init FOLDER``, in mount, network and process namespaces of its own. The simulated host in the
folder is bound over /sys/class, /sys/bus, /sys/devices and /dev, and whatever a node writes goes into the folder.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tools.cluster.programs import program

ADDRESS = "10.0.0.1"
BOUND = {
    "kubelet": "/var/lib/kubelet",
    "kubernetes": "/etc/kubernetes",
    "cdi": "/etc/cdi",
    "pods": "/var/log/pods",
    "containers": "/var/log/containers",
}
"""Directories of the folder, and where the node has them."""
_LAYERED = ("etc", "var/lib", "var/log")
"""Directories of the machine that get mount points of the node's; nothing is written into the machine's own."""
_KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet wants these settings to be. They are the whole machine's: the kubelet finds files that say so."""


def main() -> None:
    """Make the node, say so, and wait for ever."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    folder = Path(sys.argv[1])
    _write_places(folder)
    for command in host_mounts(str(folder / "host")):
        _run(*command)
    _pretend_settings(folder / "settings")
    _network()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        signal.sigwait({signal.SIGCHLD})
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _write_places(folder: Path) -> None:
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run")
    for name in ("containerd", "lock", "cni-ipam"):
        Path("/run", name).mkdir()
    for name in _LAYERED:
        upper, work = (folder / "layers" / name.replace("/", "-") / each for each in ("upper", "work"))
        for each in (upper, work):
            each.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "overlay", "-o", f"lowerdir=/{name},upperdir={upper},workdir={work}", "layer", f"/{name}")
    for name, place in BOUND.items():
        (folder / name).mkdir(exist_ok=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", str(folder / name), place)
    _run("mount", "--make-rshared", "/var/lib/kubelet")


def host_mounts(host: str) -> list[list[str]]:
    """The commands that put a simulated host over the node's own /sys/class, /sys/bus, /sys/devices and /dev."""
    return [
        *(["mount", "--bind", f"{host}/sys/{name}", f"/sys/{name}"] for name in ("class", "bus", "devices")),
        ["mount", "-t", "tmpfs", "none", "/sys/block"],
        ["mount", "--bind", f"{host}/dev", "/dev"],
        ["mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620", "devpts", "/dev/pts"],
        ["mount", "-t", "tmpfs", "shm", "/dev/shm"],  # noqa: S108  # the node's own
        ["mount", "-t", "mqueue", "mqueue", "/dev/mqueue"],
    ]


def _pretend_settings(settings: Path) -> None:
    settings.mkdir(exist_ok=True)
    for name, text in _KERNEL.items():
        if Path("/proc/sys", name).exists():
            file = settings / name.replace("/", ".")
            file.write_text(text + "\n", encoding="ascii")
            _run("mount", "--bind", str(file), f"/proc/sys/{name}")


def _network() -> None:
    _run("ip", "link", "set", "lo", "up")
    # A bridge, because not every kernel has dummy links.
    _run("ip", "link", "add", "node0", "type", "bridge")
    _run("ip", "address", "add", f"{ADDRESS}/24", "dev", "node0")
    _run("ip", "link", "set", "node0", "up")
    _run("ip", "route", "add", "default", "via", "10.0.0.254", "dev", "node0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def _run(name: str, *arguments: str) -> None:
    subprocess.run([program(name), *arguments], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
