"""A plain command line becomes the daemon as it is; every other one does so through the library, and means the same."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import npu_device_plugin.settings as plugin_settings
import npu_feature_discovery.settings as discovery_settings
import npu_metrics_exporter.settings as exporter_settings
from npu_core.service.options import flags_of, names_of
from npu_core.service.plain_options import parse
from npu_core.testing import FakeHost, warboy
from testkit.services.configured import free_port
from testkit.waiting import PATIENCE

OTHERS = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "NODE_"))}


@dataclass(frozen=True)
class Program:
    """One of the commands.

    Attributes:
        command: what it is called.
        module: its package.
        options: all it has.
        flags: those without a value.
        free: those whose value may be any text that has a slash.
    """

    command: str
    module: str
    options: tuple[str, ...]
    flags: tuple[str, ...] = ()
    free: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The program."""
        return Path(sys.executable).with_name(self.command)

    def __str__(self) -> str:
        return self.command


PROGRAMS = (
    Program("k8s-device-plugin", "npu_device_plugin", names_of(plugin_settings.OPTIONS)),
    Program(
        "npu-feature-discovery",
        "npu_feature_discovery",
        names_of(discovery_settings.OPTIONS),
        flags_of(discovery_settings.OPTIONS),
        free=("namespace",),
    ),
    Program(
        "npu-metrics-exporter",
        "npu_metrics_exporter",
        names_of(exporter_settings.OPTIONS),
        free=("include", "exclude", "include-sensors", "exclude-sensors"),
    ),
)
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=str)


@each_program
def test_the_library_reads_the_same(program: Program, tmp_path: Path) -> None:
    """Every option with a value that is wrong: both ways complain of the same things in the same words."""
    valued = set(program.options) - set(program.flags) - {"config-file"}  # beside it the plugin takes nothing else
    values = [word for name in sorted(valued) for word in (f"--{name}", f"no/{name}/")]
    again = ["--log-level", "no/log-level/"]
    assert parse([*values, *again], program.options, program.flags) is None

    plain, parsed = _refused(program, values, tmp_path), _refused(program, [*values, *again], tmp_path)

    assert plain == parsed
    complaints = {name for name in valued for line in plain if f"--{name} is" in line}
    assert complaints == valued - set(program.free)


def _refused(program: Program, words: list[str], home: Path) -> list[str]:
    ended = subprocess.run(
        [program.path, *words],
        env=OTHERS,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 2
    return ended.stderr.splitlines()


@contextmanager
def _running(program: Program, words: list[str], home: Path) -> Iterator[int]:
    """A daemon at work, that ends clean at the end; its process id."""
    for name in ("npu_core.py", "logging.py", "typer.py", "yaml.py", "grpc.py"):
        (home / name).write_text("raise SystemExit('somebody else is in charge')\n")
    host = FakeHost(home / "host", warboy(0))
    settings = {"SYSFS": host.sysfs, "DEVFS": host.devfs, "LISTEN_ADDRESS": f"127.0.0.1:{free_port()}"}
    with subprocess.Popen(
        [program.path, *words],
        cwd=home,
        env=OTHERS | {f"NPU_{name}": value for name, value in settings.items()},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            assert "starting" in process.stderr.readline()
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0


def _command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")[:-1]


@each_program
def test_a_plain_line_is_the_daemon_and_loads_nothing_of_the_working_directory(
    program: Program, tmp_path: Path
) -> None:
    with _running(program, ["--interval", "7"], tmp_path) as pid:
        assert _command_line(pid)[1:] == [str(program.path), "--interval", "7"]


@each_program
def test_another_line_becomes_the_daemon_and_loads_nothing_of_the_working_directory(
    program: Program, tmp_path: Path
) -> None:
    with _running(program, ["--interval", "6", "--interval", "7"], tmp_path) as pid:
        assert _command_line(pid)[1:] == ["-P", "-m", program.module, "--interval=7"]
