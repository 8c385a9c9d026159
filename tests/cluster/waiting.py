"""Waiting for events: one deadline that is generous, and a message that says what was seen instead."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120.0
"""Seconds; most events come within two, labels within 70, and a busy machine takes a multiple."""
_Value = TypeVar("_Value")


def until(look: Callable[[], _Value], what: str, seconds: float = PATIENCE) -> _Value:
    """The first answer that is true.

    Raises:
        AssertionError: if none is in time; says what was waited for, and the last answer.
    """
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; last seen: {seen!r}"
        time.sleep(0.2)
    return seen
