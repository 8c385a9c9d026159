import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.testing import FakeCard, FakeHost, warboy

Npuctl = Callable[..., "subprocess.CompletedProcess[str]"]

TOP = [sys.executable, "-m", "npu_core.cli", "top", "--interval", "0.1"]


@contextmanager
def at_work(card: FakeCard) -> Iterator[None]:
    """For as long as the block lasts, PE 0 is busy half of its time and computes a quarter of that; PE 1 is idle."""
    ended = threading.Event()

    def work() -> None:
        cycles = 0
        while not ended.wait(0.005):
            cycles += 8_000_000
            card.set_perf_regs(CoreRange(0, 0), cycles, cycles // 2, cycles // 8)
            card.set_perf_regs(CoreRange(1, 1), cycles, 0, 0)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        ended.set()
        worker.join()


def roots(host: FakeHost) -> dict[str, str]:
    return dict(os.environ) | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs}


def test_one_table_shows_the_work_of_every_pe_and_its_card(tmp_path: Path, program: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    with at_work(host.card(Arch.WARBOY, 0)):
        answer = program(host, "top", "--once", "--interval", "0.5")
    assert answer.stdout == (
        "+------+------------------+----+-------+-----------+-------+--------+\n"
        "| NPU  | Name             | PE | Busy  | Computing | Temp. | Power  |\n"
        "+------+------------------+----+-------+-----------+-------+--------+\n"
        "| npu0 | FuriosaAI Warboy | 0  | 50.0% |     25.0% |  40°C | 9.67 W |\n"
        "| npu0 | FuriosaAI Warboy | 1  |  0.0% |      0.0% |       |        |\n"
        "+------+------------------+----+-------+-----------+-------+--------+\n"
    )
    assert (answer.stderr, answer.returncode) == ("", 0)


def test_idle_counters_show_a_dash_never_a_zero(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    answer = npuctl(host, "top", "--once", "--interval", "0.1")
    assert "| npu0 | FuriosaAI Warboy | 0  |    - |         - |  40°C | 9.67 W |" in answer.stdout


def test_tables_follow_each_other_until_the_interrupt(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    with subprocess.Popen(TOP, env=roots(host), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline() for _ in range(12)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert (process.wait(10), process.stderr.read()) == (0, "")
    assert lines[:6] == lines[6:]
    assert "\x1b" not in "".join(lines) + rest


def test_successive_json_documents_are_a_line_each(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    command = [*TOP, "-o", "json"]
    with subprocess.Popen(command, env=roots(host), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        documents = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.terminate()
    assert [document[0]["npu"] for document in documents] == ["npu0", "npu0"]


def test_a_terminal_is_cleared_before_each_table(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    ours, theirs = pty.openpty()
    seen = ""
    try:
        with subprocess.Popen(TOP, env=roots(host) | {"TERM": "xterm"}, stdout=theirs) as process:
            os.close(theirs)  # so that reading fails, and does not last for ever, should the program end
            while seen.count("\x1b[H\x1b[2J+") < 2:
                seen += os.read(ours, 4096).decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    finally:
        os.close(ours)


@pytest.mark.parametrize("term", [{"TERM": "dumb"}, {"TERM": ""}, {}], ids=["dumb", "empty", "unset"])
def test_a_terminal_that_knows_no_control_sequences_gets_none(tmp_path: Path, term: dict[str, str]) -> None:
    host = FakeHost(tmp_path, warboy(0))
    ours, theirs = pty.openpty()
    seen = ""
    environment = {name: value for name, value in roots(host).items() if name != "TERM"} | term
    try:
        with subprocess.Popen(TOP, env=environment, stdout=theirs) as process:
            os.close(theirs)
            while seen.count("| NPU ") < 2:
                seen += os.read(ours, 4096).decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    finally:
        os.close(ours)
    assert "\x1b" not in seen


def test_without_cards_it_says_so_and_ends(tmp_path: Path, npuctl: Npuctl) -> None:
    answer = npuctl(FakeHost(tmp_path), "top")
    assert answer.stdout.startswith("No FuriosaAI NPUs found in ")
    assert answer.returncode == 0


@pytest.mark.parametrize("interval", ["0", "0.09", "-1", "nan", "inf", "soon", "٣٣", "1_0"])
def test_a_senseless_interval_is_refused(npuctl: Npuctl, interval: str) -> None:
    answer = npuctl(None, "top", "--once", "--interval", interval)
    assert answer.returncode == 2
    assert "is not a number of seconds from 0.1 to 3600" in " ".join(answer.stderr.split())
