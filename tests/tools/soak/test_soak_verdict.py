"""A verdict has to be able to fail; and not to, for what is only noise."""

import random
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from testkit.footprint import Footprint
from tools.soak.verdict import Finding, Judged, Sample, Tally, findings, reasons

HOUR = Judged(begin=600, end=4200, every=10)
COST = Footprint(
    rss=50_000, pss=30_000, private=25_000, dirty=24_000, threads=4, files=16, cpu=0, precise_cpu=0, wakeups=0
)

Change = Callable[[float, random.Random], dict[str, float]]
"""What is different about a process at a moment."""


def samples(change: Change = lambda _at, _rng: {}, judged: Judged = HOUR) -> list[Sample]:
    """A process that uses 3 % of a processor and wakes ten times a second, but for what changes."""
    rng = random.Random(1)  # noqa: S311  # the same noise each time
    times = [float(at) for at in range(0, int(judged.end) + 1, int(judged.every))]
    return [Sample(at, 7, True, cost({"cpu": at * 0.03, "wakeups": at * 10} | change(at, rng))) for at in times]


def cost(change: dict[str, float]) -> Footprint:
    return Footprint(**asdict(COST) | change)


def problems(found: tuple[Finding, ...]) -> dict[str, str]:
    return {each.quantity: each.problem for each in found if each.problem}


def judge(change: Change) -> dict[str, str]:
    return problems(findings("it", samples(change), HOUR))


def test_what_stays_is_sound() -> None:
    assert judge(lambda _at, _rng: {}) == {}


def test_a_step_as_allocators_take_it_is_sound() -> None:
    assert judge(lambda at, _: {"rss": 50_000 + 900 * (at > 2000), "dirty": 24_000 + 900 * (at > 2000)}) == {}


@pytest.mark.parametrize(
    ("quantity", "leak"),
    [
        ("RSS", lambda at, rng: {"rss": 50_000 + at + rng.randint(-800, 800)}),
        ("private dirty", lambda at, rng: {"dirty": 24_000 + at + rng.randint(-800, 800)}),
        ("open files", lambda at, rng: {"files": 16 + at // 1000 + rng.randint(0, 1)}),
        ("threads", lambda at, _: {"threads": 4 + at // 400}),
        ("CPU", lambda at, _: {"cpu": 0.03 * at + at * at / 40_000}),
        ("wake-ups", lambda at, _: {"wakeups": int(10 * at + at * at / 400)}),
    ],
)
def test_what_leaks_is_not_sound(quantity: str, leak: Change) -> None:
    found = judge(leak)
    assert found.keys() == {quantity}
    assert "grew by" in found[quantity]


def test_threads_that_wait_for_a_card_in_a_fault_are_sound() -> None:
    noisy = [
        replace(sample, quiet=index % 3 == 0, cost=replace(sample.cost, threads=4 + 9 * (index % 3 > 0)))
        for index, sample in enumerate(samples())
    ]
    assert problems(findings("it", noisy, HOUR)) == {}


JUDGED = {"RSS", "private dirty", "open files", "threads", "CPU", "wake-ups"}


def test_no_samples_are_not_taken_for_flat_ones() -> None:
    found = problems(findings("it", [], HOUR))
    assert found.keys() == JUDGED
    assert all("too few to tell" in problem for problem in found.values())


def test_a_gap_is_not_taken_for_flat() -> None:
    seen = [sample for sample in samples() if not 2000 < sample.at < 2600]
    assert problems(findings("it", seen, HOUR))["RSS"] == "nobody looked for 600 s"


def test_no_quiet_at_all_tells_nothing_of_files_and_threads() -> None:
    found = problems(findings("it", [replace(sample, quiet=False) for sample in samples()], HOUR))
    assert found.keys() == {"open files", "threads"}


def test_two_processes_are_not_one_series() -> None:
    changed = [replace(sample, pid=8) if sample.at > 3000 else sample for sample in samples()]
    assert "not one process all the time: 1 others" in problems(findings("it", changed, HOUR))["RSS"]


def test_what_was_done_more_often_than_there_was_reason_for_is_not_sound() -> None:
    fine, often = Tally("messages", 3, 3, "changes"), Tally("messages", 4, 3, "changes")
    assert reasons([], [fine], []) == ()
    assert reasons([], [often], ["x broke"]) == ("x broke", "messages: 4, at most 3 by changes")
    leaking = findings("it", samples(lambda at, _: {"rss": 50_000 + at}), HOUR)
    assert [reason.partition(":")[0] for reason in reasons(leaking, [], [])] == ["it, RSS"]
