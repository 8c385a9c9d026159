"""What the machine around a node looks like: all that a node must not leave or change there."""

import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

from tools.cluster.keeper import hierarchies
from tools.cluster.programs import program

_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
)
_DIRECTORIES = (
    "/etc",
    "/etc/cdi",
    "/etc/cni",
    "/etc/kubernetes",
    "/opt",
    "/run/containerd",
    "/var/lib",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log",
    "/var/log/containers",
    "/var/log/pods",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """One look at it.

    Attributes:
        mounts: mount points.
        links: names of network links.
        rules: of iptables, without their counters.
        settings: of the kernel, by their path below /proc/sys.
        files: names in directories that a node has its own of.
    """

    mounts: tuple[str, ...]
    links: tuple[str, ...]
    rules: tuple[str, ...]
    settings: tuple[str, ...]
    files: tuple[str, ...]

    def changes(self, before: "Machine") -> list[str]:
        """What is other than it was: each line with ``+`` or ``-``."""
        was, now = (
            {f"{field.name}: {each}" for field in fields(one) for each in getattr(one, field.name)}
            for one in (before, self)
        )
        return sorted([f"+ {each}" for each in now - was] + [f"- {each}" for each in was - now])


def look() -> Machine:
    """The machine now, as seen from outside of every node."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    rules = subprocess.run([program("iptables-save")], capture_output=True, text=True, timeout=30, check=False).stdout
    return Machine(
        mounts=tuple(sorted(line.split()[1] for line in mounts)),
        links=tuple(sorted(path.name for path in Path("/sys/class/net").iterdir())),
        rules=tuple(line for line in rules.splitlines() if line.startswith("-")),
        settings=tuple(f"{name}={_text(Path('/proc/sys', name))}" for name in _SETTINGS),
        files=tuple(sorted(str(path) for name in _DIRECTORIES for path in _entries(Path(name)))),
    )


def left_of(folder: Path) -> list[Path]:
    """The folder of a node and its control groups, as far as they are there. Other nodes may come and go beside it."""
    return [path for path in (folder, *(root / folder.name for root in hierarchies())) if path.exists()]


def processes_in(namespace: str) -> list[int]:
    """The processes of a PID namespace, by what ``/proc/PID/ns/pid`` links to."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "ns/pid").readlink()) == namespace:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def naming(folder: str) -> list[int]:
    """The processes whose command line names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if folder.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip() if path.exists() else ""
