"""Many cards read at once: a card that hangs is told, and costs the others nothing."""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from npu_core import Arch, CardReader, Reason, StuckError, Unreadable, read_all
from npu_core.device import CardKey
from npu_core.testing import FakeHost, warboy
from testkit.waiting import PATIENCE, until

HUNG, GOOD = (Arch.WARBOY, 0), (Arch.WARBOY, 1)


class Hung:
    """Work that comes back when it is told to, and a wait that is over when nothing else is missing."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        self.released.wait(PATIENCE)
        return "late"

    def wait(self, reads: Collection[Future[Any]], seconds: float) -> None:
        """Until all reads but one have ended, and that one has begun."""
        del seconds
        assert self.begun.wait(PATIENCE)
        until(lambda: sum(not read.done() for read in reads) <= 1, "the other reads")


@pytest.fixture
def hung() -> Hung:
    return Hung()


def test_each_card_gives_its_value(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1)).open()
    found = read_all({card.key: partial(host.identify, card) for card in host.find()}, PATIENCE)
    assert found == {card.key: card for card in host.inventory()}


def test_a_card_that_hangs_is_told_beside_the_others(hung: Hung) -> None:
    reader = CardReader(wait=hung.wait)
    works: dict[CardKey, Callable[[], str]] = {HUNG: hung, GOOD: lambda: "first"}
    found = reader.read_all(works, 2.0)
    assert found == {GOOD: "first", HUNG: Unreadable.of("npu0", "card", StuckError("no answer within 2 s"))}
    assert reader.stuck() == {HUNG}
    hung.released.set()


def test_nothing_more_is_asked_of_a_card_until_its_read_comes_back(hung: Hung) -> None:
    reader, asked = CardReader(wait=hung.wait), list[str]()

    def ask() -> str:
        asked.append("again")
        return "again"

    reader.read_all({HUNG: hung}, 2.0)
    again = reader.read_all({HUNG: ask}, 2.0)[HUNG]
    assert isinstance(again, Unreadable)
    assert (again.reason, asked) == (Reason.STUCK, [])
    hung.released.set()
    until(lambda: not reader.stuck(), "the read that comes back")
    assert not asked


@pytest.mark.parametrize("error", [ZeroDivisionError("odd"), StuckError("no answer")])
def test_a_read_that_fails_costs_its_own_card_alone(error: Exception) -> None:
    def fail() -> str:
        raise error

    found = read_all({HUNG: fail, GOOD: lambda: "well"}, PATIENCE)
    assert (type(found[HUNG]), found[GOOD]) == (Unreadable, "well")
