"""Signals at any moment, also to the first process of a container, and logs that cannot be written."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from npu_core.testing import FakeHost, warboy
from testkit.services.configured import free_port
from testkit.services.process import environment_of
from testkit.waiting import PATIENCE, until
from tests.hostile.node import AttackedNode, StartNode

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

MODULES = ("npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter")
MOMENTS = [0.008 * step for step in range(40)]
"""Seconds from the start to the signal."""
ENDED = {0, -signal.SIGTERM}
"""A service that ended in good order, or that the signal ended while the interpreter itself started."""


def _command(module: str, home: Path) -> list[str]:
    options = {
        "npu_device_plugin": ["--plugin-dir", str(home), "--listen-address", "off"],
        "npu_feature_discovery": ["--output-file", str(home / "features")],
        "npu_metrics_exporter": ["--listen-address", f"127.0.0.1:{free_port()}", "--pod-labels", "off"],
    }[module]
    return [sys.executable, "-m", module, *options]


@pytest.mark.parametrize("module", MODULES)
async def test_a_signal_during_the_start_ends_the_service(module: str, tmp_path: Path, socket_dir: Path) -> None:
    host = FakeHost(tmp_path / "host", warboy(0))
    command = _command(module, socket_dir)
    for moment in MOMENTS:
        status = await asyncio.to_thread(_interrupt, command, environment_of(host), moment)
        assert status in ENDED, f"status {status} after a signal at {moment:.3f} s"


def _interrupt(command: list[str], environment: dict[str, str], moment: float) -> int:
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        time.sleep(moment)
        process.terminate()
        return _ended(process)


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")
@pytest.mark.parametrize("module", MODULES)
async def test_the_first_process_of_a_container_ends_by_any_signal_that_comes_once_it_holds_signals(
    module: str, tmp_path: Path, socket_dir: Path
) -> None:
    host = FakeHost(tmp_path / "host", warboy(0))
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *_command(module, socket_dir)]
    held = 0
    for moment in MOMENTS:
        was_held, status = await asyncio.to_thread(_interrupt_first, command, environment_of(host), moment)
        held += was_held
        assert status == 0, f"status {status} after a signal at {moment:.3f} s"
    assert held, "no signal came late enough to show anything"


def _interrupt_first(command: list[str], environment: dict[str, str], moment: float) -> tuple[bool, int]:
    """Send SIGTERM to the first process of a PID namespace.

    The kernel drops a signal that the first process neither handles nor holds back. No Python program can hold it back
    before its own first line, so a second signal follows if the first one may have come before that line.

    Returns:
        Whether the service held signals before the first one was sent; its exit status.
    """
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            first = _service_of(process.pid)
            time.sleep(moment)
            was_held = _holds(first)
            os.kill(first, signal.SIGTERM)
            if not was_held:
                until(lambda: _holds(first) or process.poll() is not None, "the service holds signals")
                _send(first)
            return was_held, _ended(process)
        finally:
            process.kill()


def _send(pid: int) -> None:
    """Send SIGTERM, unless the process has ended."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """The exit status of a process that must end now, without a traceback."""
    _, told = process.communicate(timeout=PATIENCE)
    assert b"Traceback" not in told, told.decode()
    return process.returncode


def _service_of(parent: int) -> int:
    """The child of unshare(1), as soon as Python's interpreter runs in the child."""
    found: list[int] = []

    def runs() -> bool:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        found[:] = [int(each) for each in children if Path(f"/proc/{each}/comm").read_text().startswith("python")]
        return bool(found)

    until(runs, "the service starts")
    return found[0]


def _holds(pid: int) -> bool:
    """Whether the process holds SIGTERM back, or handles it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    masks = dict(line.split(":", 1) for line in lines)
    return any(int(masks[name], 16) & 1 << (signal.SIGTERM - 1) for name in ("SigBlk", "SigCgt") if name in masks)


async def test_hangups_without_end_stop_nothing(start_node: StartNode) -> None:
    config = "disabledDevices: [{devName: npu1}]\n"
    node = await start_node(warboy(0), warboy(1), config=config)
    async with node.works() as checks:
        await _hang_up(node, 300)
        await checks.rounds()
    assert node.node.kubelet.view().registrations("beta.furiosa.ai/npu") == 1


async def _hang_up(node: AttackedNode, number: int) -> None:
    for _ in range(number):
        for target in node.targets:
            target.process.hang_up()
        await asyncio.sleep(0.01)


async def test_a_log_that_nobody_reads_stops_nothing(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    for target in node.targets:
        target.process.stop_reading_log()
    async with node.works() as checks:
        await _hang_up(node, 100)
        await checks.rounds(50)
    for target in node.targets:
        target.process.read_log_again()


async def test_a_log_whose_reader_has_gone_stops_nothing(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    for target in node.targets:
        target.process.lose_log()
    async with node.works() as checks:
        await _hang_up(node, 100)
        await checks.rounds(50)
