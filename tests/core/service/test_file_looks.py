"""Looks at files that come back late or never."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from npu_core.service import file_looks
from npu_core.service.file_looks import FileLooks
from testkit.refused_threads import no_more_threads
from testkit.waiting import PATIENCE, eventually


class SlowFile:
    """A look that ends when the test says so."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.looks = 0

    def look(self) -> int:
        self.looks += 1
        self.go_on.wait()
        return self.looks


@pytest.fixture
def slow() -> Iterator[SlowFile]:
    slow = SlowFile()
    yield slow
    slow.go_on.set()


async def test_a_quick_look_has_its_result_when_it_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_looks, "PATIENCE", PATIENCE)
    looks = FileLooks(lambda: "seen")
    await looks.wait()  # for nothing
    assert looks.take() is None
    looks.begin()
    for _ in range(2):
        await looks.wait()
    assert [looks.take(), looks.take()] == ["seen", None]


async def test_a_slow_look_is_left_alone_and_taken_when_it_has_ended(slow: SlowFile) -> None:
    looks = FileLooks(slow.look)
    looks.begin()
    await looks.wait()
    assert looks.take() is None
    looks.begin()
    slow.go_on.set()
    assert await eventually(looks.take, "the look ends") == 1


async def test_a_look_is_waited_for_from_its_beginning_on(slow: SlowFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits again and again does not wait anew each time."""
    now, spans = [0.0], []

    async def wait(_: object, timeout: float) -> None:  # noqa: ASYNC109  # as asyncio.wait
        spans.append(timeout)

    monkeypatch.setattr(asyncio, "wait", wait)
    looks = FileLooks(slow.look, lambda: now[0])
    looks.begin()
    for now[0] in (0.0, 0.15, 0.2, 7.0):
        await looks.wait()
    assert spans == [0.2, pytest.approx(0.05)]


async def test_a_look_that_does_not_come_back_is_complained_of_and_not_waited_for(slow: SlowFile) -> None:
    now = [0.0]
    looks = FileLooks(slow.look, lambda: now[0])
    looks.begin()
    now[0] = 5.0
    assert looks.complaint == ""
    now[0] += 0.1
    await looks.wait()
    assert looks.complaint
    slow.go_on.set()
    await eventually(looks.take, "the look ends")
    assert looks.complaint == ""


async def test_a_look_without_a_thread_is_complained_of_and_made_at_the_next_call() -> None:
    looks = FileLooks(lambda: "seen")
    with no_more_threads():
        looks.begin()
    assert looks.complaint
    assert looks.take() is None
    looks.begin()
    assert looks.complaint == ""
    assert await eventually(looks.take, "the look ends") == "seen"


async def test_what_the_look_raises_is_raised_to_whoever_takes_it_and_the_next_look_is_made() -> None:
    answers = iter([0, 1])
    looks = FileLooks(lambda: 1 // next(answers))
    looks.begin()
    with pytest.raises(ZeroDivisionError):
        await eventually(looks.take, "the look ends")
    looks.begin()
    assert await eventually(looks.take, "the next look ends") == 1
