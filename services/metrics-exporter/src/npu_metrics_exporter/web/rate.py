"""A token bucket: how often something may be asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One request every so often, and some at once.

    Attributes:
        interval: seconds until one more is allowed.
        burst: how many are, after a long rest.
    """

    interval: float
    burst: int


@dataclass(slots=True)
class Bucket:
    """What is left of a limit.

    Attributes:
        limit: that.
        tokens: left when last taken from; full at the beginning.
        taken: when that was, monotonic seconds.
    """

    limit: RateLimit
    tokens: float
    taken: float

    @classmethod
    def full(cls, limit: RateLimit, now: float) -> "Bucket":
        """One that nothing was taken of."""
        return cls(limit, limit.burst, now)

    def take(self, now: float) -> bool:
        """Whether one more is allowed at ``now``; if so, it is taken."""
        gained = max(0.0, now - self.taken) / self.limit.interval
        self.tokens, self.taken = min(self.limit.burst, self.tokens + gained), now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Gate:
    """Holds one limit, which may change between two requests."""

    def __init__(self) -> None:
        """Nothing was asked for yet."""
        self._bucket: Bucket | None = None

    def lets_in(self, limit: RateLimit | None, now: float) -> bool:
        """Whether one more is allowed at ``now`` by ``limit``; None is no limit. A new limit starts with its burst."""
        if limit is None:
            self._bucket = None
            return True
        if self._bucket is None or self._bucket.limit != limit:
            self._bucket = Bucket.full(limit, now)
        return self._bucket.take(now)
