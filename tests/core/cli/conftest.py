import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from npu_core.cli.app import app
from npu_core.testing import FakeHost

Npuctl = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(host: FakeHost | None, changes: dict[str, str] | None) -> dict[str, str]:
    """The variables that npuctl minds, and no other of its variables from outside."""
    roots = {} if host is None else {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs, "NPU_PROCFS": host.procfs}
    return roots | (changes or {})


@pytest.fixture
def npuctl() -> Npuctl:
    """Runs a command line on a host in this process: ``npuctl(host, "info", env={...})``."""

    def run(
        host: FakeHost | None, *arguments: str, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        variables = dict.fromkeys(("NPU_SYSFS", "NPU_DEVFS", "NPU_PROCFS")) | environment(host, env)
        result = CliRunner(env=variables).invoke(app, arguments, catch_exceptions=False, prog_name="npuctl")
        return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def program() -> Npuctl:
    """Runs a command line on a host as a process of its own, its output in pipes."""

    def run(
        host: FakeHost | None, *arguments: str, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NPU_")}
        return subprocess.run(
            [sys.executable, "-m", "npu_core.cli", *arguments],
            env=inherited | environment(host, env),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    return run
