"""Reads that may never come back: given up at a deadline, never queued up, and no reason for a process to stay."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import pytest

from npu_core.errors import ExhaustedError, ReadFailedError, StuckError
from npu_core.service.device_threads import DeviceThreads, Sweep, unanswered
from testkit.refused_threads import no_more_threads
from testkit.waiting import PATIENCE


@dataclass(slots=True)
class Clock:
    """Time that passes when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class HungRead:
    """Work that comes back when it is released."""

    begun: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> str:
        self.begun.set()
        self.released.wait()
        return "late"


def hang(threads: DeviceThreads, key: str) -> tuple[HungRead, Future[str]]:
    """Let a key's thread be stuck in a read."""
    read = HungRead()
    future = threads.start(key, read)
    assert read.begun.wait(PATIENCE)
    return read, future


@dataclass(slots=True)
class Listener:
    """Keeps a thread in the middle of telling its result."""

    heard: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _: Future[str]) -> None:
        self.heard.set()
        self.released.wait()


def telling(threads: DeviceThreads, key: str) -> Listener:
    """Let a key's thread be in the middle of telling a result."""
    listener = Listener()
    read, future = hang(threads, key)
    future.add_done_callback(listener)
    read.released.set()
    assert listener.heard.wait(PATIENCE)
    return listener


def test_a_thread_outlives_work_that_fails() -> None:
    threads = DeviceThreads()
    failed = threads.start("npu0", lambda: 1 // 0)
    assert isinstance(failed.exception(PATIENCE), ZeroDivisionError)
    assert threads.start("npu0", lambda: "next").result(PATIENCE) == "next"


def test_a_key_has_one_daemon_thread_named_after_it() -> None:
    threads = DeviceThreads()
    first, second, other = (
        threads.start(key, threading.current_thread).result(PATIENCE) for key in ("npu7", "npu7", "npu1")
    )
    assert first is second is not other
    assert (first.name, first.daemon) == ("device npu7", True)
    threads.forget("npu7")
    threads.forget("npu7")
    first.join(PATIENCE)
    assert (first.is_alive(), other.is_alive()) == (False, True)


def test_nothing_is_queued_up_behind_a_hung_read() -> None:
    clock = Clock()
    threads = DeviceThreads(clock)
    read, future = hang(threads, "npu0")
    clock.now += 42.4
    with pytest.raises(StuckError, match="42 s"):
        threads.start("npu0", lambda: "never")
    assert threads.start("npu1", lambda: "here").result(PATIENCE) == "here"
    read.released.set()
    assert future.result(PATIENCE) == "late"
    assert threads.start("npu0", lambda: "next").result(PATIENCE) == "next"


def test_whoever_hears_of_a_result_may_bring_the_next_work_at_once() -> None:
    threads = DeviceThreads()
    listener = telling(threads, "npu0")
    following = threads.start("npu0", lambda: "next")
    listener.released.set()
    assert following.result(PATIENCE) == "next"


def test_a_thread_that_cannot_be_started_costs_the_work_and_is_tried_again() -> None:
    threads = DeviceThreads()
    with no_more_threads(), pytest.raises(ExhaustedError):
        threads.start("npu0", lambda: "never")
    assert (threads.busy("npu0"), threads.stuck(0.0)) == (None, frozenset())
    assert threads.start("npu0", lambda: "now").result(PATIENCE) == "now"


def in_a_row(threads: DeviceThreads, *works: Callable[[], str]) -> Sweep[str, str]:
    """A sweep over npu0, npu1, ... with this work."""
    return threads.sweep({f"npu{index}": work for index, work in enumerate(works)})


def test_without_more_threads_an_idle_one_does_the_work_of_another_key() -> None:
    threads = DeviceThreads()
    thread = threads.start("listing", threading.current_thread).result(PATIENCE)
    with no_more_threads():
        assert threads.start("npu0", threading.current_thread).result(PATIENCE) is thread
        assert threads.start("listing", threading.current_thread).result(PATIENCE) is thread


def test_without_more_threads_one_card_that_hangs_costs_the_others_nothing() -> None:
    threads = DeviceThreads()
    threads.start("listing", lambda: None).result(PATIENCE)
    hung = HungRead()
    sweep = in_a_row(threads, hung, lambda: "1", lambda: "2", lambda: "3")
    assert hung.begun.wait(PATIENCE)
    with no_more_threads():
        threads.spread()
        assert [sweep.reads[f"npu{index}"].result(PATIENCE) for index in (1, 2, 3)] == ["1", "2", "3"]
        again = in_a_row(threads, lambda: "0", lambda: "1", lambda: "2")
        assert [again.reads[f"npu{index}"].result(PATIENCE) for index in (1, 2)] == ["1", "2"]
        with pytest.raises(StuckError):
            again.reads["npu0"].result(PATIENCE)
    hung.released.set()


def test_work_that_no_thread_is_left_for_is_not_asked_and_no_card_is_stuck_for_that() -> None:
    clock = Clock()
    threads = DeviceThreads(clock)
    hung = HungRead()
    sweep = in_a_row(threads, hung, lambda: "1", lambda: "2")
    assert hung.begun.wait(PATIENCE)
    with no_more_threads():
        threads.spread()
        for index in (1, 2):
            with pytest.raises(ExhaustedError):
                sweep.reads[f"npu{index}"].result(PATIENCE)
        clock.now += 60.0
        assert threads.stuck(2.0) == {"npu0"}
        assert (threads.busy("npu1"), threads.busy("npu2")) == (None, None)
    again = in_a_row(threads, lambda: "0", lambda: "1", lambda: "2")
    assert [again.reads[f"npu{index}"].result(PATIENCE) for index in (1, 2)] == ["1", "2"]
    hung.released.set()


def test_a_second_card_that_hangs_takes_the_last_thread_and_the_rest_is_not_asked() -> None:
    threads = DeviceThreads()
    listing = threads.start("listing", threading.current_thread).result(PATIENCE)
    first, second = HungRead(), HungRead()
    sweep = in_a_row(threads, first, second, lambda: "2")
    assert first.begun.wait(PATIENCE)
    with no_more_threads():
        threads.spread()
        assert second.begun.wait(PATIENCE)
        assert isinstance(unanswered(sweep.reads["npu1"], 2.0), StuckError)
        assert isinstance(unanswered(sweep.reads["npu2"], 2.0), ExhaustedError)
        assert threads.busy("npu2") is None
        with pytest.raises(ExhaustedError):
            threads.start("listing", lambda: None)
    # The thread of the listing is lost to a card: as soon as there are threads again, the listing has one.
    assert threads.start("listing", threading.current_thread).result(PATIENCE) is not listing
    again = in_a_row(threads, lambda: "0", lambda: "1", lambda: "2")
    assert again.reads["npu2"].result(PATIENCE) == "2"
    first.released.set()
    second.released.set()
    listing.join(PATIENCE)
    assert not listing.is_alive()


def test_a_key_counts_as_stuck_only_beyond_its_time() -> None:
    clock = Clock()
    threads = DeviceThreads(clock)
    read, future = hang(threads, "npu0")
    threads.start("npu1", lambda: None).result(PATIENCE)
    clock.now += 2.0
    assert threads.stuck(longer_than=2.0) == frozenset()
    clock.now += 0.1
    assert threads.stuck(longer_than=2.0) == {"npu0"}
    read.released.set()
    future.result(PATIENCE)
    assert threads.stuck(longer_than=2.0) == frozenset()


def test_work_that_was_given_up_before_it_began_is_not_done() -> None:
    threads = DeviceThreads()
    thread = threads.start("npu0", threading.current_thread).result(PATIENCE)
    done: list[str] = []
    listener = telling(threads, "npu0")
    waiting = threads.start("npu0", lambda: done.append("done"))
    waiting.cancel()
    threads.forget("npu0")
    listener.released.set()
    thread.join(PATIENCE)
    assert (waiting.cancelled(), done) == (True, [])


def test_a_forgotten_key_that_was_stuck_begins_anew() -> None:
    threads = DeviceThreads()
    read, _ = hang(threads, "npu0")
    threads.forget("npu0")
    assert threads.stuck(longer_than=-1.0) == frozenset()
    assert threads.start("npu0", lambda: "anew").result(PATIENCE) == "anew"
    read.released.set()


# -- a sweep ----------------------------------------------------------------------------------------------------------


def held_up(threads: DeviceThreads) -> tuple[HungRead, Sweep[str, str]]:
    """A sweep over three keys, held up by the second."""
    read = HungRead()
    works: dict[str, Callable[[], str]] = {"npu0": lambda: "first", "npu1": read, "npu2": lambda: "last"}
    sweep = threads.sweep(works)
    assert read.begun.wait(PATIENCE)
    return read, sweep


def test_a_sweep_does_its_work_in_order_on_one_daemon_thread() -> None:
    threads = DeviceThreads()
    done: list[tuple[int, threading.Thread]] = []
    works = {f"npu{index}": partial(_note, done, index) for index in range(8)}
    for _ in range(2):
        threads.sweep(works).swept.result(PATIENCE)
    assert [index for index, _ in done] == [*range(8), *range(8)]
    assert {(thread.name, thread.daemon) for _, thread in done} == {("devices", True)}
    assert len({thread.ident for _, thread in done}) == 1


def _note(done: list[tuple[int, threading.Thread]], index: int) -> None:
    done.append((index, threading.current_thread()))


def test_a_sweep_that_is_held_up_goes_on_when_it_is_spread() -> None:
    threads = DeviceThreads()
    assert threads.sweep({}).swept.result(PATIENCE) is None
    read, sweep = held_up(threads)
    assert sweep.reads["npu0"].result() == "first"
    assert not sweep.reads["npu2"].done()
    threads.spread()
    assert sweep.reads["npu2"].result(PATIENCE) == "last"
    assert (threads.busy("npu0"), threads.busy("npu2")) == (None, None)
    assert threads.stuck(-1.0) == {"npu1"}
    read.released.set()
    assert sweep.reads["npu1"].result(PATIENCE) == "late"
    assert threads.stuck(-1.0) == frozenset()


def test_several_that_hang_hold_up_nobody_once_the_sweep_is_spread() -> None:
    threads = DeviceThreads()
    hung = [HungRead() for _ in range(4)]
    works: dict[str, Callable[[], str]] = {f"npu{index}": read for index, read in enumerate(hung)}
    sweep = threads.sweep(works | {"npu4": lambda: "here"})
    threads.spread()
    assert sweep.reads["npu4"].result(PATIENCE) == "here"
    assert all(read.begun.wait(PATIENCE) for read in hung)
    assert threads.stuck(-1.0) == {"npu0", "npu1", "npu2", "npu3"}
    for read in hung:
        read.released.set()


def test_a_key_that_hangs_is_left_out_of_the_next_sweep_which_is_begun_all_the_same() -> None:
    clock = Clock()
    threads = DeviceThreads(clock)
    read, _ = held_up(threads)
    clock.now += 3.0
    sweep = threads.sweep({"npu1": lambda: "never", "npu3": lambda: "here"})
    assert isinstance(sweep.reads["npu1"].exception(), StuckError)
    assert sweep.reads["npu3"].result(PATIENCE) == "here"
    read.released.set()


def test_the_thread_that_was_left_to_a_hung_read_ends_with_it() -> None:
    threads = DeviceThreads()
    thread = threads.sweep({"npu0": threading.current_thread}).reads["npu0"].result(PATIENCE)
    read, _ = held_up(threads)
    threads.spread()
    assert thread.is_alive()
    read.released.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_to_spread_a_sweep_that_is_over_changes_nothing() -> None:
    threads = DeviceThreads()
    sweeps = []
    for _ in range(2):
        sweep = threads.sweep({"npu0": threading.get_ident})
        sweep.swept.result(PATIENCE)
        threads.spread()
        sweeps.append(sweep.reads["npu0"].result())
    assert sweeps[0] == sweeps[1]


def test_a_sweep_without_room_for_threads_costs_its_work_and_is_tried_again() -> None:
    threads = DeviceThreads()
    with no_more_threads():
        sweep = threads.sweep({"npu0": lambda: "never", "npu1": lambda: "never"})
    assert [type(read.exception(PATIENCE)) for read in sweep.reads.values()] == [ExhaustedError, ExhaustedError]
    assert threads.stuck(-1.0) == frozenset()
    assert threads.sweep({"npu0": lambda: "now"}).reads["npu0"].result(PATIENCE) == "now"


def test_a_sweep_that_is_held_up_leaves_no_thread_behind_whatever_begins_the_next_one() -> None:
    threads = DeviceThreads()
    left: list[object] = []
    reads: list[HungRead] = []
    for _ in range(3):
        read = HungRead()
        works: dict[str, Callable[[], object]] = {"first": threading.current_thread, f"npu{len(reads)}": read}
        sweep = threads.sweep(works)
        left.append(sweep.reads["first"].result(PATIENCE))
        assert read.begun.wait(PATIENCE)
        reads.append(read)
    assert len(set(left)) == 3
    threads.spread()
    for read in reads:
        read.released.set()
    for thread in left:
        assert isinstance(thread, threading.Thread)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_work_that_fails_costs_the_work_alone() -> None:
    def fail() -> str:
        raise ReadFailedError("EIO", path="/sys/x")

    sweep = DeviceThreads().sweep({"npu0": fail, "npu1": lambda: "here"})
    sweep.swept.result(PATIENCE)
    assert isinstance(sweep.reads["npu0"].exception(), ReadFailedError)
    assert sweep.reads["npu1"].result() == "here"


def test_a_system_without_memory_refuses_threads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise MemoryError

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ExhaustedError):
        DeviceThreads().start("npu0", lambda: "never")


@pytest.mark.parametrize("begin", ["start('npu0', hang)", "sweep({'npu0': hang})"])
def test_a_process_with_a_hung_read_ends(begin: str) -> None:
    program = f"""
import threading
from npu_core.service.device_threads import DeviceThreads
begun = threading.Event()
hang = lambda: (begun.set(), threading.Event().wait())
DeviceThreads().{begin}
begun.wait()
print("leaving")
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "leaving\n", "")
