"""Text for a descriptor that nobody may be reading."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from npu_core.service.standard_error import LineWriter
from testkit.waiting import PATIENCE, until

PIPE_BYTES = 4096


class Pipe:
    """A small pipe, and a writer to it that may hold two kilobytes."""

    def __init__(self) -> None:
        self.reader, self.descriptor = os.pipe()
        fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.reports: list[int] = []
        self.writer = LineWriter(self.descriptor, self._report, max_bytes=2048)

    def _report(self, lines: int) -> None:
        self.reports.append(lines)
        self.writer.write(b"gap %d\n" % lines)

    def fill(self) -> None:
        """Have the thread wait in a write, and nothing else waiting behind it."""
        self.writer.write(b"-" * PIPE_BYTES)
        assert self.writer.drain(PATIENCE)
        self.writer.write(b"first\n")
        until(lambda: not self.writer._waiting, "the thread has the line")

    def read(self, until: bytes) -> bytes:
        """What is read up to some text."""
        read = b""
        while not read.endswith(until):
            chunk = os.read(self.reader, 65536)
            assert chunk
            read += chunk
        return read.lstrip(b"-")

    def close(self) -> None:
        """Let the thread end its write."""
        os.close(self.reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that is closed after the test."""
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_lines_are_written_in_their_order(pipe: Pipe) -> None:
    for number in range(100):
        pipe.writer.write(b"%d\n" % number)
    assert pipe.read(b"99\n").split() == [b"%d" % number for number in range(100)]
    assert (pipe.writer.dropped, pipe.reports) == (0, [])


def test_a_write_does_not_wait_for_a_pipe_that_is_full(pipe: Pipe) -> None:
    pipe.fill()
    for _ in range(3):
        pipe.writer.write(b"x" * 1023 + b"\n")
    assert pipe.writer.dropped == 1


def test_lost_lines_are_said_once_when_the_pipe_is_read_again_and_where_they_were(pipe: Pipe) -> None:
    pipe.fill()
    for number in range(40):
        pipe.writer.write(b"%-1023d\n" % number)
    assert pipe.read(b"gap 38\n").split() == [b"first", b"0", b"1", b"gap", b"38"]
    pipe.writer.write(b"later\n")
    assert pipe.read(b"later\n") == b"later\n"
    assert (pipe.writer.dropped, pipe.reports) == (38, [38])


def test_to_wait_for_the_last_lines_has_an_end(pipe: Pipe) -> None:
    pipe.fill()
    assert not pipe.writer.drain(0.01)
    pipe.read(b"first\n")
    assert pipe.writer.drain(PATIENCE)


def test_a_pipe_that_is_not_waited_for_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.descriptor, False)
    pipe.fill()
    pipe.writer.write(b"second\n")
    assert pipe.read(b"second\n") == b"first\nsecond\n"
    assert pipe.writer.dropped == 0


def test_lines_that_cannot_be_written_are_counted(pipe: Pipe) -> None:
    os.close(pipe.reader)
    pipe.writer.write(b"one\ntwo\n")
    assert pipe.writer.drain(PATIENCE)
    assert pipe.writer.dropped == 2
    pipe.reader, pipe.descriptor = os.pipe()


def test_lines_of_many_threads_are_whole(pipe: Pipe) -> None:
    def write(name: int) -> None:
        for number in range(10):
            pipe.writer.write(b"%d %d\n" % (name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pipe.writer.drain(PATIENCE)
    lines = os.read(pipe.reader, 65536).splitlines()
    assert sorted(lines) == sorted(b"%d %d" % (name, number) for name in range(4) for number in range(10))


# -- the process ------------------------------------------------------------------------------------------------------

_PROTECTED = "import sys\nfrom npu_core.service.standard_error import protect\nprotect()\n"


def run(program: str) -> "subprocess.CompletedProcess[str]":
    """A Python program whose standard error is protected, and what it said."""
    command = [sys.executable, "-c", _PROTECTED + program]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE)


def status_with_a_full_pipe(program: str) -> int:
    """How the same program ends whose standard error nobody reads."""
    pipe = Pipe()
    pipe.fill()
    process = subprocess.Popen([sys.executable, "-c", _PROTECTED + program], stderr=pipe.descriptor)
    try:
        return process.wait(PATIENCE)
    finally:
        process.kill()
        pipe.close()


@pytest.mark.parametrize(
    ("program", "status", "last"),
    [
        ("raise LookupError('no card')", 1, "LookupError: no card"),
        ("sys.exit('no card')", 1, "no card"),
        ("print('no card', file=sys.stderr)", 0, "no card"),
        ("import warnings; warnings.warn('no card')", 0, "no card"),
    ],
)
def test_the_last_words_of_a_process_reach_its_reader_and_wait_for_none(program: str, status: int, last: str) -> None:
    ended = run(f"for number in range(1000):\n    print(number, file=sys.stderr)\n{program}")
    lines = ended.stderr.splitlines()
    assert ended.returncode == status
    assert lines[:1000] == [str(number) for number in range(1000)]
    assert last in lines[-1] or last in lines[-2]
    assert status_with_a_full_pipe(program) == status


def test_a_process_whose_standard_error_is_closed_works() -> None:
    command = f"exec {sys.executable} -c '{_PROTECTED.replace(chr(39), chr(34))}print(sys.stderr)' 2>&-"
    ended = subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
    assert ended.stdout == "None\n"


def test_a_logger_in_the_report_of_a_gap_waits_for_nobody() -> None:
    """The log has a lock of its own: the report takes it while another thread has it, and writes."""
    program = """
import logging
from npu_core.service import logs, standard_error
logs.configure(logs.LogLevel.INFO, logs.LogFormat.TEXT)
handler = logging.getLogger().handlers[0]
writer = standard_error._writer
with handler.lock:
    with writer._changed:
        writer._unreported = 1
        writer._changed.notify_all()
    while writer._unreported:
        pass
    sys.stderr.write("mine\\n")
"""
    ended = run(program)
    assert ended.returncode == 0
    assert "log lines dropped" in ended.stderr
