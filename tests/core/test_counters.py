"""Utilization out of running totals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.cores import CoreRange
from npu_core.counters import PeCounters, Utilization
from testkit.strategies import pe_counters

PE = CoreRange(0, 0)
SECOND = 2_000_000_000
WRAP = 1 << 32


def counters(cycles: int, task: int = 0, tensor: int | None = 0, bits: int = 32) -> PeCounters:
    return PeCounters(PE, cycles, task, tensor, bits)


@pytest.mark.parametrize(
    ("earlier", "later", "busy", "computing"),
    [
        (counters(0), counters(SECOND), 0.0, 0.0),
        (counters(0), counters(SECOND, SECOND // 2, SECOND // 4), 0.5, 0.5),
        (counters(0), counters(SECOND, SECOND, SECOND), 1.0, 1.0),
        (counters(SECOND, 7, 5), counters(2 * SECOND, 7 + SECOND // 4, 5), 0.25, 0.0),
        (counters(0, WRAP - 100, WRAP - 50), counters(1000, 400, 200), 0.5, 0.5),
        (counters(0), counters(1000, 1010, 1020), 1.0, 1.0),
        (counters(0, tensor=None), counters(1000, 250, None), 0.25, None),
        (counters(0, tensor=3), counters(1000, 250, None), 0.25, None),
        (counters(0, WRAP - 100, None, 64), counters(1000, WRAP + 400, None, 64), 0.5, None),
        (counters(0), counters(WRAP - 1, WRAP - 1), 1.0, 0.0),
        (counters(0, 0, None, 64), counters(8 * WRAP, 4 * WRAP, None, 64), 0.5, None),
    ],
    ids=[
        "idle",
        "half",
        "full",
        "going on",
        "wrapped",
        "rounding",
        "no tensor",
        "no tensor later",
        "64 bits",
        "just in time",
        "64 bits long",
    ],
)
def test_utilization_is_task_time_over_all_time(
    earlier: PeCounters, later: PeCounters, busy: float, computing: float | None
) -> None:
    assert Utilization.between(earlier, later) == Utilization(PE, busy, computing)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (counters(1000, 10), counters(1000, 10)),
        (counters(1000, 900), counters(5, 3)),
        (counters(1), counters(0)),
        (counters(0), counters(WRAP, 10)),
        (counters(1000, 10, None, 64), counters(2000, 9, None, 64)),
        (counters(1000, 900, None, 64), counters(2000, 0, None, 64)),
        (counters(0, 0, None, 64), counters(1000, 1100, None, 64)),
        (counters(0, 900_000), counters(1_000_000, 100)),
        (counters(0, 0), counters(1000, 1100)),
    ],
    ids=[
        "no time passed",
        "restarted",
        "one cycle back",
        "looked at too seldom",
        "64 bits, one task cycle back",
        "64 bits, tasks counted anew",
        "64 bits, more than all time",
        "32 bits, counted anew: no wrap counts that much",
        "32 bits, more than all time",
    ],
)
def test_utilization_is_unknown_where_the_counters_cannot_tell(earlier: PeCounters, later: PeCounters) -> None:
    assert Utilization.between(earlier, later) is None


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (counters(0, 0, 500_000), counters(1_000_000, 1000, 10)),
        (counters(0, 0, 0), counters(1_000_000, 1000, 1100)),
        (counters(0, 0, 500, 64), counters(1_000_000, 1000, 10, 64)),
    ],
    ids=["counted anew", "more than the tasks", "64 bits, counted anew"],
)
def test_a_tensor_counter_that_cannot_tell_costs_only_what_it_counts(earlier: PeCounters, later: PeCounters) -> None:
    assert Utilization.between(earlier, later) == Utilization(PE, 0.001, None)


@pytest.mark.parametrize(
    ("earlier", "later", "contradict"),
    [
        (counters(0, 0, None, 64), counters(1000, 1051, None, 64), True),
        (counters(0, 0, None, 64), counters(1000, 1050, None, 64), False),
        (counters(0, 500, None, 64), counters(1000, 499, None, 64), False),
        (counters(2000, 0, None, 64), counters(1000, 5000, None, 64), False),
        (counters(1000, 0, None, 64), counters(1000, 5000, None, 64), False),
        (counters(0, 0), counters(1000, 5000), False),
    ],
    ids=["more than all time", "skew", "tasks reset", "cycles reset", "no time passed", "32 bits may have been reset"],
)
def test_wide_counters_contradict_each_other_where_no_reset_explains_what_they_say(
    earlier: PeCounters, later: PeCounters, *, contradict: bool
) -> None:
    assert later.contradicts(earlier) is contradict
    assert not (contradict and Utilization.between(earlier, later))


def test_counters_are_32_bits_wide_unless_it_is_said() -> None:
    assert PeCounters(PE, 0, 0, 0).bits == 32


@given(pe_counters(), pe_counters())
def test_shares_are_between_nothing_and_everything(earlier: PeCounters, later: PeCounters) -> None:
    work = Utilization.between(earlier, later)
    cycles = later.cycles - earlier.cycles
    task = (later.task_cycles - earlier.task_cycles) % WRAP
    assert (work is not None) == (0 < cycles < WRAP and task <= 1.05 * cycles)
    if work is None:
        return
    assert 0.0 <= work.busy <= 1.0
    assert work.computing is None or 0.0 <= work.computing <= 1.0
    if None in {earlier.tensor_cycles, later.tensor_cycles}:
        assert work.computing is None


@given(
    start=st.integers(0, WRAP - 1),
    cycles=st.integers(1, WRAP - 1),
    share=st.floats(0, 1),
    bits=st.sampled_from([32, 64]),
)
def test_where_a_counter_stands_makes_no_difference(start: int, cycles: int, share: float, bits: int) -> None:
    task = int(cycles * share)
    moved = Utilization.between(
        counters(0, start, start, bits),
        counters(cycles, (start + task) % (1 << bits), (start + task // 2) % (1 << bits), bits),
    )
    assert moved == Utilization.between(counters(0, bits=bits), counters(cycles, task, task // 2, bits))
    assert moved is not None
    assert moved.busy == task / cycles
