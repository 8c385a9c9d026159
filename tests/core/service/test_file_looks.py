"""Looks at files that come back late or never."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from npu_core.service import file_looks
from npu_core.service.file_looks import DEADLINE, FileLooks


class SlowFile:
    """A look that ends when the test says so."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.looks = 0

    def look(self) -> int:
        self.looks += 1
        self.go_on.wait(60)
        return self.looks


async def result(looks: FileLooks[int]) -> int:
    async with asyncio.timeout(60):
        while (found := looks.take()) is None:  # noqa: ASYNC110  # a thread has no asyncio.Event
            await asyncio.sleep(0.001)
    return found


@pytest.fixture
def slow() -> Iterator[SlowFile]:
    slow = SlowFile()
    yield slow
    slow.go_on.set()


async def test_a_quick_look_has_its_result_when_it_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_looks, "PATIENCE", 60.0)
    looks = FileLooks(lambda: "seen")
    looks.begin()
    await looks.wait()
    assert [looks.take(), looks.take()] == ["seen", None]


async def test_a_slow_look_is_left_alone_and_taken_when_it_has_ended(slow: SlowFile) -> None:
    looks = FileLooks(slow.look)
    looks.begin()
    await looks.wait()
    assert looks.take() is None
    looks.begin()
    assert slow.looks == 1
    slow.go_on.set()
    assert await result(looks) == 1


async def test_a_look_that_does_not_come_back_is_complained_of_and_not_waited_for(slow: SlowFile) -> None:
    now = [0.0]
    looks = FileLooks(slow.look, lambda: now[0])
    looks.begin()
    now[0] = DEADLINE + 1
    await looks.wait()
    assert looks.complaint == f"no answer within {DEADLINE:g} s"
    slow.go_on.set()
    await result(looks)
    assert looks.complaint == ""


async def test_what_the_look_raises_is_raised_to_whoever_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_looks, "PATIENCE", 60.0)

    def fail() -> str:
        raise ZeroDivisionError

    looks = FileLooks(fail)
    looks.begin()
    await looks.wait()
    with pytest.raises(ZeroDivisionError):
        looks.take()
