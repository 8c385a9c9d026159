"""Waiting for events: one deadline for all tests, and a message that says what was seen instead.

An event that comes ends the wait, so a long deadline costs nothing. A machine that needs longer gets it by
``NPU_TEST_PATIENCE``, in seconds.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

PATIENCE = float(os.environ.get("NPU_TEST_PATIENCE", "120"))
"""Seconds that a test waits for an event. Most events come within two, and a busy machine takes a multiple."""
_PAUSE = 0.02
_Value = TypeVar("_Value")


def until(
    look: Callable[[], _Value],
    what: str,
    seconds: float = PATIENCE,
    *,
    instead: Callable[[], object] | None = None,
    pause: float = _PAUSE,
) -> _Value:
    """The first answer that is true.

    Args:
        look: asked again and again.
        what: is waited for, for the message.
        seconds: how long at most.
        instead: asked for the message what is there instead; the last answer if None.
        pause: seconds between the first two questions; later ones are up to ten times as long.

    Raises:
        AssertionError: if none is in time; says what was waited for, and the last answer.
    """
    deadline = time.monotonic() + seconds
    pauses = _pauses(pause)
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(_late(what, seconds, instead() if instead else seen))
        time.sleep(next(pauses))
    return seen


async def eventually(
    look: Callable[[], _Value | Awaitable[_Value]], what: str, seconds: float = PATIENCE, *, pause: float = _PAUSE
) -> _Value:
    """As :func:`until`, while the event loop goes on; ``look`` may be a coroutine function."""
    deadline = time.monotonic() + seconds
    pauses = _pauses(pause)
    while True:
        answer = look()
        seen = await answer if inspect.isawaitable(answer) else answer
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(_late(what, seconds, seen))
        await asyncio.sleep(next(pauses))


def _pauses(first: float) -> Iterator[float]:
    """Longer and longer ones: who is asked need not be busy with questions where the event takes a while."""
    longest, pause = 10 * first, first
    while True:
        yield pause
        pause = min(longest, 1.25 * pause)


def _late(what: str, seconds: float, seen: object) -> str:
    return f"not within {seconds:g} s: {what}; instead: {seen}"
