"""Every program on terminals that know less than the program has to say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from npu_core.service.terminal import have_standard_streams
from npu_core.testing import FakeHost, rngd, warboy

SERVICES = ("npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter")
NPUCTL = "npu_core.cli"
ELSEWHERE = ("--sysfs", "/nowhere-°", "--devfs", "/nowhere-°")
LINES = [
    *((service, ("check", *more)) for service in SERVICES for more in ((), ("--output", "json"), ("--help",))),
    *((service, (*ELSEWHERE, "check")) for service in SERVICES),
    *((NPUCTL, (command,)) for command in ("info", "list", "ps", "version")),
    *((NPUCTL, line) for line in (("info", "--full"), ("top", "--once", "--interval", "0.1"), ("info", *ELSEWHERE))),
    *((program, (option,)) for program in (*SERVICES, NPUCTL) for option in ("--help", "--no-such-option-°")),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> FakeHost:
    """Cards and a machine that say more than ASCII has. Written once: no test of this module changes it."""
    cards = warboy(0, serial="Größe-급"), rngd(0)
    host = FakeHost(tmp_path_factory.mktemp("host"), *cards, vendor="삼성전자", machine="급°")
    host.run_process(77, ["bench°"], ["/dev/npu0pe0"])
    return host


@pytest.mark.parametrize(("program", "line"), LINES, ids=str)
def test_a_program_says_all_it_can_on_a_terminal_that_knows_ascii_alone(
    host: FakeHost, program: str, line: tuple[str, ...]
) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "LC_", "LANG"))}
    roots = {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs, "NPU_PROCFS": host.procfs}

    def run(**variables: str) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", program, *line]
        return subprocess.run(command, env=inherited | roots | variables, capture_output=True, check=False, timeout=60)

    plain, full = run(LANG="C", PYTHONIOENCODING="ascii:strict"), run(PYTHONIOENCODING="utf-8")
    assert b"Traceback" not in plain.stderr
    assert plain.returncode == full.returncode
    assert plain.stdout.isascii()
    assert bool(plain.stdout) == bool(full.stdout)


CLOSED = ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-")


def _status_without(streams: str, *command: str) -> int:
    line = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, *command]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60).returncode


@pytest.mark.parametrize("streams", CLOSED)
def test_a_program_without_standard_streams_uses_their_descriptors_for_nothing_else(streams: str) -> None:
    """Libuv ends a process by SIGABRT that closes one of them."""
    program = """
import asyncio, os, sys
from npu_core.service.terminal import have_standard_streams
have_standard_streams()
print("to people"), print("to people", file=sys.stderr)
descriptor = os.open("/", os.O_RDONLY)
import uvloop
uvloop.run(asyncio.sleep(0))
sys.exit(descriptor)
"""
    assert _status_without(streams, "-c", program) > 2


@pytest.mark.parametrize("streams", CLOSED)
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_without_standard_streams_ends_as_with_them(service: str, streams: str) -> None:
    assert _status_without(streams, "-m", service, "--interval", "wrong") == 2


def test_a_program_that_has_its_streams_needs_no_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while an image is built, when each program is run once in a bare directory."""
    monkeypatch.setattr(os, "devnull", str(tmp_path / "dev/null"))
    have_standard_streams()
