"""How long a failed registration waits for its next attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_device_plugin.supervisor import back_off

attempts = st.integers(0, 10**9)
jitters = st.floats(0, 1)


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(0, 0.2), (1, 0.4), (2, 0.8), (3, 1.6), (4, 3.2), (5, 6.4), (6, 10.0), (7, 10.0), (1_000_000, 10.0)],
)
def test_a_wait_doubles_up_to_ten_seconds(attempt: int, seconds: float) -> None:
    assert back_off(attempt, 0.0) == pytest.approx(seconds)


def test_jitter_takes_away_up_to_half() -> None:
    assert back_off(2, 0.5) == pytest.approx(0.6)
    assert back_off(2, 1.0) == pytest.approx(0.4)


@given(attempts, jitters)
def test_a_wait_is_between_a_tenth_of_a_second_and_ten(attempt: int, jitter: float) -> None:
    assert 0.1 <= back_off(attempt, jitter) <= 10.0


@given(attempts, jitters)
def test_a_later_attempt_never_waits_less(attempt: int, jitter: float) -> None:
    assert back_off(attempt, jitter) <= back_off(attempt + 1, jitter)


@given(attempts, jitters)
def test_a_wait_is_never_less_than_half_of_what_it_is_without_jitter(attempt: int, jitter: float) -> None:
    assert back_off(attempt, 0.0) / 2 <= back_off(attempt, jitter) <= back_off(attempt, 0.0)
