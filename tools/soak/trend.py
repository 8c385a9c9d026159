"""What a series of readings does over time, told so that single outliers say nothing. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Self

HOUR = 3600.0
_MOST = 240
"""Points between which slopes are taken: all pairs of more would take seconds."""
_FIRST = 10
"""One of so many parts of a series is what it began with."""


@dataclass(frozen=True, slots=True)
class Point:
    """One reading, at a time in seconds."""

    at: float
    value: float


def slope(points: Sequence[Point]) -> float:
    """What the values grow by in an hour: the median of the slopes of all pairs (Theil and Sen); 0 for fewer than two.

    Up to 29 % of the points may say anything without moving it far.
    """
    few = thinned(points)
    slopes = [(late.value - early.value) / (late.at - early.at) for early, late in combinations(few, 2)]
    return median(slopes) * HOUR if slopes else 0.0


def thinned(points: Sequence[Point], most: int = _MOST) -> tuple[Point, ...]:
    """As many points at most, in order of time: each the median of some that follow each other."""
    ordered = sorted(points, key=lambda point: point.at)
    size = -(-len(ordered) // most) if ordered else 1
    blocks = (ordered[start : start + size] for start in range(0, len(ordered), size))
    return tuple(Point(_middle(each.at for each in block), _middle(each.value for each in block)) for block in blocks)


def _middle(values: Iterable[float]) -> float:
    return float(median(values))


@dataclass(frozen=True, slots=True)
class Spread:
    """A series in seven numbers.

    Attributes:
        first: the median of its first tenth.
        least: the smallest value.
        middle: the median.
        most: the largest value.
        last: the median of its last tenth.
        per_hour: its robust slope.
        drift: what that slope makes of the time from the first point to the last.
    """

    first: float
    least: float
    middle: float
    most: float
    last: float
    per_hour: float
    drift: float

    @classmethod
    def of(cls, points: Sequence[Point]) -> Self:
        """Of at least one point."""
        values = [point.value for point in sorted(points, key=lambda point: point.at)]
        part = max(1, len(values) // _FIRST)
        times = [point.at for point in points]
        grown = slope(points)
        return cls(
            first=_middle(values[:part]),
            least=min(values),
            middle=_middle(values),
            most=max(values),
            last=_middle(values[-part:]),
            per_hour=grown,
            drift=grown * (max(times) - min(times)) / HOUR,
        )
