"""Which processes hold device files: ``npuctl ps``."""

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from npu_core.cli import processes
from npu_core.holders import Holder, Holders
from npu_core.testing import FakeHost, rngd, warboy
from testkit.waiting import PATIENCE, until
from tests.core.cli.program import COMMAND, Npuctl, environment, started


def is_waited_at(pipe: str) -> bool:
    """Whether a process has opened the pipe for reading: only then may it be opened for writing without waiting."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False
    return True


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
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    host.run_process(77, ["bench"], ["/dev/npu0pe1"])
    assert "bench" in npuctl(host, "ps").stdout
    host.end_process(77)
    answer = npuctl(host, "ps")
    assert answer.stdout == f"{processes.nobody(2, complete=True)}\n"
    assert (answer.stderr, answer.returncode) == ("", 0)
    assert processes.nobody(2, complete=False) != processes.nobody(2, complete=True)


@pytest.mark.parametrize("command", ["ps", "list"])
def test_a_container_is_never_told_that_a_device_file_is_free(tmp_path: Path, npuctl: Npuctl, command: str) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(77, ["bench"], ["/dev/npu0pe0-1"])
    host.show_processes_of([])
    answer = npuctl(host, command)
    assert "free" not in answer.stdout
    assert processes.nobody(1, complete=True) not in answer.stdout
    assert "PID namespace" in answer.stderr
    assert answer.returncode == 3


def test_what_is_not_known_of_processes_is_in_the_documents(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(77, ["bench"], ["/dev/npu0pe0"])
    host.show_processes_of([77])
    (card,) = json.loads(npuctl(host, "list", "-o", "json").stdout)
    assert [pe["state"] for pe in card["pes"]] == ["in use", "unknown"]
    (entry,) = json.loads(npuctl(host, "ps", "-o", "json").stdout)
    assert [(item["subject"], item["reason"]) for item in entry["unreadable"]] == [("processes", "access")]
    assert entry["unreadable"] == card["unreadable"]


def test_nothing_is_unknown_of_the_processes_of_a_host_without_cards(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path)
    host.show_processes_of([])
    assert npuctl(host, "ps").returncode == 0


@pytest.mark.parametrize("command", ["ps", "list"])
def test_a_process_that_hangs_keeps_the_program_from_nothing(tmp_path: Path, program: Npuctl, command: str) -> None:
    """Whether the process's name and files are read before the program's deadline depends on the machine."""
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(77, ["serve"], ["/dev/npu0pe0"])
    host.hang_process(77)
    answer = program(host, command)
    assert answer.returncode in {0, 3}
    assert "process 77" in answer.stderr


def test_ctrl_c_ends_a_look_at_processes_that_hang(tmp_path: Path) -> None:
    """So many that the look lasts for half a minute."""
    host = FakeHost(tmp_path, warboy(0))
    for pid in range(500, 800):
        host.run_process(pid, ["serve"], ["/dev/npu0pe0"])
        host.hang_process(pid)
    pipes = [f"{host.procfs}/{pid}/cmdline" for pid in range(500, 800)]
    with started([*COMMAND, "ps"], environment(host)) as process:
        until(lambda: any(map(is_waited_at, pipes)), "a look at a process that hangs")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) not in {0, 3}


@pytest.mark.parametrize(
    ("holders", "named"),
    [
        (Holders(), []),
        (Holders((Holder(7, "serve", ("/dev/npu0",)),)), []),
        (Holders(hidden=1), ["1 process "]),
        (Holders(hidden=5), ["5 processes "]),
        (Holders((Holder(7, "[serve]", ("/dev/npu0",), hung=True),)), ["process 7 [serve] "]),
        (Holders(silent=(Holder(7, "[serve]", (), hung=True),), partial="hidden"), ["hidden", "process 7 [serve] "]),
    ],
)
def test_the_operator_is_told_which_processes_were_not_seen_whole(holders: Holders, named: list[str]) -> None:
    notes = list(processes.gap_notes(holders))
    assert [note.startswith(words) for note, words in zip(notes, named, strict=True)] == [True] * len(named)
