"""Observations, counted by upper bounds, as Prometheus' histograms have them."""

from bisect import bisect_left
from dataclasses import dataclass, field


@dataclass(slots=True)
class Histogram:
    """Observations, counted by upper bounds.

    Attributes:
        bounds: upper bounds of the buckets, growing, without the last one, which has none.
        buckets: observations up to the bound of the same place and above the one before; the last one counts the rest.
        total: the sum of all observations.
    """

    bounds: tuple[float, ...]
    buckets: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        """No observations yet."""
        self.buckets = self.buckets or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Every bound as text, ``+Inf`` last, and how many observations there are up to the bound."""
        names = (*map(str, self.bounds), "+Inf")
        return [(name, float(sum(self.buckets[: place + 1]))) for place, name in enumerate(names)]
