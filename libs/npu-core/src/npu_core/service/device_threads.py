"""Reads of cards that may never come back, on threads that may be lost.

A read of a hung card blocks in the kernel and cannot be cancelled. On an event loop it would stop the service, and in
an executor it would stop the process from ending. So it is made on a daemon thread: a read that misses its deadline is
given up, the card counts as stuck, and nothing more is asked of it until the read comes back.

One card is read on a thread of its own. Many cards are read in a sweep, one after another on a thread that they share,
because waking a thread costs more than reading a card. If one of them holds the sweep up, the thread is left to it and
the others go on, each on its own.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from npu_core.errors import StuckError

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
class _Worker:
    name: str
    errands: "queue.SimpleQueue[Callable[[], None] | None]" = field(default_factory=queue.SimpleQueue)

    def start(self) -> None:
        threading.Thread(target=self._work, name=self.name, daemon=True).start()

    def _work(self) -> None:
        while (errand := self.errands.get()) is not None:
            errand()


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
            StuckError: if a thread is still at its last work: nothing is queued up behind a hung card. Or if the system
                refuses a thread: the next work may get one.
        """
        job = self._job(key, work)
        self._worker(key).errands.put(job.run)
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
        """If the last sweep is held up, leave its thread to the work that holds it up, and begin the rest at once."""
        if self._row.swept.done():
            return
        if self._shared is not None:
            self._shared.errands.put(None)
            self._shared = None
        while (job := self._row.next()) is not None:
            self._begin_alone(job)

    def busy(self, key: Hashable) -> float | None:
        """For how many seconds the key's last work has been under way; None if it is over."""
        job = self._jobs.get(key)
        return None if job is None or job.over else self._clock() - job.since

    def stuck(self, longer_than: float) -> frozenset[Hashable]:
        """The keys whose last work has been under way for more than so many seconds."""
        now = self._clock()
        return frozenset(key for key, job in self._jobs.items() if not job.over and now - job.since > longer_than)

    def forget(self, key: Hashable) -> None:
        """The key is not needed any more: its thread ends as soon as its work does."""
        self._jobs.pop(key, None)
        worker = self._workers.pop(key, None)
        if worker is not None:
            worker.errands.put(None)

    def _job(self, key: Hashable, work: Callable[[], Any]) -> _Job:
        busy = self.busy(key)
        if busy is not None:
            raise StuckError(f"a read begun {busy:.0f} s ago has not come back")
        return _Job(key, work, self._clock())

    def _begin(self, row: _Row) -> None:
        try:
            self._shared = self._shared or _started("devices")
        except StuckError:
            self.spread()  # the system refuses threads; each job is told so
        else:
            self._shared.errands.put(row.run)

    def _begin_alone(self, job: _Job) -> None:
        try:
            self._worker(job.key).errands.put(job.run)
        except StuckError as error:
            job.over = True
            job.future.set_exception(error)

    def _worker(self, key: Hashable) -> _Worker:
        if key not in self._workers:
            self._workers[key] = _started(f"device {key}")
        return self._workers[key]


def _started(name: str) -> _Worker:
    worker = _Worker(name)
    try:
        worker.start()
    except RuntimeError as error:
        raise StuckError(f"nothing to read it with: {error}") from error
    return worker


def _failed(error: Exception) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
