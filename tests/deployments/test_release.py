"""What can be released is decided by scripts/release_check.py, run as it is on copies of what it reads."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("device-plugin", "feature-discovery", "metrics-exporter", "npu-core")
BUILDX = (
    os.environ.get("PATH", ""),
    *(f"/usr/{place}/docker/cli-plugins" for place in ("libexec", "local/libexec", "lib", "local/lib")),
)
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def check(root: Path, package: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/release_check.py"), package, "--root", str(root), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The device plugin's part of the repository, ready for the release of 1.2.0."""
    package = tmp_path / "services/device-plugin"
    module = package / "src/npu_device_plugin"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text('"""It."""\n\n__version__ = "1.2.0"\n', encoding="utf-8")
    (package / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.0 - 2030-01-31\n\n* New.\n", encoding="utf-8")
    shutil.copy(ROOT / "docker-bake.hcl", tmp_path)
    replace(tmp_path / "docker-bake.hcl", r'(DEVICE_PLUGIN_VERSION" \{ default = )"[^"]*"', r'\1"1.2.0"')
    manifests = tmp_path / "deployments"
    manifests.mkdir()
    (manifests / "device-plugin.yaml").write_text(
        "image: ghcr.io/furiosa-ai/k8s-device-plugin:1.2.0\n", encoding="utf-8"
    )
    (manifests / "images").mkdir()
    (manifests / "images/Dockerfile").write_text(
        f"ARG PYTHON_IMAGE=example.com/python:3.13@sha256:{'a' * 64}\n", encoding="utf-8"
    )
    return tmp_path


def replace(path: Path, pattern: str, by: str) -> None:
    before = path.read_text(encoding="utf-8")
    after = re.sub(pattern, by, before)
    assert after != before
    path.write_text(after, encoding="utf-8")


@pytest.mark.parametrize("package", PACKAGES)
def test_versions_agree_between_releases_too(package: str) -> None:
    done = check(ROOT, package, "--before")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{package}/v\d+\.\d+\.\d+\n", done.stdout)


def test_what_agrees_can_be_released_and_its_tag_is_said(copy: Path) -> None:
    done = check(copy, "device-plugin", "--tag", "device-plugin/v1.2.0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "device-plugin/v1.2.0\n", "")


@pytest.mark.parametrize(
    ("file", "pattern", "by", "said"),
    [
        ("services/device-plugin/src/npu_device_plugin/__init__.py", "1.2.0", "1.2.1", "expected device-plugin/v1.2.1"),
        ("docker-bake.hcl", "1.2.0", "1.1.9", "DEVICE_PLUGIN_VERSION 1.1.9, expected 1.2.0"),
        ("deployments/device-plugin.yaml", ":1.2.0", ":1.2.0-rc", "k8s-device-plugin:1.2.0-rc, expected"),
        ("deployments/device-plugin.yaml", ":1.2.0", "", "expected k8s-device-plugin:1.2.0"),
        ("deployments/device-plugin.yaml", "ghcr.io", "example.com", "no manifest of deployments/ has the image"),
        ("services/device-plugin/CHANGELOG.md", "1.2.0", "1.1.0", 'begins with the entry "1.1.0 - 2030-01-31"'),
        ("services/device-plugin/CHANGELOG.md", "1.2.0 - 2030-01-31", "Unreleased", 'expected "1.2.0 - YYYY-MM-DD"'),
        ("services/device-plugin/CHANGELOG.md", r"\* New.", "", "nothing is listed under"),
        ("services/device-plugin/src/npu_device_plugin/__init__.py", "__version__", "version", "0 versions"),
        ("deployments/images/Dockerfile", "@sha256:a+", "", "run make base-image"),
        ("deployments/images/Dockerfile", "@sha256:aa", "@sha256:a", "run make base-image"),
    ],
)
def test_what_disagrees_is_said_and_cannot_be_released(copy: Path, file: str, pattern: str, by: str, said: str) -> None:
    replace(copy / file, pattern, by)
    done = check(copy, "device-plugin", "--tag", "device-plugin/v1.2.0")
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr


@pytest.mark.parametrize("tag", ["device-plugin/v1.2.1", "v1.2.0", "metrics-exporter/v1.2.0"])
def test_a_tag_of_something_else_is_refused(copy: Path, tag: str) -> None:
    done = check(copy, "device-plugin", "--tag", tag)
    assert done.returncode == 1
    assert f"the tag is {tag}, expected device-plugin/v1.2.0" in done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_takes_its_actions_by_full_commit_hash(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    assert [one for one, _ in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one)] == []
    assert [one for one, rest in used if not re.fullmatch(r"  # v\d+\.\d+\.\d+", rest)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_unless_a_job_says_more(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}


def test_only_a_job_that_signs_gets_an_identity_and_every_job_that_publishes_signs() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
    permissions = {name: job.get("permissions", {}) for name, job in jobs.items()}
    assert permissions == {
        "check": {},
        "image": {"contents": "read", "packages": "write", "id-token": "write"},
        "library": {"contents": "write", "id-token": "write"},
    }
    for name, job in jobs.items():
        script = "\n".join(step.get("run", "") for step in job["steps"])
        assert bool(re.search(r"cosign\"? sign", script)) == ("id-token" in permissions[name])


def test_what_is_signed_is_named_by_digest() -> None:
    """A tag may have moved between the push and the signature."""
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    signed = re.findall(r"cosign (?:sign|verify) .*?(\S+@\S+|\$image)", text)
    assert signed == ['"${image%:*}@$digest"'] * 2


def test_every_image_has_a_tag_that_releases_it() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    # YAML's word for yes.
    assert workflow[True]["push"]["tags"] == [f"{package}/v*" for package in PACKAGES]


def test_the_bake_file_means_what_the_packages_say() -> None:
    """Evaluated by buildx itself, where there is one."""
    buildx = next(filter(None, (shutil.which("docker-buildx", path=place) for place in BUILDX)), None)
    if buildx is None:
        reason = "no docker-buildx to evaluate docker-bake.hcl"
        if os.environ.get("NPU_BUILDX") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    command = [buildx, "bake", "--print", "default", "local"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    targets = json.loads(done.stdout)["target"]
    assert len(targets) == 6
    for service, image in (
        ("device-plugin", "k8s-device-plugin"),
        ("feature-discovery", "npu-feature-discovery"),
        ("metrics-exporter", "npu-metrics-exporter"),
    ):
        tag = check(ROOT, service, "--before").stdout.strip()
        version = tag.partition("/v")[2]
        released, local = targets[service], targets[f"{service}-local"]
        assert released["tags"] == local["tags"] == [f"ghcr.io/furiosa-ai/{image}:{version}"]
        assert released["args"]["SERVICE"] == service
        assert released["args"]["VERSION"] == version
        assert released["platforms"] == ["linux/amd64", "linux/arm64"]
        assert released["attest"] == ["type=sbom", "type=provenance,mode=max"]
        assert "platforms" not in local
        assert (ROOT / released["dockerfile"]).is_file()
