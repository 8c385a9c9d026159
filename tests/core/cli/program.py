"""npuctl, run in this process or as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess

from typer.testing import CliRunner

from npu_core.cli.app import app
from npu_core.testing import FakeHost
from testkit.waiting import PATIENCE

Npuctl = Callable[..., "CompletedProcess[str]"]
COMMAND = [sys.executable, "-m", "npu_core.cli"]
TOP = [*COMMAND, "top", "--interval", "0.1"]
ROOTS = ("NPU_SYSFS", "NPU_DEVFS", "NPU_PROCFS")


def roots(host: FakeHost | None) -> dict[str, str]:
    """The variables that lead to a host."""
    return {} if host is None else dict(zip(ROOTS, (host.sysfs, host.devfs, host.procfs), strict=True))


def environment(host: FakeHost | None, **changes: str) -> dict[str, str]:
    """What a process gets: this one's variables without those that npuctl minds, the host's, and these."""
    minded = {*ROOTS, "NO_COLOR", "TERM"}
    return {name: value for name, value in os.environ.items() if name not in minded} | roots(host) | changes


def npuctl(host: FakeHost | None, *arguments: str, env: dict[str, str] | None = None) -> "CompletedProcess[str]":
    """A command line on a host, in this process."""
    variables = dict.fromkeys(ROOTS) | roots(host) | (env or {})
    result = CliRunner(env=variables).invoke(app, arguments, catch_exceptions=False, prog_name="npuctl")
    return CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


def npuctl_alone(host: FakeHost | None, *arguments: str, env: dict[str, str] | None = None) -> "CompletedProcess[str]":
    """A command line on a host as a process of its own, its output in pipes."""
    return run(*COMMAND, *arguments, env=environment(host, **(env or {})))


def run(*command: str, env: dict[str, str]) -> "CompletedProcess[str]":
    """A program with its output in pipes."""
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)


@contextmanager
def started(command: list[str], env: dict[str, str]) -> "Iterator[subprocess.Popen[str]]":
    """A program that goes on, with its output in pipes; killed at the end."""
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
