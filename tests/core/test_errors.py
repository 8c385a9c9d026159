"""The tree of errors: whose fault it is, which file, and why."""

import errno
import os
from collections.abc import Iterator

import pytest
from hypothesis import given

from npu_core.errors import (
    MOST_TOLD,
    AccessDeniedError,
    BusyError,
    ExhaustedError,
    FormatError,
    GoneError,
    HostError,
    ImpossibleError,
    MissingError,
    NpuError,
    Problem,
    ReadFailedError,
    Reason,
    SettingsError,
    Unreadable,
    UnsupportedDeviceError,
    UsageError,
    host_error,
)
from testkit.strategies import host_errors

ALIVE = "/sys/class/npu_mgmt/npu0_mgmt/alive"


@pytest.mark.parametrize(
    ("code", "leaf", "reason"),
    [
        (errno.EACCES, AccessDeniedError, Reason.ACCESS),
        (errno.EPERM, AccessDeniedError, Reason.ACCESS),
        (errno.ENOENT, MissingError, Reason.MISSING),
        (errno.ENOTDIR, MissingError, Reason.MISSING),
        (errno.ENODEV, GoneError, Reason.GONE),
        (errno.ENXIO, GoneError, Reason.GONE),
        (errno.EBUSY, BusyError, Reason.BUSY),
        (errno.EAGAIN, BusyError, Reason.BUSY),
        (errno.EIO, ReadFailedError, Reason.IO),
        (errno.ESRCH, ReadFailedError, Reason.IO),
        (errno.EINVAL, ReadFailedError, Reason.IO),
        (errno.EMFILE, ExhaustedError, Reason.EXHAUSTED),
        (errno.ENFILE, ExhaustedError, Reason.EXHAUSTED),
        (errno.ENOMEM, ExhaustedError, Reason.EXHAUSTED),
        (errno.ENOBUFS, ExhaustedError, Reason.EXHAUSTED),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else None,
)
def test_an_errno_is_one_leaf_that_names_the_path(code: int, leaf: type[HostError], reason: Reason) -> None:
    error = host_error(OSError(code, os.strerror(code)), ALIVE)
    assert type(error) is leaf
    assert (error.path, error.reason) == (ALIVE, reason)
    assert str(error) == f"{ALIVE}: {errno.errorcode[code]} ({os.strerror(code)})"


def test_an_error_without_errno_is_still_an_error_of_the_host() -> None:
    error = host_error(OSError("odd"), ALIVE)
    assert type(error) is ReadFailedError
    assert str(error) == f"{ALIVE}: unknown error (odd)"


def kinds(of: type[HostError]) -> Iterator[type[HostError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_reason_belongs_to_exactly_one_kind_of_error() -> None:
    assert sorted(kind.reason for kind in kinds(HostError)) == sorted(Reason)


def test_a_number_that_cannot_be_is_a_text_that_does_not_say_what_it_should() -> None:
    """Who catches the one has the other as well."""
    error: FormatError = ImpossibleError("511000", "a temperature from -55 to 150 °C").at(ALIVE)
    assert (type(error), error.path, error.reason) == (ImpossibleError, ALIVE, Reason.IMPOSSIBLE)


def test_callers_can_catch_by_whose_fault_it_is() -> None:
    assert issubclass(UnsupportedDeviceError, UsageError)
    assert issubclass(UsageError, ValueError)
    assert {kind.__mro__[1] for kind in (UsageError, SettingsError, HostError)} == {NpuError}
    assert not issubclass(HostError, OSError)


def test_a_format_error_shows_what_it_found_and_what_it_expected() -> None:
    error = FormatError("maybe\n", "0 or 1")
    assert (error.text, error.expected, error.path) == ("maybe\n", "0 or 1", None)
    assert str(error) == error.detail == "'maybe\\n' is not 0 or 1"


def test_a_format_error_can_be_given_the_path_it_came_from() -> None:
    error = FormatError("maybe", "0 or 1").at(ALIVE)
    assert (type(error), error.text, error.expected, error.path) == (FormatError, "maybe", "0 or 1", ALIVE)
    assert str(error) == f"{ALIVE}: 'maybe' is not 0 or 1"


def test_a_long_text_is_shortened_once() -> None:
    error = FormatError("x" * 100, "short")
    assert error.text == "x" * 80 + "…"
    assert error.at(ALIVE).text == error.text
    assert FormatError("x" * 80, "short").text == "x" * 80


@given(host_errors())
def test_an_error_as_a_value_says_the_same_without_the_path(error: HostError) -> None:
    value = Unreadable.of("npu0", "alive", error)
    assert (value.card, value.subject, value.reason, value.detail) == ("npu0", "alive", error.reason, error.detail)
    assert str(value) == f"npu0 alive: {error.detail}"


def test_a_settings_error_tells_a_few_problems_and_counts_the_others() -> None:
    problems = [Problem(f"a{number}", "1", "2", "file", number) for number in range(MOST_TOLD + 3)]
    error = SettingsError(problems)
    assert error.problems == tuple(problems)
    assert error.told == (*(str(problem) for problem in problems[:MOST_TOLD]), "and 3 more problems")
