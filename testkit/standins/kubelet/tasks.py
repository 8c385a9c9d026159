"""Background tasks that are never forgotten: cancelled together, and heard when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """What a kubelet process does in the background."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            self._failures.append(error)

    async def join(self) -> None:
        """Wait for the end of all of them.

        Raises:
            ExceptionGroup: Some had failed, which is a fault of the stand-in itself.
        """
        if self._running:
            await asyncio.wait(self._running)
        self._complain()

    async def cancel(self) -> None:
        """End all of them.

        Raises:
            ExceptionGroup: Some had failed, which is a fault of the stand-in itself.
        """
        tasks = tuple(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._complain()

    def _complain(self) -> None:
        failures, self._failures = self._failures, []
        if failures:
            raise BaseExceptionGroup("background work of the stand-in failed", failures)
