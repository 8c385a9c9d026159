"""Looks at the operator's files while a service runs, off the event loop.

A file may be on a server that does not answer, and a large one takes a while to parse. So each look runs on a thread
that may be lost. While one is under way no other begins, and the event loop waits only for a look that has just begun.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from npu_core.errors import ExhaustedError, HostError
from npu_core.service.device_threads import DeviceThreads

T = TypeVar("T")

_KEY = "files"

PATIENCE = 0.2
"""Seconds that whoever asks waits for a look, from its beginning on. A look at files of a disk takes a thousandth."""

DEADLINE = 5.0
"""Seconds after which a look counts as one that does not come back."""


class FileLooks(Generic[T]):
    """Looks, one at a time. Not to be shared between threads."""

    def __init__(self, look: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        """No look yet.

        Args:
            look: looks at the files, on a thread of its own.
            clock: seconds that do not go back.
        """
        self._look = look
        self._threads = DeviceThreads(clock)
        self._under_way: Future[T] | None = None
        self._lack: HostError | None = None

    def begin(self) -> None:
        """Begin a look, unless one is under way or has a result that was not taken."""
        if self._under_way is None:
            try:
                self._under_way = self._threads.start(_KEY, self._look)
                self._lack = None
            except ExhaustedError as error:
                self._lack = error

    async def wait(self) -> None:
        """Until the look that is under way has ended, but not longer than :data:`PATIENCE` after it began."""
        if self._under_way is not None and (left := PATIENCE - (self._threads.busy(_KEY) or 0.0)) > 0:
            await asyncio.wait({asyncio.wrap_future(self._under_way)}, timeout=left)

    def take(self) -> T | None:
        """The result of a look that has ended, once; None if there is none.

        Raises:
            Exception: what the look raised.
        """
        if self._under_way is None or not self._under_way.done():
            return None
        ended, self._under_way = self._under_way, None
        return ended.result()

    @property
    def complaint(self) -> str:
        """Why the files cannot be looked at: a look does not come back, or there is no thread. Empty if they can."""
        if self._lack is not None:
            return self._lack.detail
        if self._under_way is not None and (self._threads.busy(_KEY) or 0.0) > DEADLINE:
            return f"no answer within {DEADLINE:g} s"
        return ""
