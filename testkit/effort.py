"""What work costs, counted and not timed: the same on every machine."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python ``work`` runs through, in this thread."""
    count = 0

    def line(_frame: FrameType, event: str, _argument: Any) -> Any:  # noqa: ANN401  # of sys.settrace
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
