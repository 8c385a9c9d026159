"""The images of a node, as archives that containerd imports: made once, and kept beside the programs."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from testkit.deployments.containers import MANIFESTS, NAMES, image_name
from tools.cluster.programs import ROOT, MissingError, Programs, program, storage

PAUSE = "localhost/pause:1"
NFD = "localhost/node-feature-discovery:built"
UBUNTU = "docker.io/library/ubuntu:focal"
"""The image of pod-example; here it holds busybox alone."""


def of_pods() -> list[Path]:
    """One archive for each image that pods of tests need."""
    folder = _folder()
    shell = {"/bin/busybox": Path(program("busybox")), "/bin/sh": Path(program("busybox"))}
    return [
        _made(folder / "pause.tar", PAUSE, shell, ["/bin/busybox", "sleep", "1000000000"], user=""),
        _made(folder / "ubuntu.tar", UBUNTU, shell, ["/bin/sh"], user=""),
    ]


def of_services(programs: Programs) -> list[Path]:
    """One archive for each image of the project and of Node Feature Discovery.

    Raises:
        MissingError: if the project's own images are not built.
    """
    folder = _folder()
    nfd = {f"/usr/bin/{name}": programs.nfd_folder / name for name in ("nfd-worker", "nfd-master", "nfd-gc")}
    return [
        *(_of_service(folder, service) for service in NAMES),
        # Its manifests ask for a user that is not root, which takes a number.
        _made(folder / f"{programs.nfd_folder.name}.tar", NFD, nfd, ["/usr/bin/nfd-master"], user="65534:65534"),
    ]


def _folder() -> Path:
    folder = storage() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def of_manifest(service: str) -> str:
    """The name that a service's image has in its manifest."""
    path = ROOT / "deployments" / MANIFESTS[service]
    documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    [daemons] = [document for document in documents if document["kind"] == "DaemonSet"]
    [container] = daemons["spec"]["template"]["spec"]["containers"]
    name: str = container["image"]
    return name


def _of_service(folder: Path, service: str) -> Path:
    """The archive of an image that scripts/images-buildah made, under the name that the manifest has."""
    place = subprocess.run([str(ROOT / "scripts/images-storage")], capture_output=True, text=True, check=True)
    home = place.stdout.strip()
    buildah = [program("buildah"), "--log-level", "error", "--root", f"{home}/storage", "--runroot", f"{home}/run"]
    buildah += ["--storage-driver", "vfs"]
    asked = subprocess.run(
        [*buildah, "inspect", "--type", "image", "--format", "{{.FromImageID}}", image_name(service)],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        raise MissingError(f"there is no {image_name(service)}: run scripts/images-buildah")
    archive = folder / f"{service}-{asked.stdout.strip()[:16]}.tar"
    if not archive.exists():
        for old in folder.glob(f"{service}-*.tar*"):
            old.unlink(missing_ok=True)
        fresh = archive.with_suffix(".tar.new")
        fresh.unlink(missing_ok=True)
        target = f"docker-archive:{fresh}:{of_manifest(service)}"
        subprocess.run([*buildah, "push", "--quiet", image_name(service), target], capture_output=True, check=True)
        fresh.rename(archive)
    return archive


def _made(archive: Path, name: str, files: Mapping[str, Path], entry: list[str], *, user: str) -> Path:
    """An image of one layer with these files, from paths in the image to files here."""
    if archive.exists():
        return archive
    layer = _layer(files)
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": entry, "User": user, "Env": ["PATH=/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    fresh = archive.with_suffix(".tar.new")
    with tarfile.open(fresh, "w") as tar:
        for path, content in (
            (config_name, config),
            (f"{digest}.tar", layer),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    fresh.rename(archive)
    return archive


def _layer(files: Mapping[str, Path]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        folders = {str(parent) for path in files for parent in Path(path.lstrip("/")).parents} - {"."}
        for folder in sorted(folders):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for path, source in files.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.mode, info.size = 0o755, source.stat().st_size
            with source.open("rb") as file:
                tar.addfile(info, file)
    return content.getvalue()
