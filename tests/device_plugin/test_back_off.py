"""How long a failed registration waits for its next attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_device_plugin.kubelet.supervisor import back_off


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(0, 0.2), (1, 0.4), (2, 0.8), (3, 1.6), (4, 3.2), (5, 6.4), (6, 10.0), (7, 10.0), (1_000_000, 10.0)],
)
def test_a_wait_doubles_up_to_ten_seconds(attempt: int, seconds: float) -> None:
    assert back_off(attempt, 0.0) == pytest.approx(seconds)


def test_jitter_takes_away_up_to_half() -> None:
    assert back_off(2, 0.5) == pytest.approx(0.6)
    assert back_off(2, 1.0) == pytest.approx(0.4)


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_a_wait_is_half_of_the_full_one_at_least_and_a_later_attempt_never_waits_less(
    attempt: int, jitter: float
) -> None:
    wait = back_off(attempt, jitter)
    assert 0.1 <= back_off(attempt, 0.0) / 2 <= wait <= back_off(attempt, 0.0) <= 10.0
    assert wait <= back_off(attempt + 1, jitter)
