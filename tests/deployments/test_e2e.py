"""What scripts/e2e says where there is no cluster to be had; with one, it is run by `make e2e`."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deployments.monitoring import ROOT

NOT_RUN = 77


def _run(*programs: str, place: Path) -> "subprocess.CompletedProcess[str]":
    """With these programs, of which those that are not the machine's fail, and no others."""
    for program in ("bash", "dirname", "timeout", "env"):
        (place / program).symlink_to(shutil.which(program) or program)
    for program in programs:
        (place / program).write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
        (place / program).chmod(0o755)
    return subprocess.run(
        [str(ROOT / "scripts/e2e")], env={"PATH": str(place)}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ((), "there is no docker"),
        (("docker",), "there is no kind"),
        (("docker", "kind"), "there is no kubectl"),
        (("docker", "kind", "kubectl"), "no Docker engine answers"),
    ],
)
def test_where_something_is_missing_it_says_that_it_was_not_run(
    programs: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = _run(*programs, place=tmp_path)
    assert done.returncode == NOT_RUN
    assert done.stderr == f"e2e: NOT RUN, so nothing was shown: {said}\n"
    assert done.stdout == ""


def test_it_looks_at_every_daemon_set_of_the_manifests() -> None:
    text = (ROOT / "scripts/e2e").read_text(encoding="utf-8")
    for path in ROOT.glob("deployments/*.yaml"):
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if each["kind"] == "DaemonSet":
                assert each["metadata"]["name"] in text
