"""The manifests against the schemas of Kubernetes 1.20 to 1.24, which only an old version of the validator has."""

import os
import subprocess
from pathlib import Path

import pytest

from deployments.manifests import ALL
from deployments.monitoring import ROOT

VALIDATOR = ROOT / ".venv-schemas" / "bin" / "kubernetes-validate"
SWITCH = "NPU_SCHEMAS"
OLD_RELEASES = ("1.20", "1.21", "1.22", "1.23", "1.24")


@pytest.fixture(autouse=True)
def _needs_the_old_validator() -> None:
    if VALIDATOR.exists():
        return
    reason = f"{VALIDATOR.parents[1].name} is missing: run scripts/schemas-setup"
    if os.environ.get(SWITCH) == "required":
        pytest.fail(f"{SWITCH}=required, but {reason}", pytrace=False)
    pytest.skip(reason)


def validated(release: str, *files: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(VALIDATOR), "--strict", "--kubernetes-version", release, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("release", OLD_RELEASES)
def test_every_object_is_valid_and_has_no_unknown_field(release: str) -> None:
    done = validated(release, *ALL)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert told.count(f"passed for resource daemonset/furiosa-device-plugin against version {release}") >= 2


def test_an_unknown_field_would_be_noticed(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(ALL[0].read_text().replace("nodeSelector:", "nodeSelectors:"))
    assert validated(OLD_RELEASES[0], wrong).returncode != 0
