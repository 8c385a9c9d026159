"""What was measured, as values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

PEERS = {"device plugin": "minimal plugin", "metrics exporter": "node_exporter"}
"""What each of our programs is measured beside, in the same run and in turn."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of one program.

    Attributes:
        measure: what was measured: ``start to registered``.
        subject: the program.
        cards: on the host.
        unit: of the values.
        value: the median, or the only value.
        worst: the 99th percentile, or the largest of fewer than a hundred; None of an only value.
        count: how many values there were.
    """

    measure: str
    subject: str
    cards: int
    unit: str
    value: float
    worst: float | None
    count: int

    @property
    def place(self) -> tuple[str, str, int]:
        """What tells it from every other of its run."""
        return self.measure, self.subject, self.cards


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed.

    Raises:
        ValueError: if there are no values, or the share is not above 0 and at most 1.
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"the share {share} of {len(values)} values: expected one in (0, 1] of at least one")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def many(measure: str, subject: str, cards: int, unit: str, values: Sequence[float]) -> Figure:
    """The figure of a measure that was taken many times."""
    middle, worst = percentile(values, 0.5), percentile(values, 0.99)
    return Figure(measure, subject, cards, unit, middle, worst, len(values))


def once(measure: str, subject: str, cards: int, unit: str, value: float) -> Figure:
    """The figure of a measure that has one value."""
    return Figure(measure, subject, cards, unit, value, None, 1)


def ratios(figures: Sequence[Figure]) -> dict[tuple[str, str, int], float]:
    """Our share of the peer's value, by the place of our figure; only where the peer was measured too, and is not 0."""
    by_place = {figure.place: figure for figure in figures}
    found: dict[tuple[str, str, int], float] = {}
    for ours in figures:
        theirs = by_place.get((ours.measure, PEERS.get(ours.subject, ""), ours.cards))
        if theirs is not None and theirs.value:
            found[ours.place] = ours.value / theirs.value
    return found
