"""Reads of cards that may never come back, each on a thread that may be lost.

A read of a hung card blocks in the kernel and cannot be cancelled. On an event loop it would stop the service, and in
an executor it would stop the process from ending. So every card has a daemon thread of its own: a read that misses
its deadline is given up, the card counts as stuck, and nothing more is asked of it until the read comes back.
"""

import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from npu_core.errors import StuckError

T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    work: Callable[[], Any]
    future: "Future[Any]"

    def run(self) -> Callable[[], None]:
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
    jobs: "queue.SimpleQueue[_Job | None]" = field(default_factory=queue.SimpleQueue)
    busy_since: float | None = None

    def start(self) -> None:
        threading.Thread(target=self._work, name=self.name, daemon=True).start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            tell = job.run()
            # First free, then heard of: whoever waits for the result may bring the next work at once.
            self.busy_since = None
            tell()


class DeviceThreads:
    """One daemon thread per key, made at its first use. Not to be shared between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """No threads yet; ``clock`` gives seconds that do not go back."""
        self._clock = clock
        self._workers: dict[Hashable, _Worker] = {}

    def start(self, key: Hashable, work: Callable[[], T]) -> "Future[T]":
        """Run ``work`` on the key's thread.

        Raises:
            StuckError: if the thread is still at its last work: nothing is queued up behind a hung card.
        """
        worker = self._workers.get(key)
        if worker is None:
            worker = _Worker(f"device {key}")
            worker.start()
            self._workers[key] = worker
        if worker.busy_since is not None:
            raise StuckError(f"a read begun {self._clock() - worker.busy_since:.0f} s ago has not come back")
        worker.busy_since = self._clock()
        future: Future[T] = Future()
        worker.jobs.put(_Job(work, future))
        return future

    def busy(self, key: Hashable) -> float | None:
        """For how many seconds the key's thread has been at its work; None if it has none."""
        worker = self._workers.get(key)
        since = worker.busy_since if worker is not None else None
        return None if since is None else self._clock() - since

    def stuck(self, longer_than: float) -> frozenset[Hashable]:
        """The keys whose thread has been at one piece of work for more than so many seconds."""
        now = self._clock()
        return frozenset(
            key
            for key, worker in self._workers.items()
            if worker.busy_since is not None and now - worker.busy_since > longer_than
        )

    def forget(self, key: Hashable) -> None:
        """The key is not needed any more: its thread ends as soon as its work does."""
        worker = self._workers.pop(key, None)
        if worker is not None:
            worker.jobs.put(None)
