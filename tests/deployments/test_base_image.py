"""The verb that pins the base image, as it is: skopeo asks a registry of the test's own on the loopback."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TYPE = "application/vnd.oci.image.index.v1+json"
PLACE = "/v2/library/python/manifests/3.13-trixie"


@pytest.fixture(autouse=True)
def _needs_skopeo() -> None:
    if shutil.which("skopeo") is None:
        if os.environ.get("NPU_IMAGES") == "required":
            pytest.fail("no skopeo: run scripts/images-setup skopeo")
        pytest.skip("no skopeo to ask a registry")


def index(*platforms: str, note: str = "") -> bytes:
    """The manifest of a tag that names an image for each platform."""
    images = [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": f"sha256:{hashlib.sha256(each.encode()).hexdigest()}",
            "size": 2,
            "platform": dict(zip(("os", "architecture"), each.split("/"), strict=True)),
        }
        for each in platforms
    ]
    made = {"schemaVersion": 2, "mediaType": TYPE, "manifests": images, "annotations": {"note": note}}
    return json.dumps(made).encode()


@contextmanager
def registry(pages: dict[str, bytes]) -> Iterator[int]:
    """A registry with these pages; its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"{}" if self.path == "/v2/" else pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET  # noqa: N815  # the name that the server looks for

        def log_message(self, *_: object) -> None:
            """Nobody reads that."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def dockerfile(directory: Path, port: int, pinned: str = "") -> Path:
    """The project's own, with the registry of the test."""
    text = (ROOT / "deployments/images/Dockerfile").read_text(encoding="utf-8")
    lines = [
        f"ARG PYTHON_IMAGE=127.0.0.1:{port}/library/python:3.13-trixie{pinned}"
        if line.startswith("ARG PYTHON_IMAGE=")
        else line
        for line in text.splitlines()
    ]
    made = directory / "Dockerfile"
    made.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def run(file: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "scripts/base_image.py"), "--plain-http", "--dockerfile", str(file)]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=environment)


@pytest.mark.parametrize("before", ["", f"@sha256:{'0' * 64}"])
def test_the_digest_of_the_tag_is_written_behind_it_and_nothing_else_changes(tmp_path: Path, before: str) -> None:
    manifest = index("linux/amd64", "linux/arm64", "linux/s390x")
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    with registry({PLACE: manifest}) as port:
        file = dockerfile(tmp_path, port, before)
        old = file.read_text(encoding="utf-8")
        done = run(file)
        assert done.returncode == 0, done.stderr
        assert digest in done.stdout
        tag = f"127.0.0.1:{port}/library/python:3.13-trixie"
        assert file.read_text(encoding="utf-8") == old.replace(tag + before, f"{tag}@{digest}")
        again = run(file)
        assert (again.returncode, again.stdout) == (0, f"{tag} is still {digest}\n")
    assert [each.name for each in tmp_path.iterdir()] == ["Dockerfile"]


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ({}, "manifest"),
        ({PLACE: index("linux/amd64")}, "has no image for linux/arm64"),
        ({PLACE: b'{"schemaVersion": 2, "config": {}}'}, "not a list of images"),
        ({PLACE: b"junk"}, "not a list of images"),
    ],
)
def test_a_tag_that_cannot_be_pinned_is_said_and_the_file_stays(
    tmp_path: Path, pages: dict[str, bytes], said: str
) -> None:
    with registry(pages) as port:
        file = dockerfile(tmp_path, port)
        old = file.read_text(encoding="utf-8")
        done = run(file)
    assert done.returncode == 1
    assert said in done.stderr
    assert file.read_text(encoding="utf-8") == old
