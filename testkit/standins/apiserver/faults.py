"""What can be made to go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Attributes:
        method: of the requests it befalls; None for all.
        times: how many requests it befalls; None for all that come.
        status: answered instead of doing anything; None does what was asked.
        headers: of that answer, e.g. ``Retry-After``.
        body: of that answer; None for a Status object.
        delay: seconds before anything is answered.
        drop: the connection ends instead of an answer; what was asked is done nevertheless.
        truncate: the answer's body ends half way, and so does the connection.
        trickle: seconds between any two bytes of the answer's body.
    """

    method: str | None = None
    times: int | None = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay: float = 0.0
    drop: bool = False
    truncate: bool = False
    trickle: float = 0.0


NONE = Fault(times=None)


class Faults:
    """The faults to come, in order."""

    def __init__(self) -> None:
        self._left: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._left.append(fault)

    def clear(self) -> None:
        self._left.clear()

    def next(self, method: str) -> Fault:
        """What befalls this request."""
        for index, fault in enumerate(self._left):
            if fault.method in {None, method}:
                self._use(index, fault)
                return fault
        return NONE

    def _use(self, index: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times == 1:
            del self._left[index]
        else:
            self._left[index] = replace(fault, times=fault.times - 1)
