"""A model of one API server's priority level: seats, a waiting room, and 429 when that is full."""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from tools.scale.inputs import Server


class Verb(StrEnum):
    """What is asked for."""

    READ = "read"
    WRITE = "write"


class Answer(StrEnum):
    """What becomes of a request."""

    DONE = "done"
    THROTTLED = "throttled"
    """429: the waiting room was full."""
    AWAY = "away"
    """Nobody answered, or a load balancer did: the server is not there."""
    TIMEOUT = "timeout"
    """Given up by who asked."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of one node.

    Attributes:
        node: whose.
        verb: what for.
        deadline: second at which the node gives up.
    """

    node: int
    verb: Verb
    deadline: float


class ApiServer:
    """Serves first come, first served. It has no clock: whoever calls says what time it is, never going back."""

    def __init__(self, of: Server) -> None:
        """A server with nothing to do."""
        self._of = of
        self._busy = 0
        self._waiting: deque[Request] = deque()

    def takes(self, request: Request) -> float | None:
        """Seat a request, or let it wait. Returns the seconds that it takes from now if it has a seat.

        Raises:
            FullError: if there is neither.
        """
        if self._busy < self._of.seats:
            self._busy += 1
            return self._seconds(request)
        if len(self._waiting) >= self._of.waiting:
            raise FullError
        self._waiting.append(request)
        return None

    def leaves(self, now: float) -> tuple[tuple[Request, float] | None, list[Request]]:
        """A seat is free: who takes it and for how many seconds, and who had given up meanwhile."""
        given_up: list[Request] = []
        while self._waiting:
            request = self._waiting.popleft()
            if request.deadline > now:
                return (request, self._seconds(request)), given_up
            given_up.append(request)
        self._busy -= 1
        return None, given_up

    def _seconds(self, request: Request) -> float:
        return self._of.read if request.verb is Verb.READ else self._of.write


class FullError(Exception):
    """Neither a seat nor a place to wait."""
