"""How long is waited after failures."""

from hypothesis import given
from hypothesis import strategies as st

from npu_feature_discovery.back_off import FIRST, MOST, BackOff, chance


def after(failures: int) -> BackOff:
    return BackOff(failures)


def test_the_longest_wait_doubles_up_to_a_limit() -> None:
    assert [after(failures).longest for failures in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert BackOff().after_failure() == after(1)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_wait_is_never_less_than_half_of_the_longest_nor_more_than_it(failures: int, luck: float) -> None:
    assert FIRST / 2 <= after(failures).longest / 2 <= after(failures).wait(luck) <= after(failures).longest <= MOST


def test_chance_is_between_0_and_1_and_not_the_same_twice() -> None:
    drawn = [chance() for _ in range(100)]
    assert all(0 <= value <= 1 for value in drawn)
    assert len(set(drawn)) > 90
