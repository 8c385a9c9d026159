"""``python -m npu_core.testing``: the simulator as a program."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.host import Host
from testkit.waiting import PATIENCE, until

COMMAND = [sys.executable, "-m", "npu_core.testing"]
AS_DECLARED = 14649
"""Heartbeat of a card that has not begun to work."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def host_at(root: Path) -> Host:
    return Host(f"{root}/sys", f"{root}/dev")


def test_it_writes_a_host_and_says_how_to_use_it(tmp_path: Path) -> None:
    ended = run(str(tmp_path), "--warboy", "2", "--rngd", "1", "--numa", "2")
    assert (ended.returncode, ended.stderr) == (0, "")
    exported = f"export NPU_SYSFS={tmp_path}/sys NPU_DEVFS={tmp_path}/dev NPU_PROCFS={tmp_path}/proc"
    assert ended.stdout.splitlines()[1].strip() == exported
    assert [(each.arch, each.name, each.numa_node) for each in host_at(tmp_path).inventory().devices] == [
        *((Arch.WARBOY, "npu0", 0), (Arch.WARBOY, "npu1", 1), (Arch.RENEGADE, "npu0", 0)),
    ]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["host", "--warboy", "257"], 1),
        (["file/host", "--rngd", "1"], 1),
        (["other"], 1),
        ([], 2),
        (["host", "--warboy", "-1"], 2),
        (["host", "--rngd", "x"], 2),
        (["host", "--numa", "0"], 2),
        (["host", "--interval", "nan"], 2),
        (["host", "--interval", "1_0"], 2),
        (["host", "--cards"], 2),
    ],
)
def test_a_host_that_cannot_be_simulated_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: list[str], status: int
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "other/dev/precious").mkdir(parents=True)
    ended = run(*(str(tmp_path / word) if number == 0 else word for number, word in enumerate(arguments)))
    assert (ended.returncode, ended.stdout) == (status, "")
    assert ended.stderr
    assert not (tmp_path / "host").exists()
    assert (tmp_path / "other/dev/precious").exists()


def test_a_second_run_leaves_no_card_of_the_first_unless_it_is_refused(tmp_path: Path) -> None:
    for cards, status in ((("--warboy", "3", "--rngd", "1"), 0), (("--warboy", "1"), 0), (("--warboy", "300"), 1)):
        assert run(str(tmp_path), *cards).returncode == status
    assert [device.name for device in host_at(tmp_path).inventory().devices] == ["npu0"]
    assert [file.name for file in (tmp_path / "dev").iterdir() if not file.name.startswith("npu0")] == []
    assert run(str(tmp_path)).returncode == 0
    assert host_at(tmp_path).inventory().devices == ()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_live_host_moves_until_it_is_told_to_end(tmp_path: Path, ending: signal.Signals) -> None:
    with running(str(tmp_path), "--warboy", "2", "--rngd", "1", "--live", "--interval", "0.25") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        view = host_at(tmp_path)
        devices = view.inventory().devices
        before = [view.readings(device) for device in devices]
        until(lambda: all(1 <= view.uptime(device) < AS_DECLARED for device in devices), "the heartbeats begin")
        assert all(view.readings(device) != old for device, old in zip(devices, before, strict=True))
        process.send_signal(ending)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".simulated-host", "dev", "proc", "sys"]


def test_it_can_be_told_to_end_as_soon_as_it_has_spoken(tmp_path: Path) -> None:
    with running(str(tmp_path), "--warboy", "1", "--live", "--interval", "0.01") as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
