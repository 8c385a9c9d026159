"""How often something may be asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_metrics_exporter.web.rate import Bucket, Gate, RateLimit

EVERY_TWO_SECONDS = RateLimit(interval=2.0, burst=3)


def taken(limit: RateLimit, *times: float) -> list[bool]:
    """Whether each of these requests is allowed, after a rest since 0."""
    bucket = Bucket.full(limit, 0.0)
    return [bucket.take(now) for now in times]


def test_after_a_rest_as_many_are_allowed_at_once_as_the_burst() -> None:
    assert taken(EVERY_TWO_SECONDS, 0, 0, 0, 0) == [True, True, True, False]


def test_one_more_is_allowed_when_the_interval_is_over_and_not_before() -> None:
    assert taken(EVERY_TWO_SECONDS, 0, 0, 0, 1.5, 2.0, 2.5, 4.0) == [True, True, True, False, True, False, True]


def test_a_long_rest_allows_no_more_than_a_short_one() -> None:
    assert taken(EVERY_TWO_SECONDS, 0, 0, 0, 1000, 1000, 1000, 1000) == [True, True, True, True, True, True, False]


def test_what_is_refused_costs_nothing() -> None:
    assert taken(RateLimit(2.0, 1), 0, 0.5, 1.0, 1.5, 2.0) == [True, False, False, False, True]


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    assert taken(EVERY_TWO_SECONDS, 10, 0, 0, 0) == [True, True, True, False]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), max_size=30), st.integers(1, 4))
def test_in_any_time_no_more_are_allowed_than_the_burst_and_one_for_each_interval(
    waits: list[float], burst: int
) -> None:
    now, allowed, bucket = 0.0, 0, Bucket.full(RateLimit(1.0, burst), 0.0)
    for wait in waits:
        now += wait
        allowed += bucket.take(now)
        assert allowed <= burst + now


@pytest.mark.parametrize("interval", [0.5, 1.0, 90.0])
def test_a_request_for_each_interval_is_always_allowed(interval: float) -> None:
    assert all(taken(RateLimit(interval, 1), *(turn * interval for turn in range(20))))


def test_a_gate_keeps_a_limit_until_another_one_or_none_is_in_force() -> None:
    gate, other = Gate(), RateLimit(interval=2.0, burst=1)
    assert [gate.lets_in(EVERY_TWO_SECONDS, 5.0) for _ in range(4)] == [True, True, True, False]
    assert [gate.lets_in(other, 5.0) for _ in range(2)] == [True, False]
    assert [gate.lets_in(None, 5.0) for _ in range(9)] == [True] * 9
    assert [gate.lets_in(other, now) for now in (5.0, 6.0, 7.0)] == [True, False, True]
