"""The command line of npuctl: options, roots, errors, and what terminals and pipes get."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from npu_core.testing import FakeHost, warboy
from testkit.waiting import PATIENCE
from tests.core.cli.program import COMMAND, TOP, Npuctl, environment, run, started


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


@pytest.mark.parametrize(
    ("command", "root"),
    [
        *((command, root) for command in ("info", "list", "ps", "top", "version") for root in ("sysfs", "devfs")),
        ("list", "procfs"),
        ("ps", "procfs"),
    ],
)
def test_a_missing_root_is_an_error_that_names_the_path_and_the_option(
    host: FakeHost, tmp_path: Path, npuctl: Npuctl, command: str, root: str
) -> None:
    missing = str(tmp_path / "nowhere")
    answer = npuctl(host, command, f"--{root}", missing)
    [line] = answer.stderr.splitlines()
    assert f"{missing} (--{root}, NPU_{root.upper()}): ENOENT" in line
    assert answer.returncode == 1


def test_missing_processes_do_not_matter_elsewhere(host: FakeHost, npuctl: Npuctl) -> None:
    assert npuctl(host, "info", "--procfs", "/nowhere").returncode == 0


def test_a_family_that_cannot_be_listed_is_an_error_below_the_right_option(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path)
    (Path(host.sysfs) / "class" / "rngd_mgmt").symlink_to("rngd_mgmt")
    answer = npuctl(host, "info")
    assert answer.returncode == 1
    assert f"{host.sysfs}/class/rngd_mgmt (--sysfs, NPU_SYSFS): ELOOP" in answer.stderr


# -- terminals and pipes ----------------------------------------------------------------------------------------------


def on_a_terminal(host: FakeHost, *arguments: str, **changes: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [*COMMAND, *arguments], env=environment(host, **changes), stdout=theirs, check=True, timeout=PATIENCE
        )
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_words_are_coloured_on_a_terminal_without_moving_the_borders(host: FakeHost, npuctl: Npuctl) -> None:
    coloured = on_a_terminal(host, "list", TERM="xterm").replace("\r\n", "\n")
    assert "| \x1b[32mfree\x1b[0m  |" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == npuctl(host, "list").stdout


@pytest.mark.parametrize("plain", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_a_terminal_may_ask_for_plain_words(host: FakeHost, plain: dict[str, str]) -> None:
    assert "\x1b" not in on_a_terminal(host, "list", **plain)


def test_a_pipe_gets_plain_words_and_its_reader_may_leave_early(host: FakeHost, program: Npuctl) -> None:
    assert "\x1b" not in program(host, "list", env={"TERM": "xterm"}).stdout
    with started([*COMMAND, "list"], environment(host)) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == -signal.SIGPIPE


def test_an_output_without_the_degree_sign_still_gets_its_table(host: FakeHost, program: Npuctl) -> None:
    answer = program(host, "info", env={"PYTHONIOENCODING": "ascii"})
    assert "|  40?C |" in answer.stdout
    assert answer.returncode == 0


@pytest.mark.parametrize("term", [{"TERM": "xterm"}, {"TERM": "dumb"}, {"TERM": ""}, {}], ids=str)
def test_a_terminal_that_knows_control_sequences_is_cleared_before_each_table(
    host: FakeHost, term: dict[str, str]
) -> None:
    ours, theirs = pty.openpty()
    seen = ""
    try:
        with subprocess.Popen(TOP, env=environment(host, **term), stdout=theirs) as process:
            os.close(theirs)  # so that reading fails, and does not last for ever, should the program end
            while seen.count("| NPU ") < 2:
                seen += os.read(ours, 4096).decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
    finally:
        os.close(ours)
    if term.get("TERM") == "xterm":
        assert seen.count("\x1b[H\x1b[2J+") >= 2
    else:
        assert "\x1b" not in seen


def test_a_single_table_clears_no_terminal(host: FakeHost) -> None:
    assert "\x1b[2J" not in on_a_terminal(host, "top", "--once", "--interval", "0.1", TERM="xterm")


# -- what is loaded ---------------------------------------------------------------------------------------------------


def test_importing_the_package_loads_neither_typer_nor_yaml(host: FakeHost) -> None:
    code = "import sys, npu_core.cli; print(sorted({'typer', 'yaml', 'json'} & set(sys.modules)))"
    assert run(sys.executable, "-c", code, env=environment(host)).stdout == "[]\n"


def test_without_its_extra_the_program_says_what_to_install(host: FakeHost) -> None:
    code = "import sys; sys.modules['typer'] = None; from npu_core.cli import main; main()"
    answer = run(sys.executable, "-c", code, env=environment(host))
    assert "extra [cli] of npu-core" in answer.stderr
    assert answer.returncode == 1
