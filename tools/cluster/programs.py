"""The programs of a node: where scripts/cluster-setup put them, and what is missing."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from testkit.deployments import containers

ROOT = Path(__file__).resolve().parents[2]
_DEBIAN = ("runc", "iptables", "ip", "busybox", "openssl", "unshare", "nsenter", "mount")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MissingError(Exception):
    """Something that a node needs is not on this machine; says what, and what gets it."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs of one combination of releases are.

    Attributes:
        kubernetes: the release, ``1.37``.
        kubernetes_folder: of kubelet, kube-apiserver and the others.
        etcd_folder: of etcd.
        nfd_folder: of Node Feature Discovery's programs and manifests.
        containerd_folder: of containerd, its shim and ctr.
        containerd_major: ``1`` for Debian's, ``2`` for the one that is built.
    """

    kubernetes: str
    kubernetes_folder: Path
    etcd_folder: Path
    nfd_folder: Path
    containerd_folder: Path
    containerd_major: int

    @property
    def path(self) -> str:
        """What PATH is for the programs."""
        return f"{self.containerd_folder}:{self.kubernetes_folder}:{self.etcd_folder}:{_SYSTEM_PATH}"


def found(*, services: bool = True) -> Programs:
    """The programs that the environment variables KUBERNETES and CONTAINERD choose.

    Args:
        services: whether the project's images have to be there too.

    Raises:
        MissingError: if they, the project's images or the rights to use them are not there.
    """
    if os.geteuid() != 0:
        raise MissingError("a real node needs root")
    if absent := [name for name in _DEBIAN if shutil.which(name, path=_SYSTEM_PATH) is None]:
        raise MissingError(f"no {', '.join(absent)}: run scripts/cluster-setup")
    release = os.environ.get("KUBERNETES") or "1.37"
    major = 1 if os.environ.get("CONTAINERD") == "1.6" else 2
    programs = Programs(
        release,
        _folder(f"kubernetes-{release}"),
        _folder("etcd"),
        _folder("nfd"),
        _folder("containerd") if major > 1 else Path("/usr/bin"),
        major,
    )
    if services and (reason := containers.missing()) is not None:
        raise MissingError(reason)
    return programs


def missing(*, services: bool = True) -> str | None:
    """Why no node can be brought up here, with the project's services or without; None if one can."""
    try:
        found(services=services)
    except MissingError as error:
        return str(error)
    return None


def prometheus() -> Path:
    """The folder of prometheus.

    Raises:
        MissingError: if it is not built.
    """
    try:
        return _folder("prometheus")
    except MissingError as error:
        raise MissingError(f"{error} prometheus") from error


def program(name: str) -> str:
    """The path of a program of the system.

    Raises:
        MissingError: if there is none.
    """
    path = shutil.which(name, path=_SYSTEM_PATH)
    if path is None:
        raise MissingError(f"no {name}: run scripts/cluster-setup")
    return path


def storage() -> Path:
    """The folder of everything that is kept between runs."""
    return Path(_storage())


def _folder(module: str) -> Path:
    folder = Path(_storage(module))
    if not (folder / ".ready").exists():
        raise MissingError(f"{module} is not built: run scripts/cluster-setup")
    return folder


def _storage(*module: str) -> str:
    command = [str(ROOT / "scripts/cluster-storage"), *module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise MissingError(done.stderr.strip())
    return done.stdout.strip()
