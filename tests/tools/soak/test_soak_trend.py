"""What is said of a series: pure arithmetic."""

import random

import pytest

from tools.soak.trend import Point, Spread, slope, thinned


def line(per_second: float, count: int = 60, base: float = 1000.0) -> list[Point]:
    return [Point(float(second), base + per_second * second) for second in range(count)]


def test_the_slope_of_a_line_is_what_it_grows_by_in_an_hour() -> None:
    assert slope(line(0.5)) == pytest.approx(1800)


def test_one_reading_in_five_may_say_anything() -> None:
    rng = random.Random(3)  # noqa: S311  # the same each time
    points = [Point(p.at, rng.uniform(0, 1e6)) if i % 5 == 0 else p for i, p in enumerate(line(0.5))]
    assert slope(points) == pytest.approx(1800, rel=0.2)


def test_a_long_series_is_thinned_and_its_slope_stays() -> None:
    points = line(0.5, count=10_000)
    assert len(thinned(points, most=100)) == 100
    assert slope(points) == pytest.approx(1800)


def test_the_drift_is_the_slope_over_the_time_that_was_seen() -> None:
    spread = Spread.of(line(0.5, count=61))
    assert (spread.first, spread.last) == (1001.25, 1028.75)
    assert spread.drift == pytest.approx(30)
