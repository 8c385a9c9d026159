"""A child's own time, by a clock and by files of /proc that the test writes."""

from pathlib import Path

import pytest

from tools.mutation.own_time import Limit, Stopwatch


class Child:
    """Threads and the seconds that each waited for a processor."""

    def __init__(self, tasks: Path) -> None:
        self.now = 100.0
        self.limit = Limit()
        self._tasks = tasks
        self.stopwatch = Stopwatch(tasks, lambda: self.now)

    def passes(self, seconds: float, **waited: float) -> bool:
        """Time passes, in which threads have waited so long by now; whether the child has had its time."""
        self.now += seconds
        for thread, wait in waited.items():
            (self._tasks / thread).mkdir(exist_ok=True)
            (self._tasks / thread / "schedstat").write_text(f"5 {wait * 1e9:.0f} 7\n", encoding="ascii")
        return self.stopwatch.is_over(self.limit)


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(tmp_path)


def test_a_child_without_a_limit_is_never_over(child: Child) -> None:
    assert not child.passes(1000)


def test_a_child_that_sleeps_or_computes_is_over_after_its_limit(child: Child) -> None:
    child.limit.begin(3)
    assert [child.passes(1), child.passes(1), child.passes(2)] == [False, False, True]


def test_waiting_for_a_processor_does_not_count(child: Child) -> None:
    child.limit.begin(3)
    assert not child.passes(10, main=9)
    assert not child.passes(10, main=10, other=8.5)
    assert child.passes(2, main=10, other=8.5)


def test_each_part_has_its_whole_limit(child: Child) -> None:
    child.limit.begin(3)
    assert not child.passes(2.5)
    child.limit.begin(3)
    assert not child.passes(2.5)
    assert child.passes(1)


def test_a_child_whose_threads_are_gone_is_timed_by_the_clock(child: Child, tmp_path: Path) -> None:
    tmp_path.rmdir()
    child.limit.begin(3)
    assert child.passes(4)
