"""Regular expressions from the settings: which there are, and that no text makes one take long."""

import subprocess
import sys

import pytest

from npu_core.errors import FormatError
from npu_metrics_exporter.metrics.pattern import MAX_LENGTH, compiled

LONG = "a" * (MAX_LENGTH + 1)
EXPONENTIAL = [r"(\w+)*!", "(a+)+b", "(a|aa)+b", "(a?){30}a{30}b", "(.*a){25}b", "(.*)*(.*)*(.*)*b"]
"""Python's own ``re`` tries more than 2^20 ways to match 60 letters with each of these."""


@pytest.mark.parametrize("text", EXPONENTIAL)
def test_no_expression_hangs_on_a_text(text: str) -> None:
    """A year would not be enough for an engine that tries every way; a limit of time ends such an engine."""
    program = (
        f"from npu_metrics_exporter.metrics.pattern import compiled; print(compiled({text!r}).fullmatch('a' * 4096))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout == "None\n"


@pytest.mark.parametrize(
    ("text", "matches", "matches_not"),
    [
        ("furiosa_npu_.*", "furiosa_npu_alive", "furiosa"),
        ("Peak|Average", "Peak", "Peaks"),
        ("(?i)peak", "PEAK", "pea"),
        (r"PE\d+", "PE12", "PE٣"),
        ("°C", "°C", "C"),
        ("", "", "a"),
    ],
)
def test_an_expression_has_to_match_the_whole(text: str, matches: str, matches_not: str) -> None:
    assert compiled(text).fullmatch(matches)
    assert not compiled(text).fullmatch(matches_not)


@pytest.mark.parametrize(
    "text",
    [
        "(",
        "*",
        r"(a)\1",
        "(?=a)b",
        "(?<!a)b",
        "a{2000}",
        "((a{100}){100}){100}",
        r"(\pL{200}){5}",
        "a" * (MAX_LENGTH + 1),
    ],
)
def test_what_is_no_expression_or_would_take_much_work_is_refused_with_the_reason(
    text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FormatError) as caught:
        compiled(text)
    assert text.startswith(caught.value.text.removesuffix("…"))
    assert caught.value.expected.startswith("a regular expression in RE2's syntax")
    assert capfd.readouterr() == ("", "")


def test_an_expression_that_is_no_text_is_refused() -> None:
    with pytest.raises(FormatError):
        compiled("\udcff")


def test_the_longest_expression_is_taken() -> None:
    assert compiled("a" * MAX_LENGTH).fullmatch("a" * MAX_LENGTH)
