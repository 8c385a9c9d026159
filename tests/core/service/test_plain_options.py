"""Command lines read without the library for them are read as it reads them, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.service.plain_options import line, parse

OPTIONS = ("interval", "output-file", "mixed", "sysfs", "oneshot", "print")
FLAGS = ("oneshot", "print")


def test_values_stand_beside_their_option_or_behind_an_equals_sign() -> None:
    line = ["--interval", "5", "--output-file=-", "--oneshot", "--mixed=a=b", "--sysfs", ""]
    assert parse(line, OPTIONS, FLAGS) == {
        "interval": "5",
        "output-file": "-",
        "oneshot": "true",
        "mixed": "a=b",
        "sysfs": "",
    }
    assert parse([], OPTIONS, FLAGS) == {}
    assert parse(["--output-file", "-"], OPTIONS, FLAGS) == {"output-file": "-"}


@pytest.mark.parametrize(
    "line",
    [
        "check",
        "--oneshot check",
        "--help",
        "--version",
        "-o json",
        "--",
        "--interval",
        "--interval --oneshot",
        "--interval -5",
        "--nonsense 5",
        "--oneshot=true",
        "--oneshot --oneshot",
        "--interval 5 --interval 6",
        "interval 5",
        "oneshot",
    ],
)
def test_whatever_is_not_plain_is_left_to_the_library(line: str) -> None:
    assert parse(line.split(), OPTIONS, FLAGS) is None


def test_without_flags_every_option_has_a_value() -> None:
    assert parse(["--oneshot"], OPTIONS) is None
    assert parse(["--oneshot", "yes"], OPTIONS) == {"oneshot": "yes"}


@given(st.dictionaries(st.sampled_from(OPTIONS), st.text(st.characters(exclude_characters="-", min_codepoint=33))))
def test_what_was_given_comes_back(wanted: dict[str, str]) -> None:
    given = {name: "true" if name in FLAGS else value for name, value in wanted.items()}
    beside = [
        word for name, value in given.items() for word in ([f"--{name}"] if name in FLAGS else [f"--{name}", value])
    ]
    behind = [f"--{name}" if name in FLAGS else f"--{name}={value}" for name, value in given.items()]
    assert parse(beside, OPTIONS, FLAGS) == parse(behind, OPTIONS, FLAGS) == given


@given(st.dictionaries(st.sampled_from(OPTIONS), st.text()))
def test_whatever_is_given_can_be_said_in_a_plain_line(wanted: dict[str, str]) -> None:
    """Also what looks like an option, is empty or has spaces: a line that is not plain would be parsed for ever."""
    given = {name: "true" if name in FLAGS else value for name, value in wanted.items()}
    assert parse(line(given, FLAGS), OPTIONS, FLAGS) == given
