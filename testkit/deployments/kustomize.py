"""Kustomizations, as kubectl renders them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from testkit.deployments.monitoring import Json

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to render kustomizations")


def rendered_text(directory: Path) -> str:
    """What ``kubectl kustomize`` makes of a directory.

    Raises:
        AssertionError: if it refuses, with its words.
    """
    command = [shutil.which("kubectl") or "", "kustomize", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(directory: Path) -> list[Json]:
    """The objects of that."""
    return [each for each in yaml.safe_load_all(rendered_text(directory)) if each is not None]
