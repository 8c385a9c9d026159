"""Text of others, in a form that a terminal can show."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.printable import printable, printable_lines, shortened, shortened_inside
from testkit.waiting import PATIENCE


@given(st.text())
def test_what_is_printable_is_one_visible_line_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert shown == text or not text.isprintable()


def test_what_steers_a_terminal_or_is_not_seen_is_escaped() -> None:
    assert printable("a\x1b[2J\x9b\u202e\u200b\n°") == r"a\x1b[2J\x9b\u202e\u200b\n°"
    assert printable_lines("a\x1b\nb\r\n") == "a\\x1b\nb\\r\n"


def test_a_long_text_is_shown_by_an_end_or_both_and_its_length() -> None:
    assert shortened("abcdef", 6) == shortened_inside("abcdef", 6) == "abcdef"
    assert shortened("abcdef", 4) == "abcd... (6 characters)"
    assert shortened_inside("abcdef", 4) == "ab... (6 characters) ...ef"


@pytest.mark.parametrize("service", ["npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter"])
def test_a_key_of_a_settings_file_does_not_steer_the_terminal(service: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text('"a\\e[2J\\u202e\\u200b": 1\n', encoding="utf-8")
    command = [sys.executable, "-m", service, "check", "--config-file", str(file)]
    if service == "npu_feature_discovery":
        command = [sys.executable, "-m", service, "check", "--sysfs", "/a\x1b[2J\u202e"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode != 0
    assert ended.stderr
    assert [line for line in (ended.stdout + ended.stderr).split("\n") if not line.isprintable()] == []
