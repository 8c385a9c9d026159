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


@given(st.integers(1, 10_000), st.floats(0, 600), st.floats(0, 1))
def test_what_is_asked_for_is_kept_to_and_spread_over_as_long_again(failures: int, asked: float, luck: float) -> None:
    assert asked <= after(failures).wait(luck, asked) <= max(after(failures).longest, 2 * asked)
    assert after(failures).wait(0, asked) == max(after(failures).longest / 2, asked)
    assert after(failures).wait(1, asked) == max(after(failures).longest, 2 * asked)


def test_chance_is_between_0_and_1_and_not_the_same_twice() -> None:
    drawn = [chance() for _ in range(100)]
    assert all(0 <= value <= 1 for value in drawn)
    assert len(set(drawn)) > 90
