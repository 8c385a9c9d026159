"""The lists that a run goes by are true of this repository."""

from pathlib import Path

import pytest

from tools.mutation.excuses import EXCUSES
from tools.mutation.mutants import mutants_of
from tools.mutation.targets import TARGETS, Target, suite_of

ROOT = Path(__file__).parents[3]
MOST_EXCUSED = 20


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.module)
def test_a_module_and_its_tests_are_there(target: Target) -> None:
    files = (target.path, *target.tests)
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert len(set(target.tests)) == len(target.tests) > 0


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.module)
def test_every_excuse_is_for_a_mutant_that_there_is(target: Target) -> None:
    excuses = [excuse for excuse in EXCUSES if excuse.module == target.module]
    mutants = mutants_of(suite_of(ROOT, target).source) if excuses else ()
    excused = [mutant for mutant in mutants if any(excuse.covers(mutant) for excuse in excuses)]
    assert [excuse for excuse in excuses if not any(map(excuse.covers, mutants))] == []
    assert all(excuse.reason for excuse in excuses)
    assert len(excused) <= len(excuses)


def test_excuses_are_few_and_for_modules_that_are_mutated() -> None:
    assert {excuse.module for excuse in EXCUSES} <= {target.module for target in TARGETS}
    assert len(set(EXCUSES)) == len(EXCUSES) <= MOST_EXCUSED
