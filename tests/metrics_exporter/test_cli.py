"""The ``npu-metrics-exporter`` command, as far as it goes: its version, and one look at a host."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from npu_core.arch import Arch
from npu_core.testing import FakeHost, rngd, warboy
from npu_metrics_exporter import __version__

PATIENCE = 30
PROGRAM = Path(sys.executable).with_name("npu-metrics-exporter")


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command's end; of its settings, the environment has only what is given."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "NODE_"))}
    return subprocess.run(
        [PROGRAM, *arguments], env=others | environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def seeing(host: FakeHost) -> Mapping[str, str]:
    return {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs}


def test_the_version_is_the_packages() -> None:
    ended = run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"npu-metrics-exporter {__version__}\n", "")


def test_the_module_is_the_same_program() -> None:
    command = [sys.executable, "-m", "npu_metrics_exporter", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == f"npu-metrics-exporter {__version__}\n"


def test_help_tells_of_check() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    assert "check" in ended.stdout


def test_an_option_that_there_is_not_is_a_wrong_use() -> None:
    assert run("--nonsense").returncode == 2


def test_check_of_a_host_that_is_not_there_fails(tmp_path: Path) -> None:
    ended = run("check", "--sysfs", f"{tmp_path}/sys", "--devfs", f"{tmp_path}/dev")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"cannot read the host: {tmp_path}/sys: ENOENT (No such file or directory)\n"


def test_check_tells_every_value_of_every_card(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, rngd(0))
    host.cards[0].set_temperature(51_250, label="PEAK")
    host.cards[0].set_uptime(3600)
    host.cards[0].set_error("device_error", 2)
    ended = run("check", **seeing(host))
    lines = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr, lines[:4]) == (
        0,
        "",
        ["cards: 1", "npu0 (renegade)", "  alive: 1", "  uptime: 3600 s"],
    )
    assert lines[4].startswith("  errors: axi_post_error 0, ")
    assert lines[4].endswith(", device_error 2")
    assert {"  temperature PEAK: 51250", "  temperature AMBIENT: 33000", "  power RMS_TOTAL: 38500000"} < set(lines)


def test_check_tells_why_a_value_cannot_be_read_and_goes_on(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    host.card(Arch.WARBOY, 0).set_attribute("heartbeat", "soon")
    host.card(Arch.WARBOY, 0).die()
    host.card(Arch.WARBOY, 1).set_attribute("platform_type", "VITIS")
    lines = run("check", **seeing(host)).stdout.splitlines()
    assert lines[:3] == ["cards: 1", "npu0 (warboy)", "  alive: 0"]
    assert lines[3].startswith("  uptime: unreadable (")
    assert lines[-1] == "npu1 (warboy) is left out: platform_type is 'VITIS', expected 'FuriosaAI'"


def test_a_host_without_cards_is_no_failure(tmp_path: Path) -> None:
    ended = run("check", **seeing(FakeHost(tmp_path)))
    assert (ended.returncode, ended.stdout) == (0, "cards: 0\n")
