"""What `make e2e` says where kind cannot make a node."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.cluster.programs import ROOT

NOT_RUN = 77


def _run(*programs: str, place: Path) -> "subprocess.CompletedProcess[str]":
    """With these programs, of which each one fails, and no others."""
    for program in programs:
        (place / program).write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
        (place / program).chmod(0o755)
    (place / "sh").symlink_to(shutil.which("sh") or "sh")
    environment = {"PATH": str(place), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tools.cluster.kind"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ((), "there is no docker"),
        (("docker",), "there is no kind"),
        (("docker", "kind"), "there is no kubectl"),
        (("docker", "kind", "kubectl"), "no Docker engine answers"),
    ],
)
def test_where_something_is_missing_it_says_that_nothing_was_run(
    programs: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = _run(*programs, place=tmp_path)
    assert done.returncode == NOT_RUN
    assert done.stderr == f"e2e: NOTHING WAS TESTED on a node of kind: {said}\n"
