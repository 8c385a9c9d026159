"""Nobody reads what a service writes to standard error: the service works on, and ends when it is told to."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest

from npu_core.testing import FakeHost, warboy
from testkit.services.configured import free_port, get
from testkit.waiting import PATIENCE, until

OTHERS = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "NODE_"))}
_PIPE_BYTES = 4096


@dataclass(frozen=True)
class Program:
    """A service, and the name of its counter of lost lines.

    Attributes:
        module: its package.
        options: what it needs to run beside a test, where ``{}`` is a directory of its own.
        counter: its metric.
    """

    module: str
    options: tuple[str, ...]
    counter: str

    def __str__(self) -> str:
        return self.module


PROGRAMS = (
    Program(
        "npu_device_plugin",
        ("--plugin-dir", "{}", "--pod-resources-socket", "{}/nobody.sock"),
        "npu_device_plugin_log_lines_dropped_total",
    ),
    Program("npu_feature_discovery", ("--output-file", "{}/file"), "npu_feature_discovery_log_lines_dropped_total"),
    Program(
        "npu_metrics_exporter",
        ("--pod-resources-socket", "{}/nobody.sock", "--interval", "1"),
        "furiosa_npu_exporter_log_lines_dropped_total",
    ),
)


@pytest.fixture(params=PROGRAMS, ids=str)
def program(request: pytest.FixtureRequest) -> Program:
    """Each of the services."""
    program: Program = request.param
    return program


class Pipe:
    """A small pipe that is full, and that nobody reads until :meth:`read_all`."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self.writer, False)
        try:
            while os.write(self.writer, b"-" * _PIPE_BYTES):
                pass
        except BlockingIOError:
            os.set_blocking(self.writer, True)

    def read_all(self) -> str:
        """What was written, up to now and until every writer is closed."""
        os.close(self.writer)
        with open(self.reader, "rb") as rest:  # noqa: PTH123  # a descriptor
            return rest.read().decode().lstrip("-")


@contextmanager
def running(program: Program, home: Path, pipe: Pipe, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The service, with its standard error in the pipe."""
    host = FakeHost(home / "host", warboy(0))
    options = [option.format(home) for option in program.options]
    process = subprocess.Popen(
        [sys.executable, "-m", program.module, *options, "--listen-address", f"127.0.0.1:{port}"],
        env=OTHERS | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs},
        stderr=pipe.writer,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def page(port: int, path: str) -> str:
    """A page of the service; empty while there is none."""
    status, text = get(f"http://127.0.0.1:{port}{path}")
    return text if status == HTTPStatus.OK else ""


def test_a_service_whose_log_nobody_reads_answers_and_ends_on_a_signal(program: Program, socket_dir: Path) -> None:
    pipe, port = Pipe(), free_port()
    with running(program, socket_dir, pipe, port) as process:
        assert until(lambda: page(port, "/healthz"), "/healthz") == "alive\n"
        assert f"{program.counter} 0" in until(lambda: page(port, "/metrics"), "/metrics").replace(".0", "")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    pipe.read_all()


def test_what_was_said_while_nobody_read_is_there_in_order_when_somebody_does(
    program: Program, socket_dir: Path
) -> None:
    pipe, port = Pipe(), free_port()
    with running(program, socket_dir, pipe, port) as process:
        until(lambda: page(port, "/healthz"), "/healthz")
        os.read(pipe.reader, _PIPE_BYTES)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    lines = pipe.read_all().splitlines()
    assert " INFO starting " in lines[0]
    assert lines[-1].endswith(" INFO stopped")


def test_a_wrong_setting_does_not_keep_a_service_whose_error_nobody_reads(program: Program) -> None:
    pipe = Pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", program.module, "--log-level", "loud"], env=OTHERS, stderr=pipe.writer
    )
    try:
        assert process.wait(PATIENCE) == 2
    finally:
        process.kill()
    pipe.read_all()
