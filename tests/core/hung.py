"""Reads that never come back, and deadlines that are over when nothing else is under way."""

from collections.abc import Collection
from concurrent.futures import Future
from typing import Any, Self

from npu_core.testing import Blocked
from testkit.waiting import until


class Hung(Blocked):
    """A fault that keeps its readers, and counts them. Leaving the ``with`` block releases them."""

    def __init__(self) -> None:
        """Nobody reads yet."""
        super().__init__()
        self._reads: list[str] = []
        self._waited_for = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __call__(self, path: str) -> str:
        """See :class:`Blocked`."""
        self._reads.append(path)
        return super().__call__(path)

    def wait(self, answers: "Collection[Future[Any]]", seconds: float) -> None:
        """Until only those answers are missing whose reads hang, whatever deadline is given to the others."""
        del seconds

        def missing() -> int:
            return sum(not answer.done() for answer in answers)

        until(lambda: missing() == len(self._reads) - self._waited_for, "every answer but those of reads that hang")
        self._waited_for = len(self._reads)
