import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from npu_core.cli import processes
from npu_core.holders import Holders
from npu_core.testing import FakeHost, rngd, warboy


def wait_for_reader(pipe: str) -> None:
    """Until a process has opened the pipe for reading: only then may it be opened for writing without waiting."""
    end = time.monotonic() + 60
    while True:
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            os.close(writer)
            return


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


@pytest.mark.parametrize("command", ["ps", "list"])
def test_a_container_is_never_told_that_a_device_file_is_free(tmp_path: Path, npuctl: Npuctl, command: str) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(77, ["bench"], ["/dev/npu0pe0-1"])
    host.show_processes_of([])
    answer = npuctl(host, command)
    assert "free" not in answer.stdout
    assert "No process holds" not in answer.stdout
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
def test_a_process_that_hangs_hides_no_other(tmp_path: Path, program: Npuctl, command: str) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(77, ["serve"], ["/dev/npu0pe0"])
    host.run_process(78, ["bench"], ["/dev/npu0pe1"])
    host.hang_process(77)
    answer = program(host, command)
    assert "[serve]" in answer.stdout
    assert "bench" in answer.stdout
    assert "process 77 [serve]" in answer.stderr
    assert answer.returncode == 0


def test_ctrl_c_ends_a_look_at_processes_that_hang(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    for pid in range(500, 600):
        host.run_process(pid, ["serve"], ["/dev/npu0pe0"])
        host.hang_process(pid)
    program = subprocess.Popen(
        [sys.executable, "-m", "npu_core.cli", "ps", "--procfs", host.procfs],
        env=os.environ | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_reader(f"{host.procfs}/500/cmdline")
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=60)
    assert program.returncode not in {0, 3}


def test_nobody_is_not_claimed_of_processes_that_cannot_be_seen() -> None:
    assert processes.nobody(1, complete=False) == (
        "No process that can be inspected holds a device file of the 1 NPU of this host."
    )


@pytest.mark.parametrize(("hidden", "words"), [(1, "1 process could"), (5, "5 processes could")])
def test_the_operator_is_told_how_many_processes_were_not_seen(hidden: int, words: str) -> None:
    (note,) = processes.gap_notes(Holders(hidden=hidden))
    assert note.startswith(words)


def test_the_operator_is_told_nothing_where_every_process_was_seen() -> None:
    assert list(processes.gap_notes(Holders())) == []


def test_a_process_that_ended_is_gone(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(77, ["bench"], ["/dev/npu0pe1"])
    assert "bench" in npuctl(host, "ps").stdout
    host.end_process(77)
    assert "bench" not in npuctl(host, "ps").stdout
