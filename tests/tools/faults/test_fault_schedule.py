"""A few short schedules of faults; ``make test-faults`` runs many long ones."""

import pytest

from tools.faults.schedule import draw, live_through

SEEDS = (13, 26, 37, 41)
"""Machines with one family of cards and with two, all three generations of kubelets, init containers, restarts of the
plugin and of the kubelet, also without API server."""
STEPS = 12


def test_a_seed_always_draws_the_same_schedule() -> None:
    assert draw(7, 30) == draw(7, 30)
    assert draw(7, 30) != draw(8, 30)


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_invariant_breaks_and_everything_heals(seed: int) -> None:
    outcome = await live_through(seed, STEPS)
    assert not outcome.report, outcome.report
