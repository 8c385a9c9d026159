"""Waiting for events: one deadline that is generous, and a message that says what was seen instead."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120.0
"""Seconds; most events come within two, labels within 70, and a busy machine takes a multiple."""
_Value = TypeVar("_Value")


def until(
    look: Callable[[], _Value],
    what: str,
    seconds: float = PATIENCE,
    *,
    instead: Callable[[], object] | None = None,
) -> _Value:
    """The first answer that is true.

    Args:
        look: asked every fifth of a second.
        what: is waited for, for the message.
        seconds: how long at most.
        instead: asked for the message what is there instead; the last answer if None.

    Raises:
        AssertionError: if none is in time; says what was waited for, and the last answer.
    """
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; instead: {instead() if instead else seen}")
        time.sleep(0.2)
    return seen
