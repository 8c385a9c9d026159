"""Reads of cards that may never come back, on threads that may be lost.

A read of a hung card blocks in the kernel and cannot be cancelled. On an event loop it would stop the service, and in
an executor it would stop the process from ending. So it is made on a daemon thread: a read that misses its deadline is
given up, the card counts as stuck, and nothing more is asked of it until the read comes back.

One card is read on a thread of its own. Many cards are read in a sweep, one after another on a thread that they share,
because waking a thread costs more than reading a card. If one of them holds the sweep up, the thread is left to it and
the others go on, each on its own.

Where the system refuses new threads, idle threads do the work of every key. Work for which no thread is idle fails with
an :class:`~npu_core.errors.ExhaustedError`: the lack of threads is no fault of a card.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from npu_core.errors import ExhaustedError, HostError, StuckError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    key: Hashable
    work: Callable[[], Any]
    since: float
    future: "Future[Any]" = field(default_factory=Future)
    over: bool = False

    def run(self) -> None:
        tell = self._do()
        # First free, then heard of: whoever waits for the result may bring the next work at once.
        self.over = True
        tell()

    def _do(self) -> Callable[[], None]:
        """Do the work; what is returned tells whoever waits for it."""
        if not self.future.set_running_or_notify_cancel():
            return lambda: None
        try:
            result = self.work()
        except Exception as error:  # noqa: BLE001  # whatever the work raises is the caller's to see
            return partial(self.future.set_exception, error)
        return partial(self.future.set_result, result)


@dataclass(slots=True)
class _Row:
    """Jobs that wait for a shared thread. Whoever takes one has it alone: the thread, or who spreads what is left."""

    waiting: deque[_Job]
    swept: "Future[None]" = field(default_factory=Future)

    def next(self) -> _Job | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def run(self) -> None:
        while (job := self.next()) is not None:
            job.run()
        self.swept.set_result(None)


@dataclass(slots=True)
class _Worker:
    """A thread.

    Attributes:
        name: the name of the thread.
        errands: the work that the thread has still to do; None ends the thread.
        row: the last row of jobs that the thread was given; None before the first row.
    """

    name: str
    errands: "queue.SimpleQueue[Callable[[], None] | None]" = field(default_factory=queue.SimpleQueue)
    row: _Row | None = None

    @property
    def has_row(self) -> bool:
        """Whether the thread is at work on a row of jobs."""
        return self.row is not None and not self.row.swept.done()

    def start(self) -> None:
        threading.Thread(target=self._work, name=self.name, daemon=True).start()

    def take(self, row: _Row) -> None:
        self.row = row
        self.errands.put(row.run)

    def retire(self) -> None:
        self.errands.put(None)

    def _work(self) -> None:
        while (errand := self.errands.get()) is not None:
            errand()


@dataclass(frozen=True, slots=True)
class Sweep(Generic[K, T]):
    """Work for many keys, begun together.

    Attributes:
        reads: what each key's work gives.
        swept: done as soon as the shared thread is through.
    """

    reads: "Mapping[K, Future[T]]"
    swept: "Future[None]"


class DeviceThreads:
    """Daemon threads for the work of each key, made at their first use. Not to be shared between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """No threads yet; ``clock`` gives seconds that do not go back."""
        self._clock = clock
        self._workers: dict[Hashable, _Worker] = {}
        self._shared: _Worker | None = None
        self._row = _Row(deque())
        self._row.run()
        self._jobs: dict[Hashable, _Job] = {}

    def start(self, key: Hashable, work: Callable[[], T]) -> "Future[T]":
        """Run ``work`` on the key's own thread.

        Raises:
            StuckError: if a thread is still at its last work: nothing is queued up behind a hung card.
            ExhaustedError: if the system refuses a thread and no thread is idle. A later call may get one.
        """
        job = self._job(key, work)
        self._begin_alone(job)
        self._jobs[key] = job
        return job.future

    def sweep(self, works: Mapping[K, Callable[[], T]]) -> Sweep[K, T]:
        """Run all the work, in its order, on one thread, until :meth:`spread` is called.

        Work that cannot be begun has the error for its result, as :meth:`start` would raise it.
        """
        self.spread()
        reads: dict[K, Future[T]] = {}
        row = self._row = _Row(deque())
        for key, work in works.items():
            try:
                job = self._job(key, work)
            except StuckError as error:
                reads[key] = _failed(error)
            else:
                self._jobs[key], reads[key] = job, job.future
                row.waiting.append(job)
        self._begin(row)
        return Sweep(reads, row.swept)

    def spread(self) -> None:
        """If a job blocks the last sweep, leave the thread to that job, and begin the other jobs at once.

        Each of the other jobs gets a thread of its own. Jobs for which the system refuses a thread run one after
        another on an idle thread.
        """
        held_up = self._row
        if held_up.swept.done():
            return
        if self._shared is not None and self._shared.row is held_up:
            self._shared.retire()
            self._shared = None
        rest = self._row = _Row(deque())
        while (job := held_up.next()) is not None:
            try:
                self._begin_alone(job, or_on_idle=False)
            except ExhaustedError:
                rest.waiting.append(job)
        self._begin_on_idle(rest)

    def busy(self, key: Hashable) -> float | None:
        """Seconds that the key's last work has been running; None if the work is over, or was canceled early."""
        job = self._jobs.get(key)
        return None if job is None or job.over or job.future.cancelled() else self._clock() - job.since

    def stuck(self, longer_than: float) -> frozenset[Hashable]:
        """The keys whose last work has been under way for more than so many seconds."""
        times = ((key, self.busy(key)) for key in self._jobs)
        return frozenset(key for key, seconds in times if seconds is not None and seconds > longer_than)

    def forget(self, key: Hashable) -> None:
        """The key is not needed any more: its thread ends as soon as its work does."""
        self._jobs.pop(key, None)
        worker = self._workers.pop(key, None)
        if worker is not None:
            worker.retire()

    def keep(self, keys: AbstractSet[Hashable]) -> None:
        """Only these keys are needed from now on, and those whose last work is not over: forget the others."""
        for key in (self._jobs.keys() | self._workers.keys()) - keys:
            if self.busy(key) is None:
                self.forget(key)

    def _job(self, key: Hashable, work: Callable[[], Any]) -> _Job:
        busy = self.busy(key)
        if busy is not None:
            raise StuckError(f"a read begun {busy:.0f} s ago has not come back")
        return _Job(key, work, self._clock())

    def _begin(self, row: _Row) -> None:
        shared = self._shared
        if shared is None or shared.has_row:
            try:
                self._shared = _started("devices")
            except ExhaustedError:
                self._begin_on_idle(row)
                return
            if shared is not None:
                shared.retire()
            shared = self._shared
        shared.take(row)

    def _begin_alone(self, job: _Job, *, or_on_idle: bool = True) -> None:
        try:
            self._worker(job.key).errands.put(job.run)
        except ExhaustedError:
            idle = self._idle() if or_on_idle else None
            if idle is None:
                raise
            idle.take(_Row(deque([job])))

    def _begin_on_idle(self, row: _Row) -> None:
        """Run the row on an idle thread. If no thread is idle, no job runs, and each job's future gets the error."""
        idle = self._idle() if row.waiting else None
        if idle is not None:
            idle.take(row)
            return
        while (job := row.next()) is not None:
            job.over = True
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(ExhaustedError(_NO_THREAD))
        row.run()

    def _worker(self, key: Hashable) -> _Worker:
        """The key's own thread. A new thread replaces a thread that is busy with the work of other keys."""
        worker = self._workers.get(key)
        if worker is None or worker.has_row:
            new = self._workers[key] = _started(f"device {key}")
            if worker is not None:
                worker.retire()
            return new
        return worker

    def _idle(self) -> _Worker | None:
        """A thread that has nothing to do."""
        if self._shared is not None and not self._shared.has_row:
            return self._shared
        idle = (worker for key, worker in self._workers.items() if self.busy(key) is None and not worker.has_row)
        return next(idle, None)


def unanswered(read: "Future[Any]", seconds: float) -> HostError:
    """Why work has no result after ``seconds``: the work has not returned, or no thread was free to begin the work.

    Work that has not begun is canceled.
    """
    if read.cancel():
        return ExhaustedError(_NO_THREAD)
    return StuckError(f"no answer within {seconds:g} s")


_NO_THREAD = "no thread to ask with: the system refuses new threads, and all existing threads wait for cards"


def _started(name: str) -> _Worker:
    worker = _Worker(name)
    try:
        worker.start()
    except (RuntimeError, MemoryError) as error:
        raise ExhaustedError(_NO_THREAD) from error
    return worker


def _failed(error: Exception) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
