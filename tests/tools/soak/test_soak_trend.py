"""What is said of a series: pure arithmetic."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.soak.trend import Point, Spread, slope, thinned


def line(per_second: float, count: int = 60, base: float = 1000.0) -> list[Point]:
    return [Point(float(second), base + per_second * second) for second in range(count)]


def test_the_slope_of_a_line_is_what_it_grows_by_in_an_hour() -> None:
    assert slope(line(0.5)) == pytest.approx(1800)


def test_of_less_than_two_points_there_is_no_slope() -> None:
    assert slope([]) == 0
    assert slope([Point(3, 7)]) == 0


def test_one_reading_in_five_may_say_anything() -> None:
    rng = random.Random(3)  # noqa: S311  # the same each time
    points = [Point(p.at, rng.uniform(0, 1e6)) if i % 5 == 0 else p for i, p in enumerate(line(0.5))]
    assert slope(points) == pytest.approx(1800, rel=0.2)


def test_of_noise_the_slope_is_next_to_nothing() -> None:
    rng = random.Random(5)  # noqa: S311  # the same each time
    points = [Point(float(second), 1000 + rng.gauss(0, 20)) for second in range(3600)]
    assert abs(slope(points)) < 5


def test_a_long_series_is_thinned_and_its_slope_stays() -> None:
    points = line(0.5, count=10_000)
    assert len(thinned(points, most=100)) == 100
    assert slope(points) == pytest.approx(1800)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(-(10**6), 10**6)), min_size=1, unique_by=lambda p: p[0]))
def test_a_spread_is_within_what_there_is_and_does_not_mind_the_order(pairs: list[tuple[int, int]]) -> None:
    points = [Point(float(at), float(value)) for at, value in pairs]
    spread = Spread.of(points)
    assert spread.least <= spread.middle <= spread.most
    assert spread.least <= min(spread.first, spread.last) <= max(spread.first, spread.last) <= spread.most
    assert spread == Spread.of(points[::-1])


def test_the_drift_is_the_slope_over_the_time_that_was_seen() -> None:
    spread = Spread.of(line(0.5, count=61))
    assert (spread.first, spread.last) == (1001.25, 1028.75)
    assert spread.drift == pytest.approx(30)
