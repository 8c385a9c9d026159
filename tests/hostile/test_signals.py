"""Signals at any moment of the start, also as the first process of a container: the service ends, and in good order."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contract.process import environment_of
from npu_core.testing import FakeHost, warboy

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

PATIENCE = 60.0
MODULES = ("npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter")
MOMENTS = [0.005 * step for step in range(60)]
"""Seconds from the start to the signal."""
ENDED = {0, -signal.SIGTERM, 128 + signal.SIGTERM}
"""A service that ended in order, or that the signal ended before its first instruction."""


def _options(module: str, home: Path) -> list[str]:
    return {
        "npu_device_plugin": ["--plugin-dir", str(home), "--listen-address", "off"],
        "npu_feature_discovery": ["--output-file", str(home / "features")],
        "npu_metrics_exporter": ["--listen-address", "127.0.0.1:0", "--pod-labels", "off"],
    }[module]


def _interrupt(command: list[str], environment: dict[str, str], moment: float, number: int) -> int:
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    time.sleep(moment)
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE)
    assert b"Traceback" not in told, told.decode()
    return process.returncode


@pytest.mark.parametrize("module", MODULES)
async def test_a_signal_during_the_start_ends_the_service(module: str, tmp_path: Path) -> None:
    host = FakeHost(tmp_path / "host", warboy(0))
    command = [sys.executable, "-m", module, *_options(module, tmp_path)]
    for moment in MOMENTS:
        status = await asyncio.to_thread(_interrupt, command, environment_of(host), moment, signal.SIGTERM)
        assert status in ENDED, f"status {status} after a signal at {moment:.3f} s"


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")
@pytest.mark.parametrize("module", MODULES)
async def test_a_signal_during_the_start_ends_the_first_process_of_a_container(module: str, tmp_path: Path) -> None:
    host = FakeHost(tmp_path / "host", warboy(0))
    service = [sys.executable, "-m", module, *_options(module, tmp_path)]
    for moment in MOMENTS:
        # timeout(1) stands for the kubelet: the kernel drops a signal that the first process does not handle yet, so
        # whoever sends one signal only may wait for ever. A second one, sent later, must not be needed.
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *service]
        status = await asyncio.to_thread(_interrupt_first, command, environment_of(host), moment)
        assert status == 0, f"status {status} after a signal at {moment:.3f} s"


def _interrupt_first(command: list[str], environment: dict[str, str], moment: float) -> int:
    """Send SIGTERM to the first process of the namespace, once its command is the service's; returns the status."""
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        first = _service_of(process.pid)
        time.sleep(moment)
        os.kill(first, signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return -1
    assert b"Traceback" not in told, told.decode()
    return process.returncode


def _service_of(parent: int) -> int:
    """The child of unshare(1), as soon as Python's interpreter runs in the child."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        if children and Path(f"/proc/{children[0]}/comm").read_text(encoding="ascii").startswith("python"):
            return int(children[0])
    raise AssertionError("the service did not start")
