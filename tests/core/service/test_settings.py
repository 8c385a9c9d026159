"""How services read their settings: values out of what was given, and everything that is wrong with them at once."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.config.file import parse_config
from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError
from npu_core.service.logs import LogFormat, LogLevel
from npu_core.service.settings import (
    COMMAND_LINE,
    ENVIRONMENT,
    Given,
    Kind,
    Reader,
    absolute_path,
    environment_name,
    gather,
    one_of,
    seconds,
    text_of,
)

FILE = "/etc/x.conf"
SPAN = seconds(0.1, 60)


def text(value: str) -> Given:
    return Given("key", value, COMMAND_LINE)


def in_file(key: str, value: str, line: int, kind: Kind = Kind.STRING) -> Given:
    return Given(key, value, FILE, line, kind)


def test_a_value_that_was_given_is_parsed_and_another_one_is_the_default() -> None:
    given_value = text(" here ")
    reader = Reader([given_value])
    assert [reader.take("key", text_of, "default"), reader.take("other", text_of, "default")] == ["here", "default"]
    assert (reader.given("key"), reader.given("other"), reader.finish()) == (given_value, None, ())


def test_a_wrong_value_is_the_default_and_a_problem() -> None:
    reader = Reader([in_file("key", "", 3)])
    assert reader.take("key", text_of, "default") == "default"
    assert reader.finish() == (Problem("key", "", "a text that is not empty", FILE, 3),)


def test_several_problems_of_one_value_are_all_kept() -> None:
    problems = [Problem("key", "a", "b", FILE, 1), Problem("key", "c", "d", FILE, 2)]

    def refuse(_: Given) -> str:
        raise SettingsError(problems)

    reader = Reader([in_file("key", "x", 1)])
    assert reader.take("key", refuse, "default") == "default"
    assert reader.finish() == tuple(problems)


def test_a_key_that_nobody_takes_is_a_problem_that_names_the_keys_there_are() -> None:
    reader = Reader([in_file("intervall", "10", 2)])
    reader.take("interval", SPAN, 1.0)
    reader.take("defaultPe", text_of, "")
    assert reader.finish() == (
        Problem("intervall", "10", "one of the keys defaultPe, interval", FILE, 2, code=ProblemCode.UNKNOWN_KEY),
    )


def test_of_a_key_given_twice_the_first_counts_and_the_second_is_a_problem() -> None:
    reader = Reader([in_file("key", "first", 1), in_file("key", "second", 4)])
    assert reader.take("key", text_of, "") == "first"
    assert reader.finish() == (Problem("key", "second", "each key once", FILE, 4, code=ProblemCode.DUPLICATE_KEY),)


def test_problems_come_in_the_order_of_their_lines() -> None:
    reader = Reader([in_file("c", "", 9), in_file("a", "", 2), in_file("b", "", 5), in_file("a", "x", 7)])
    for key in ("b", "a"):
        reader.take(key, text_of, "")
    assert [problem.line for problem in reader.finish()] == [2, 5, 7, 9]


# -- values -----------------------------------------------------------------------------------------------------------


# What YAML 1.1 or 1.2 takes for something else than a text, and what no version does.
SCALARS = [
    *("0000:17:00.0", "0000:6d:00.0", "1:30", "190:20:30.15", "12345", "012", "0o14", "0x1F", "0b11", "1_000"),
    *("+12", "-0", "1e3", "1.5", ".5", "12e4567", "08912345", ".inf", ".NaN", "on", "off", "yes", "NO", "y", "true"),
    *("2026-11-30", "2026-11-30T10:00:00Z", "=", "<<", "npu-001", "/a/b"),
]


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_text_in_a_file_is_taken_as_it_is_written(scalar: str) -> None:
    (given,) = parse_config(f"key: {scalar}\n".encode(), "file")
    assert text_of(given) == scalar
    (given,) = parse_config(f"key: [{{a: {scalar}}}]\n".encode(), "file")
    ((_, inner),) = given.items[0].fields
    assert text_of(inner) == scalar


@pytest.mark.parametrize(("value", "choice"), [("json", LogFormat.JSON), (" TEXT ", LogFormat.TEXT)])
def test_a_choice_is_one_of_its_words_in_any_case(value: str, choice: LogFormat) -> None:
    assert one_of(LogFormat)(text(value)) is choice


@pytest.mark.parametrize(
    ("value", "number"), [("10", 10.0), ("0.1", 0.1), ("60", 60.0), (" 2.5 ", 2.5), ("1e1", 10.0), ("+3", 3.0)]
)
def test_a_span_of_time_is_a_number_of_seconds(value: str, number: float) -> None:
    assert SPAN(text(value)) == number


@pytest.mark.parametrize(
    ("parse", "given_value"),
    [
        *((text_of, text(value)) for value in ("", " ", "\t\n", "\u3000", b"npu\xff".decode(errors="surrogateescape"))),
        *((text_of, in_file("key", "1", 1, kind)) for kind in (Kind.NOTHING, Kind.LIST, Kind.MAPPING)),
        *((one_of(LogLevel), text(value)) for value in ("warn", "info,debug", "LogLevel.INFO")),
        *((SPAN, text(value)) for value in ("", "soon", "10s", "0", "0.09", "60.1", "-1", "nan", "inf", "1,5", "0x10")),
        *((SPAN, text(value)) for value in ("1:30", "٣٣", "1_0", "1e٣")),
        (SPAN, in_file("interval", "10", 1, Kind.STRING)),
        *((absolute_path, text(value)) for value in ("sys", "./sys", "~/sys", "/a\0b", "C:\\sys")),
    ],
)
def test_what_is_no_such_value_is_refused(parse: Callable[[Given], object], given_value: Given) -> None:
    with pytest.raises(FormatError) as caught:
        parse(given_value)
    assert caught.value.expected


@given(st.text(alphabet=st.characters()))
def test_a_span_of_time_is_within_its_bounds_or_refused(value: str) -> None:
    try:
        number = SPAN(text(value))
    except FormatError:
        return
    assert math.isfinite(number)
    assert 0.1 <= number <= 60


@pytest.mark.parametrize(
    ("value", "path"), [("/sys", "/sys"), ("/host/sys/", "/host/sys"), ("/", "/"), ("//", "/"), (" /a b ", "/a b")]
)
def test_a_path_has_no_slash_at_its_end(value: str, path: str) -> None:
    assert absolute_path(text(value)) == path


# -- where values come from -------------------------------------------------------------------------------------------


def test_a_flag_stands_before_its_variable_and_what_belongs_to_no_option_is_not_gathered() -> None:
    assert environment_name("listen-address") == "NPU_LISTEN_ADDRESS"
    environ = {"NPU_INTERVAL": "10", "NPU_LOG_LEVEL": "debug", "NPU_OTHER": "1", "LOG_LEVEL": "1", "PATH": "/bin"}
    assert gather(["interval", "log-level"], {"interval": "5", "other": "1"}, environ) == (
        Given("interval", "5", COMMAND_LINE, name="--interval"),
        Given("log-level", "debug", ENVIRONMENT, name="NPU_LOG_LEVEL"),
    )
