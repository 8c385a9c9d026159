"""The ``npu-feature-discovery`` command, as far as it goes: its version, and one look at a host."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from npu_core.arch import Arch
from npu_core.testing import FakeHost, rngd, warboy
from npu_feature_discovery import __version__

PATIENCE = 30
PROGRAM = Path(sys.executable).with_name("npu-feature-discovery")


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
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"npu-feature-discovery {__version__}\n", "")


def test_the_module_is_the_same_program() -> None:
    command = [sys.executable, "-m", "npu_feature_discovery", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == f"npu-feature-discovery {__version__}\n"


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


def test_check_tells_what_labels_are_made_of(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0), warboy(3, driver=""), vendor="Supermicro", machine="SYS-421GE")
    host.card(Arch.WARBOY, 3).set_attribute("device_type", "Warboy")
    ended = run("check", **seeing(host))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "machine: Supermicro, SYS-421GE",
        "cards: 3",
        "  npu0: warboyB0 (warboy), driver 1.9.2, 3def9c2",
        "  npu3: warboyB0 (warboy), driver unknown",
        "  npu0: rngd (renegade), driver 2026.1.2, e28c5c0",
    ]


def test_check_tells_what_is_left_out_and_what_the_machine_does_not_say(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), vendor="", machine="")
    host.set_machine(None, None)
    host.card(Arch.WARBOY, 0).set_attribute("platform_type", "VITIS")
    assert run("check", **seeing(host)).stdout.splitlines() == [
        "machine: unknown vendor, unknown name",
        "cards: 0",
        "  npu0 (warboy) is left out: platform_type is 'VITIS', expected 'FuriosaAI'",
    ]


def test_a_host_without_cards_is_no_failure(tmp_path: Path) -> None:
    ended = run("check", **seeing(FakeHost(tmp_path)))
    assert (ended.returncode, ended.stdout) == (0, "machine: Dell Inc., PowerEdge R750\ncards: 0\n")
