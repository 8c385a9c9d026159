"""The lists that a run goes by are true of this repository."""

from pathlib import Path

import pytest

from tools.mutation.excuses import EXCUSES
from tools.mutation.mutants import mutants_of
from tools.mutation.targets import TARGETS, Target, chosen, suite_of

ROOT = Path(__file__).parents[3]
MOST_EXCUSED = 20


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.module)
def test_a_module_and_its_tests_are_there(target: Target) -> None:
    files = (target.path, *target.tests)
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert len(set(target.tests)) == len(target.tests) > 0


def test_each_module_is_there_once() -> None:
    names = [target.module for target in TARGETS]
    assert sorted(set(names)) == sorted(names)


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


@pytest.mark.parametrize(
    ("names", "modules"),
    [
        (["cores"], ["npu_core.cores"]),
        (["parse.text", "rate"], ["npu_core.parse.text", "npu_metrics_exporter.rate"]),
        (["npu_core.health"], ["npu_core.health"]),
    ],
)
def test_modules_are_chosen_by_the_end_of_their_names(names: list[str], modules: list[str]) -> None:
    assert [target.module for target in chosen(names)] == modules


def test_modules_are_chosen_by_their_package() -> None:
    assert {target.module.partition(".")[0] for target in chosen(["npu_device_plugin"])} == {"npu_device_plugin"}
    assert chosen([]) == TARGETS


def test_a_module_that_is_not_mutated_cannot_be_chosen() -> None:
    with pytest.raises(LookupError, match=r"^ores: there is no such module among npu_core\.allocations, "):
        chosen(["cores", "ores"])
