import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from npu_core.testing import FakeHost, warboy

Npuctl = Callable[..., "subprocess.CompletedProcess[str]"]

NPUCTL = [sys.executable, "-m", "npu_core.cli"]


def variables(host: FakeHost, **changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}}
    return inherited | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs, "NPU_PROCFS": host.procfs} | changes


def on_a_terminal(host: FakeHost, *arguments: str, **changes: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run([*NPUCTL, *arguments], env=variables(host, **changes), stdout=theirs, check=True, timeout=20)
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> FakeHost:
    """Written once: no test of this module changes it."""
    return FakeHost(tmp_path_factory.mktemp("host"), warboy(0))


@pytest.mark.parametrize(
    "arguments",
    [("info", "-o", "json"), ("-o", "json", "info"), ("-o", "yaml", "info", "--output", "json")],
)
def test_options_may_stand_before_and_after_the_command_and_the_last_word_counts(
    host: FakeHost, npuctl: Npuctl, arguments: tuple[str, ...]
) -> None:
    assert json.loads(npuctl(host, *arguments).stdout)[0]["npu"] == "npu0"


def test_options_win_over_the_environment(host: FakeHost, tmp_path: Path, npuctl: Npuctl) -> None:
    other = FakeHost(tmp_path, warboy(5))
    before = npuctl(host, "--sysfs", other.sysfs, "--devfs", other.devfs, "info")
    after = npuctl(host, "info", "--sysfs", other.sysfs, "--devfs", other.devfs)
    assert "npu5" in before.stdout
    assert before.stdout == after.stdout


def test_an_empty_variable_is_none(npuctl: Npuctl) -> None:
    answer = npuctl(None, "ps", "--devfs", "/dev/null/nothing", env={"NPU_SYSFS": ""})
    assert "/dev/null/nothing" in answer.stderr


@pytest.mark.parametrize("command", ["info", "list", "ps", "top", "version"])
@pytest.mark.parametrize("root", ["sysfs", "devfs"])
def test_a_missing_root_is_an_error_that_names_the_path_and_the_option(
    host: FakeHost, tmp_path: Path, npuctl: Npuctl, command: str, root: str
) -> None:
    missing = str(tmp_path / "nowhere")
    answer = npuctl(host, command, f"--{root}", missing)
    assert answer.stderr == (
        f"npuctl: cannot read {missing} (--{root}, NPU_{root.upper()}): ENOENT (No such file or directory)\n"
    )
    assert answer.returncode == 1


@pytest.mark.parametrize("command", ["list", "ps"])
def test_missing_processes_are_an_error_where_they_are_needed(host: FakeHost, npuctl: Npuctl, command: str) -> None:
    answer = npuctl(host, command, "--procfs", "/nowhere")
    assert answer.stderr.startswith("npuctl: cannot read /nowhere (--procfs, NPU_PROCFS): ENOENT")
    assert (answer.stdout, answer.returncode) == ("", 1)


def test_missing_processes_do_not_matter_elsewhere(host: FakeHost, npuctl: Npuctl) -> None:
    assert npuctl(host, "info", "--procfs", "/nowhere").returncode == 0


def test_a_family_that_cannot_be_listed_is_an_error_below_the_right_option(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path)
    (Path(host.sysfs) / "class" / "rngd_mgmt").symlink_to("rngd_mgmt")
    answer = npuctl(host, "info")
    assert answer.returncode == 1
    assert f"{host.sysfs}/class/rngd_mgmt (--sysfs, NPU_SYSFS): ELOOP" in answer.stderr


@pytest.mark.parametrize("arguments", [("inform",), ("info", "--wrong"), ("info", "-o", "xml"), ("top", "--interval")])
def test_a_wrong_command_line_is_a_usage_error(host: FakeHost, npuctl: Npuctl, arguments: tuple[str, ...]) -> None:
    answer = npuctl(host, *arguments)
    assert answer.returncode == 2
    assert "Error: " in answer.stderr
    assert answer.stdout == ""


def test_help_names_the_commands_and_the_variables(npuctl: Npuctl) -> None:
    text = " ".join(npuctl(None, "--help").stdout.split())
    for word in ("info", "list", "ps", "top", "version", "NPU_SYSFS", "NPU_DEVFS", "NPU_PROCFS", "--output"):
        assert word in text
    assert "NPU_SYSFS" in npuctl(None, "info", "-h").stdout


def test_words_are_coloured_on_a_terminal(host: FakeHost) -> None:
    assert "| \x1b[32mfree\x1b[0m  |" in on_a_terminal(host, "list", TERM="xterm")


@pytest.mark.parametrize("plain", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_a_terminal_may_ask_for_plain_words(host: FakeHost, plain: dict[str, str]) -> None:
    assert "\x1b" not in on_a_terminal(host, "list", **plain)


def test_colour_does_not_move_the_borders(host: FakeHost, npuctl: Npuctl) -> None:
    coloured = on_a_terminal(host, "list", TERM="xterm").replace("\r\n", "\n")
    assert re.sub(r"\x1b\[\d+m", "", coloured) == npuctl(host, "list").stdout


def test_a_pipe_gets_plain_words(host: FakeHost, program: Npuctl) -> None:
    assert "\x1b" not in program(host, "list", env={"TERM": "xterm"}).stdout


def test_a_terminal_is_cleared_between_tables_only(host: FakeHost) -> None:
    assert "\x1b[2J" not in on_a_terminal(host, "top", "--once", "--interval", "0.1", TERM="xterm")


def test_a_reader_that_leaves_early_is_not_told_of_it(host: FakeHost) -> None:
    with subprocess.Popen(
        [*NPUCTL, "list"], env=variables(host), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == -signal.SIGPIPE


def test_a_terminal_without_the_degree_sign_still_gets_its_table(host: FakeHost, program: Npuctl) -> None:
    answer = program(host, "info", env={"PYTHONIOENCODING": "ascii"})
    assert "|  40?C |" in answer.stdout
    assert answer.returncode == 0


def test_importing_the_package_loads_neither_typer_nor_yaml(host: FakeHost) -> None:
    code = "import sys, npu_core.cli; print(sorted({'typer', 'yaml', 'json'} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], env=variables(host), capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"


def test_without_its_extra_the_program_says_what_to_install(host: FakeHost) -> None:
    code = "import sys; sys.modules['typer'] = None; from npu_core.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", code], env=variables(host), capture_output=True, text=True, check=False
    )
    assert answer.stderr == "npuctl: typer is not installed; it comes with the extra [cli] of npu-core\n"
    assert answer.returncode == 1
