"""What a run of tests shows, and the plugin of pytest that watches it."""

import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import FrameType

import pytest

from tools.mutation.own_time import Limit

_SPARE = 2.0
"""Seconds that every test may take, beside what it takes unhurt."""

_TIMES = 3.0
"""How much longer than unhurt a test may take."""

_COLLECTING = 30.0
"""Seconds for all that comes before the first test of a file."""

WHILE_LOADING = ""
"""Stands for a test where functions are called before there is one."""


@dataclass(slots=True)
class Observation:
    """What was seen of a run.

    Attributes:
        seconds: time by test, in the order in which they were collected.
        calls: first lines of the code of the module that each test ran.
        failed: the first test that failed, or the file that could not be loaded; empty if nothing did.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, list[int]] = field(default_factory=dict)
    failed: str = ""


Rank = Callable[[str], tuple[float, ...] | None]
"""Where a test comes in the order of the run; None if it is left out."""


class Watch:
    """Orders the tests, limits each one's time and notes what becomes of it.

    A test that never ends is killed with its process: nothing else ends a loop that catches whatever is raised in it.
    """

    def __init__(
        self,
        limit: Limit,
        rank: Rank | None = None,
        usual: Mapping[str, float] | None = None,
        traced: str = "",
    ) -> None:
        """Look after a run.

        Args:
            limit: where the parent sees how long each test may take.
            rank: the order of the tests; as collected, if there is none.
            usual: seconds that each test takes unhurt; without them there are no limits.
            traced: file of the module whose calls are to be noted, which takes time; none if empty.
        """
        self.seen = Observation()
        self._limited = limit
        self._rank, self._usual, self._traced = rank, usual, traced
        self._test = WHILE_LOADING
        self._called: dict[str, set[int]] = {}
        if traced:
            threading.settrace(self._note)
            sys.settrace(self._note)

    def pytest_collection(self) -> None:
        """Limit the loading of tests."""
        self._limit(_COLLECTING)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let the tests that are likeliest to fail come first, and leave out those that run nothing that is mutated."""
        if self._rank is not None:
            ranks = {item: rank for item in items if (rank := self._rank(item.nodeid)) is not None}
            items[:] = sorted(ranks, key=ranks.__getitem__)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Limit a test and time it."""
        self._test = item.nodeid
        self._limit(_SPARE + _TIMES * (self._usual or {}).get(item.nodeid, 0.0))
        before = time.monotonic()
        if self._traced:
            sys.settrace(self._note)
        result = yield
        self.seen.seconds[item.nodeid] = time.monotonic() - before
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the first failure."""
        if report.failed and not self.seen.failed:
            self.seen.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be loaded."""
        if report.failed and not self.seen.failed:
            self.seen.failed = report.nodeid

    def finish(self) -> Observation:
        """Stop watching; all that was seen."""
        threading.settrace(None)
        sys.settrace(None)
        self.seen.calls = {test: sorted(lines) for test, lines in list(self._called.items())}
        return self.seen

    def _limit(self, seconds: float) -> None:
        if self._usual is not None:
            self._limited.begin(seconds)

    def _note(self, frame: FrameType, _event: str, _argument: object) -> None:
        if frame.f_code.co_filename == self._traced:
            self._called.setdefault(self._test, set()).add(frame.f_code.co_firstlineno)
