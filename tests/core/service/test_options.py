"""One row of a table makes an option everywhere: command line, environment, file, help and reload."""

from dataclasses import dataclass

import pytest

from npu_core.errors import ProblemCode
from npu_core.service.options import (
    ServiceSettings,
    Source,
    by_name,
    given_of,
    in_file,
    live_fields,
    option,
    options_of,
    take,
)
from npu_core.service.settings import Given, Reader, seconds, text_of


@dataclass(frozen=True, slots=True)
class Sample(ServiceSettings):
    pause: float = option(10.0, seconds(1, 60), "SECONDS", "Seconds of rest.", live=True)
    pod_name: str = option("", text_of, "NAME", "The pod.", in_file=True)
    names: tuple[str, ...] = option((), text_of, "NAME", "Names.", name="name", shown="all")
    once: bool = option(False, text_of, "", "Do it once.")


ROWS = options_of(Sample)
SHARED = ("sysfs", "devfs", "log-level", "log-format")


def test_a_field_has_the_same_name_everywhere() -> None:
    pause, pod_name, names, once = ROWS[:4]
    assert (pod_name.name, pod_name.variable, pod_name.file_key) == ("pod-name", "NPU_POD_NAME", "podName")
    assert (names.field, names.name) == ("names", "name")
    assert (pause.in_file, pause.live, pod_name.in_file, pod_name.live) == (True, True, True, False)
    assert [row.is_flag for row in (pause, once)] == [False, True]
    assert live_fields(ROWS) == {"pause"}


def test_options_that_every_service_has_come_last() -> None:
    assert tuple(row.name for row in ROWS[-len(SHARED) :]) == SHARED


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("pause", "[default: 10; env: NPU_PAUSE; file: pause, live]"),
        ("pod-name", "[default: none; env: NPU_POD_NAME; file: podName]"),
        ("name", "[default: all; env: NPU_NAME]"),
        ("once", "[env: NPU_ONCE]"),
    ],
)
def test_help_tells_the_default_and_where_else_an_option_may_stand(name: str, notes: str) -> None:
    row = next(row for row in ROWS if row.name == name)
    assert row.description == f"{row.help} {notes}"


def test_the_command_line_goes_before_the_environment_and_both_before_the_file() -> None:
    environment = {"NPU_PAUSE": "20", "NPU_POD_NAME": "b", "NODE_NAME": "n1"}
    given = Reader(given_of(ROWS, {"pause": "30"}, environment))
    file = Reader([Given("pause", "40", "f.yaml", 1), Given("podName", "c", "f.yaml", 2)])
    settings = take(Sample, environment, Source(file, in_file), Source(given, by_name))
    assert (settings.pause, settings.pod_name, settings.node_name) == (30.0, "b", "n1")
    assert (file.finish(), given.finish()) == ((), ())


def test_a_wrong_value_that_is_overruled_is_told() -> None:
    file = Reader([Given("pause", "0", "f.yaml", 1)])
    settings = take(Sample, {}, Source(file, in_file), Source(Reader(given_of(ROWS, {"pause": "30"}, {})), by_name))
    assert settings.pause == 30.0
    assert [(problem.code, problem.key, problem.line) for problem in file.finish()] == [(ProblemCode.VALUE, "pause", 1)]


def test_an_option_that_may_not_stand_in_the_file_is_an_unknown_key_there() -> None:
    file = Reader([Given("sysfs", "/a", "f.yaml", 3)])
    assert take(Sample, {}, Source(file, in_file)).sysfs == "/sys"
    assert [(problem.code, problem.key, problem.line) for problem in file.finish()] == [
        (ProblemCode.UNKNOWN_KEY, "sysfs", 3)
    ]
