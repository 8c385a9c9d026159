from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from npu_core.cli import processes
from npu_core.holders import Holders
from npu_core.testing import FakeHost, rngd, warboy

Npuctl = Callable[..., "CompletedProcess[str]"]


def test_every_process_is_shown_once_for_each_card_it_holds(tmp_path: Path, program: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    host.run_process(4242, ["python3", "serve.py"], ["/dev/rngd/npu0pe0-3", "/dev/npu0_mgmt", "/dev/npu0pe0"])
    host.run_process(77, ["bench"], ["/dev/null", "/dev/npu0pe1"])
    host.run_process(78, ["bystander"], ["/dev/null"])
    answer = program(host, "ps")
    assert answer.stdout == (
        "+------+------+------------------+-------------------+------------------+\n"
        "| PID  | NPU  | Name             | Device files      | Command          |\n"
        "+------+------+------------------+-------------------+------------------+\n"
        "|   77 | npu0 | FuriosaAI Warboy | npu0pe1           | bench            |\n"
        "| 4242 | npu0 | FuriosaAI Warboy | npu0_mgmt npu0pe0 | python3 serve.py |\n"
        "| 4242 | npu0 | FuriosaAI RNGD   | rngd/npu0pe0-3    | python3 serve.py |\n"
        "+------+------+------------------+-------------------+------------------+\n"
    )
    assert (answer.stderr, answer.returncode) == ("", 0)


def test_nobody_is_said_plainly(tmp_path: Path, npuctl: Npuctl) -> None:
    answer = npuctl(FakeHost(tmp_path, warboy(0), warboy(1)), "ps")
    assert answer.stdout == "No process holds a device file of the 2 NPUs of this host.\n"
    assert (answer.stderr, answer.returncode) == ("", 0)


def test_nobody_is_not_claimed_of_processes_that_cannot_be_seen() -> None:
    assert processes.nobody(1, hidden=2) == (
        "No process that can be inspected holds a device file of the 1 NPU of this host."
    )


@pytest.mark.parametrize(
    ("hidden", "notes"),
    [
        (0, []),
        (1, ["1 process could not be inspected; run as root to see all of them"]),
        (5, ["5 processes could not be inspected; run as root to see all of them"]),
    ],
)
def test_the_operator_is_told_how_many_processes_were_not_seen(hidden: int, notes: list[str]) -> None:
    assert list(processes.hidden_note(Holders(hidden=hidden))) == notes


def test_a_process_that_ended_is_gone(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(77, ["bench"], ["/dev/npu0pe1"])
    assert "bench" in npuctl(host, "ps").stdout
    host.end_process(77)
    assert "bench" not in npuctl(host, "ps").stdout
