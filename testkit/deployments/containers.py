"""An image's service in a container, started as its manifest says: the same command, rights, environment and mounts.

Images are built by scripts/images-buildah; their root is mounted, and crun runs it.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from testkit.services.process import ServiceProcess

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "device-plugin": "k8s-device-plugin",
    "feature-discovery": "npu-feature-discovery",
    "metrics-exporter": "npu-metrics-exporter",
}
"""Services, and what their images are called."""
MANIFESTS = {
    "device-plugin": "device-plugin.yaml",
    "feature-discovery": "npu-feature-discovery.yaml",
    "metrics-exporter": "npu-metrics-exporter.yaml",
}
PROGRAMS = ("buildah", "crun", "unshare")
_CONTROL_GROUPS = 'umount --recursive /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
"""In a mount namespace of its own: whatever the machine has there, crun finds the one layout that it knows."""
_MILLION = 1_000_000


def missing() -> str | None:
    """Why no container can be run here; None if one can."""
    if os.geteuid() != 0:
        return "containers need root"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"no {', '.join(absent)}: run scripts/images-setup"
    for service in NAMES:
        if _buildah("inspect", "--type", "image", image_name(service), check=False).returncode != 0:
            return f"there is no {image_name(service)}: run scripts/images-buildah"
    return None


def version(service: str) -> str:
    """The version that a service's package says."""
    [init] = ROOT.glob(f"services/{service}/src/*/__init__.py")
    [line] = [line for line in init.read_text(encoding="utf-8").splitlines() if line.startswith("__version__")]
    return line.split('"')[1]


def image_name(service: str) -> str:
    """The image that scripts/images-buildah makes of it."""
    return f"localhost/{NAMES[service]}:{version(service)}"


class Image:
    """An image's root, mounted. Used as ``with Image("device-plugin") as image:``.

    Attributes:
        root: its root directory.
        settings: what its configuration says: ``Entrypoint``, ``User``, ``Env``, ``Labels``.
    """

    def __init__(self, service: str) -> None:
        """The image of this service; not mounted yet."""
        self.service = service
        told = json.loads(_buildah("inspect", "--type", "image", image_name(service)).stdout)
        self.settings: dict[str, Any] = told["OCIv1"]["config"]
        self.root = Path("/")
        self._container = ""

    def __enter__(self) -> Self:
        self._container = _buildah("from", "--pull-never", image_name(self.service)).stdout.strip()
        self.root = Path(_buildah("mount", self._container).stdout.strip())
        return self

    def __exit__(self, *_: object) -> None:
        _buildah("rm", self._container)

    def megabytes(self) -> float:
        """What all of its files come to, in millions of bytes."""
        files = (path.lstat() for path in self.root.rglob("*") if not path.is_dir())
        return sum(status.st_size for status in files) / _MILLION


class Container(ServiceProcess):
    """A container of an image. Used as ``async with Container(image, command, ...) as container:``."""

    def __init__(  # as much as a container has
        self,
        image: Image,
        command: list[str],
        *,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[str, tuple[Path, bool]] | None = None,
        user: tuple[int, int] | None = None,
    ) -> None:
        """A container that is not started yet; it has no capability, a root it cannot write, and the host's network.

        Args:
            image: what it is of.
            command: its command line.
            environment: added to the image's.
            mounts: from paths inside to directories here, and whether they can only be read.
            user: user and group; those of the image if None.
        """
        super().__init__(image.settings["Labels"]["org.opencontainers.image.title"], command, environment or {})
        self._image = image
        self._mounts = dict(mounts or {})
        uid, gid = user if user is not None else map(int, image.settings["User"].split(":"))
        self._user = {"uid": uid, "gid": gid}
        self._home = Path(tempfile.mkdtemp(prefix="c-"))

    @classmethod
    def of_manifest(cls, image: Image, host_paths: Mapping[str, Path], environment: Mapping[str, str]) -> "Container":
        """A container as the image's manifest says.

        Args:
            image: what it is of.
            host_paths: for each directory of the host, and ConfigMap, that the manifest mounts, one here.
            environment: what the manifest sets otherwise; what it does not set is left out.
        """
        path = ROOT / "deployments" / MANIFESTS[image.service]
        documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        [daemons] = [document for document in documents if document["kind"] == "DaemonSet"]
        pod = daemons["spec"]["template"]["spec"]
        [spec] = pod["containers"]
        context = spec["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        given = {one["name"]: one.get("value", "this-node") for one in spec["env"]}
        made = cls(
            image,
            [*spec["command"], *spec.get("args", [])],
            environment={name: environment.get(name, value) for name, value in given.items()},
            user=(context["runAsUser"], context["runAsGroup"]),
        )
        empty = made._home / "empty"
        empty.mkdir()
        made._mounts = {
            mount["mountPath"]: (_source(volumes[mount["name"]], host_paths, empty), mount.get("readOnly", False))
            for mount in spec["volumeMounts"]
        }
        return made

    async def start(self) -> None:
        """Start it."""
        (self._home / "config.json").write_text(json.dumps(self._configuration()), encoding="utf-8")
        crun = ["crun", "--root", str(self._home / "run"), "--cgroup-manager=disabled", "run"]
        self._process = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "sh", "-c", _CONTROL_GROUPS, "sh"),
            *(*crun, "--bundle", str(self._home), self._home.name),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read_log())

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        await super().__aexit__(kind, *rest)
        shutil.rmtree(self._home)

    def _configuration(self) -> dict[str, Any]:
        made = dict(one.split("=", 1) for one in self._image.settings["Env"]) | self._environment
        nothing: list[str] = []
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": self._user,
                "args": self._arguments,
                "env": [f"{name}={value}" for name, value in made.items()],
                "cwd": "/",
                "noNewPrivileges": True,
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), nothing),
            },
            "root": {"path": str(self._image.root), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                *(_mount(inside, here, read_only=only) for inside, (here, only) in self._mounts.items()),
            ],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
        }


def run(image: Image, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command inside of an image, as root of its files alone."""
    return subprocess.run(
        [_program("chroot"), str(image.root), *command], capture_output=True, text=True, timeout=60, check=False, env={}
    )


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
    assert found is not None, f"no {name}"
    return found


def _source(volume: dict[str, Any], host_paths: Mapping[str, Path], empty: Path) -> Path:
    """The directory here that stands for a volume; made where the kubelet would make it."""
    if "emptyDir" in volume:
        return empty
    if "configMap" in volume:
        return host_paths[volume["configMap"]["name"]]
    wanted = Path(volume["hostPath"]["path"])
    near = next(each for each in (wanted, *wanted.parents) if str(each) in host_paths)
    here = host_paths[str(near)] / wanted.relative_to(near)
    if volume["hostPath"]["type"] == "DirectoryOrCreate":
        here.mkdir(exist_ok=True)
    return here


def _mount(inside: str, here: Path, *, read_only: bool) -> dict[str, Any]:
    options = ["rbind", "ro" if read_only else "rw"]
    return {"destination": inside, "type": "bind", "source": str(here), "options": options}


def _buildah(command: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    place = subprocess.run(
        [str(ROOT / "scripts/images-storage")], capture_output=True, text=True, timeout=10, check=True
    ).stdout.strip()
    store = ["--root", f"{place}/storage", "--runroot", f"{place}/run", "--storage-driver", "vfs"]
    done = subprocess.run(
        [_program("buildah"), *store, command, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    if check and done.returncode != 0:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return done
