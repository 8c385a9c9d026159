"""Log lines for people and for machines: one line each, an event that never changes, and fields."""

import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.service.logs import (
    MAX_EVENT,
    MAX_EXCEPTION,
    MAX_VALUE,
    EventLog,
    LogFormat,
    LogLevel,
    configure,
    without_numbers,
)

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@dataclass(slots=True)
class Written:
    """What was logged since."""

    stream: io.StringIO

    @property
    def text(self) -> str:
        """The lines without their times, which are checked for their form."""
        lines = self.stream.getvalue().splitlines(keepends=True)
        assert all(re.match(f"{STAMP} ", line) for line in lines)
        return "".join(line.partition(" ")[2] for line in lines)

    @property
    def documents(self) -> list[dict[str, object]]:
        """The lines as JSON documents, without their times, which are checked for their form."""
        documents = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        assert all(re.fullmatch(STAMP, document.pop("time")) for document in documents)
        return documents


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: LogFormat, level: LogLevel = LogLevel.INFO) -> Written:
    stream = io.StringIO()
    configure(level, form, stream)
    return Written(stream)


def test_a_text_line_is_a_time_a_level_an_event_and_fields() -> None:
    lines = written(LogFormat.TEXT)
    EventLog("x").warning("100% of %s", card="npu0", reason="the card is dead", looks=2)
    logging.getLogger("grpc").warning("%d channels left", 3)
    assert lines.text.splitlines() == [
        'WARNING 100% of %s card=npu0 reason="the card is dead" looks=2',
        "WARNING 3 channels left",
    ]


def test_a_json_line_has_the_event_and_every_field_by_name() -> None:
    written(LogFormat.TEXT)  # configuring again replaces the form
    lines = written(LogFormat.JSON)
    EventLog("x.y").warning("seen", path=Path("/sys"), name="엔피유", looks=2)
    fields = {"path": "/sys", "name": "엔피유", "looks": 2}
    assert lines.documents == [{"level": "warning", "event": "seen", "logger": "x.y", **fields}]
    assert "엔피유" in lines.stream.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("npu0", "npu0"),
        (7, "7"),
        (None, "None"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("one\ntwo", r'"one\ntwo"'),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("\x7f\x9b2J", r'"\u007f\u009b2J"'),
        ("a\u202eb\u200bc", r'"a\u202eb\u200bc"'),
        ("tag\U000e0041", r'"tag\udb40\udc41"'),
        ("엔피유", "엔피유"),
        ("엔 피유", '"엔 피유"'),
        (Path("/sys"), "/sys"),
        (("a", 1), "\"('a', 1)\""),
    ],
)
def test_a_text_value_is_quoted_only_where_it_could_be_misread(value: object, shown: str) -> None:
    lines = written(LogFormat.TEXT)
    EventLog("x").info("seen", value=value)
    assert lines.text == f"INFO seen value={shown}\n"


@given(st.text(max_size=MAX_VALUE))
def test_a_json_value_is_read_back_as_it_was(value: str) -> None:
    lines = written(LogFormat.JSON)
    EventLog("x").info("seen", value=value)
    assert json.loads(lines.stream.getvalue())["value"] == value


@pytest.mark.parametrize(
    ("level", "events"),
    [
        (LogLevel.DEBUG, ["debug", "info", "warning", "error"]),
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.WARNING, ["warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_lines_less_important_than_the_level_are_left_out(level: LogLevel, events: list[str]) -> None:
    lines = written(LogFormat.JSON, level)
    log = EventLog("x")
    for write, event in ((log.debug, "debug"), (log.info, "info"), (log.warning, "warning"), (log.error, "error")):
        write(event)
    assert [(document["level"], document["event"]) for document in lines.documents] == [(each, each) for each in events]


def test_without_a_stream_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogLevel.INFO, LogFormat.TEXT)
    EventLog("x").info("here")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(" INFO here\n")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("begun 4 s ago", "begun 17 s ago", True),
        ("within 0.5 s", "within 2 s", True),
        ("begun 4 s ago", "no answer", False),
        ("", "", True),
    ],
)
def test_reasons_that_differ_in_numbers_only_are_one_reason(one: str, other: str, *, equal: bool) -> None:
    assert (without_numbers(one) == without_numbers(other)) is equal


HOSTILE = "\x1b[2J\x07\x7f\x9b\u202e\u2066\u200b\ufeff\u2028\r\n\ud800"
"""What steers a terminal, ends a line, changes the order of characters or is not seen."""


@pytest.mark.parametrize("form", LogFormat)
def test_no_line_has_a_character_that_cannot_be_seen(form: LogFormat) -> None:
    lines = written(form)
    EventLog("x").warning("seen", text=HOSTILE, many=(HOSTILE,), error=ValueError(HOSTILE))
    logging.getLogger("grpc").warning(HOSTILE)
    EventLog("x").exception("it failed", ValueError(HOSTILE))
    assert [line for line in lines.stream.getvalue().split("\n") if not line.isprintable()] == []
    assert lines.stream.getvalue().count("\n") == 3


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize("value", ["x" * 1_000_000, ["x" * 1_000_000], ValueError("x" * 1_000_000)])
def test_a_long_value_is_shown_by_its_beginning_and_its_length(form: LogFormat, value: object) -> None:
    lines = written(form)
    EventLog("x").info("seen", value=value, card="npu0", fits="y" * MAX_VALUE)
    logging.getLogger("grpc").warning("%s", "x" * 1_000_000)
    first, second = lines.stream.getvalue().splitlines()
    assert len(first) < 3 * MAX_VALUE
    assert f"... ({len(str(value))} characters)" in first
    assert "npu0" in first
    assert "y" * MAX_VALUE in first
    assert len(second) < 2 * MAX_EVENT


@pytest.mark.parametrize("form", LogFormat)
def test_an_exception_is_a_field_and_a_long_traceback_keeps_its_beginning_and_its_end(form: LogFormat) -> None:
    def deep(number: int, text: str) -> None:
        if number == 0:
            raise ValueError(text)
        deep(number - 1, text)

    for text in ("the end", "x" * 1_000_000 + " the end"):
        lines = written(form)
        try:
            deep(3, text)
        except ValueError as error:
            EventLog("x").exception("it failed", error)
        [line] = lines.stream.getvalue().splitlines()
        assert len(line) < 2 * MAX_EXCEPTION
        assert "it failed" in line
        assert "Traceback (most recent call last)" in line
        assert "the end" in line
