"""From modules and their tests to what became of every mutant."""

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

from tools.mutation.child import Suite, run_tests
from tools.mutation.excuses import is_excused
from tools.mutation.mutants import Mutant, mutants_of
from tools.mutation.observation import WHILE_LOADING, Observation, Watch
from tools.mutation.own_time import Limit
from tools.mutation.pool import Job, run_all

_PATIENCE = 1800.0
"""Seconds for a run of a module's tests. Each test has a limit of its own, after what it takes unhurt."""


class UnfitTestsError(Exception):
    """The tests of a module do not even pass while nothing is wrong with it."""


class Fate(StrEnum):
    """What became of a mutant."""

    NOTICED = "noticed"
    ENDLESS = "endless"
    """Noticed, by a test that did not end."""

    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A mutant and what became of it.

    Attributes:
        mutant: that.
        fate: what became of it.
        called: whether a test runs the function that was mutated.
    """

    mutant: Mutant
    fate: Fate
    called: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """A module with the tests that are to notice, and its mutants."""

    suite: Suite
    mutants: tuple[Mutant, ...]

    @property
    def name(self) -> str:
        """The module's."""
        return self.suite.source.name


def subject_of(suite: Suite, sample: int | None = None, seed: int = 0) -> Subject:
    """A module with all its mutants that have no excuse, or with so many of them, drawn by a seed."""
    mutants = tuple(mutant for mutant in mutants_of(suite.source) if not is_excused(mutant))
    if sample is not None and sample < len(mutants):
        places = random.Random(f"{seed} {suite.source.name}").sample(range(len(mutants)), sample)  # noqa: S311  # a draw
        mutants = tuple(mutants[place] for place in sorted(places))
    return Subject(suite, mutants)


def verdicts(subjects: Sequence[Subject], at_once: int) -> Iterator[Verdict]:
    """What becomes of the mutants of all these modules, each as it is known.

    Raises:
        UnfitTestsError: if a module's tests fail without a mutant.
    """
    healthy = dict(_healthy(subjects, at_once))
    killers: dict[str, Counter[str]] = {subject.name: Counter() for subject in subjects}
    jobs = (
        _job(subject.suite, mutant, healthy[subject.name], killers[subject.name])
        for subject in subjects
        for mutant in subject.mutants
    )
    for ended in run_all(jobs, at_once):
        mutant = ended.subject
        if ended.seen.failed:
            killers[mutant.source.name][ended.seen.failed] += 1
        yield Verdict(mutant, _fate(ended.status), bool(_callers(mutant, healthy[mutant.source.name])))


def _fate(status: int | None) -> Fate:
    if status is None:
        return Fate.ENDLESS
    return Fate.NOTICED if status else Fate.SURVIVED


def _healthy(subjects: Iterable[Subject], at_once: int) -> Iterator[tuple[str, Observation]]:
    """The tests of each module as they run while nothing is wrong."""
    jobs = (Job(subject.suite, partial(_run_healthy, subject.suite), _PATIENCE) for subject in subjects)
    for ended in run_all(jobs, at_once):
        if ended.status != 0 or not ended.seen.seconds:
            raise UnfitTestsError(f"{ended.subject.source.name}: its tests fail by themselves\n{ended.output}")
        yield ended.subject.source.name, ended.seen


def _run_healthy(suite: Suite, result: Path, limit: Limit) -> int:
    return run_tests(suite, suite.source.text, Watch(limit, traced=str(suite.source.path)), result)


def _job(suite: Suite, mutant: Mutant, healthy: Observation, killers: Counter[str]) -> Job[Mutant]:
    def run(result: Path, limit: Limit) -> int:
        callers = _callers(mutant, healthy)

        def order(test: str) -> tuple[float, ...]:
            """First the tests that found mutants before, then quick ones."""
            return (-killers[test], healthy.seconds.get(test, 0.0))

        def rank(test: str) -> tuple[float, ...] | None:
            return order(test) if test in callers or test not in healthy.seconds else None

        files = tuple(dict.fromkeys(test.partition("::")[0] for test in sorted(callers, key=order)))
        return run_tests(replace(suite, files=files), mutant.mutated, Watch(limit, rank, healthy.seconds), result)

    return Job(mutant, run, _PATIENCE)


def _callers(mutant: Mutant, healthy: Observation) -> frozenset[str]:
    """The tests that run the mutated function: all of them, if it is run when the module is loaded."""
    first = mutant.function
    if first is None:
        return frozenset(healthy.seconds)
    by_function = {
        test for test, lines in healthy.calls.items() if any(mutant.source.function_at(line) == first for line in lines)
    }
    return frozenset(healthy.seconds) if WHILE_LOADING in by_function else frozenset(by_function)


def cpu_seconds() -> float:
    """What this process and its children have cost so far."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
