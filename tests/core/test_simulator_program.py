"""``python -m npu_core.testing``: the simulator as a program."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.host import Host

Eventually = Callable[[Callable[[], bool]], None]

DEADLINE = 20.0
AS_DECLARED = 14649
"""Heartbeat of a card that has not begun to work."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "npu_core.testing", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "npu_core.testing", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_writes_a_host_and_says_how_to_use_it(tmp_path: Path) -> None:
    ended = run(str(tmp_path / "host"), "--warboy", "2", "--rngd", "1", "--numa", "2")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "simulated host with 3 NPUs (no real hardware):",
        f"  export NPU_SYSFS={tmp_path}/host/sys NPU_DEVFS={tmp_path}/host/dev NPU_PROCFS={tmp_path}/host/proc",
    ]
    devices = Host(f"{tmp_path}/host/sys", f"{tmp_path}/host/dev").inventory().devices
    assert [(device.arch, device.name, device.numa_node) for device in devices] == [
        (Arch.WARBOY, "npu0", 0),
        (Arch.WARBOY, "npu1", 1),
        (Arch.RENEGADE, "npu0", 0),
    ]


def test_a_host_may_have_no_cards(tmp_path: Path) -> None:
    assert run(str(tmp_path)).returncode == 0
    assert Host(f"{tmp_path}/sys", f"{tmp_path}/dev").inventory().devices == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["host", "--warboy", "257"], "cannot simulate this host: card index 256: expected 0-255"),
        (["file/host", "--rngd", "1"], "cannot simulate this host: [Errno 20]"),
        (["other"], "cannot simulate this host: "),
    ],
)
def test_a_host_that_cannot_be_simulated_is_exit_status_1_and_a_message(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "other/dev/precious").mkdir(parents=True)
    ended = run(str(tmp_path / arguments[0]), *arguments[1:])
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(message)
    assert not (tmp_path / "host").exists()
    assert (tmp_path / "other/dev/precious").exists()


def test_a_second_run_leaves_no_card_of_the_first(tmp_path: Path) -> None:
    for cards in (("--warboy", "3", "--rngd", "1"), ("--warboy", "1")):
        ended = run(str(tmp_path), *cards)
        assert (ended.returncode, ended.stderr) == (0, "")
    assert [device.name for device in Host(f"{tmp_path}/sys", f"{tmp_path}/dev").inventory().devices] == ["npu0"]
    assert [file.name for file in (tmp_path / "dev").iterdir() if not file.name.startswith("npu0")] == []


def test_a_host_that_is_refused_leaves_the_one_of_the_run_before(tmp_path: Path) -> None:
    assert run(str(tmp_path), "--warboy", "1").returncode == 0
    assert run(str(tmp_path), "--warboy", "300").returncode == 1
    assert len(Host(f"{tmp_path}/sys", f"{tmp_path}/dev").inventory().devices) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--warboy", "-1"], "argument --warboy: '-1' is no number of 0 or more"),
        (["--rngd", "x"], "argument --rngd: 'x' is no number of 0 or more"),
        (["--numa", "0"], "argument --numa: '0' is no number of 1 or more"),
    ],
)
def test_a_number_of_cards_that_cannot_be_is_refused_with_the_option(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = run(str(tmp_path / "host"), *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert not (tmp_path / "host").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["host", "--interval", "0"],
        ["host", "--interval", "nan"],
        ["host", "--interval", "1_0"],
        ["host", "--cards"],
    ],
)
def test_a_wrong_command_line_is_exit_status_2(tmp_path: Path, arguments: list[str]) -> None:
    ended = run(*(str(tmp_path / word) if word == "host" else word for word in arguments))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "usage: python -m npu_core.testing" in ended.stderr


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_live_host_moves_until_it_is_told_to_end(
    tmp_path: Path, eventually: Eventually, ending: signal.Signals
) -> None:
    with running(str(tmp_path), "--warboy", "2", "--rngd", "1", "--live", "--interval", "0.25") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        view = Host(f"{tmp_path}/sys", f"{tmp_path}/dev")
        devices = view.inventory().devices
        assert len(devices) == 3
        before = [view.readings(device) for device in devices]
        eventually(lambda: all(1 <= view.uptime(device) < AS_DECLARED for device in devices))
        assert all(view.readings(device) != old for device, old in zip(devices, before, strict=True))
        process.send_signal(ending)
        assert process.wait(DEADLINE) == 0
        assert process.stderr.read() == ""
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".simulated-host", "dev", "proc", "sys"]


def test_it_can_be_told_to_end_as_soon_as_it_has_spoken(tmp_path: Path) -> None:
    with running(str(tmp_path), "--warboy", "1", "--live", "--interval", "0.01") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
