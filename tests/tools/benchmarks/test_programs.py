"""Programs under measurement: how long something may take of them."""

import sys

import pytest

from tools.benchmarks.programs import Program

RESTS = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_what_is_waited_for_may_come_long_after_the_start() -> None:
    """A program is waited for many times; its age is not what it took this time."""
    answers = iter([False, True])
    with Program("old one", RESTS) as program:
        program.begun -= 3600
        assert program.until(lambda: next(answers)) >= 3600


def test_a_program_that_has_ended_is_not_waited_for() -> None:
    with Program("short one", [sys.executable, "-c", "raise SystemExit(3)"]) as program:  # noqa: SIM117
        with pytest.raises(RuntimeError, match="short one ended with status 3"):
            program.until(lambda: False)
