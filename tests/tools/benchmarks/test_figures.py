"""Figures, their ratios, and how two runs are compared: by values, nothing is measured here."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.benchmarks.figures import Figure, many, once, percentile, ratios
from tools.benchmarks.report import Run, comparison, load, machine, save, table


def test_a_percentile_is_one_of_the_values() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0.01, 0.2, 0.21, 0.5, 0.8, 0.99, 1.0)] == [1, 1, 2, 3, 4, 5, 5]
    assert percentile([7.0], 0.5) == 7


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_at_least_that_share_of_the_values_is_not_above_a_percentile(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_percentile_of_nothing_is_an_error(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="expected one in"):
        percentile(values, share)


def test_of_many_values_the_median_and_the_worst_are_kept() -> None:
    assert many("x", "device plugin", 8, "ms", [float(value) for value in range(1, 201)]) == Figure(
        "x", "device plugin", 8, "ms", 100.0, 198.0, 200
    )


OURS = once("RSS", "device plugin", 8, "MiB", 30.0)
THEIRS = once("RSS", "minimal plugin", 8, "MiB", 40.0)


def test_ours_is_divided_by_the_peer_of_the_same_size_and_measure() -> None:
    alone = once("RSS", "device plugin", 1, "MiB", 29.0)
    other = once("PSS", "device plugin", 8, "MiB", 20.0)
    stranger = once("RSS", "feature discovery", 8, "MiB", 15.0)
    assert ratios([OURS, THEIRS, alone, other, stranger]) == {("RSS", "device plugin", 8): 0.75}


def test_nothing_is_divided_by_nothing() -> None:
    assert ratios([OURS, once("RSS", "minimal plugin", 8, "MiB", 0.0)]) == {}


def test_a_table_has_a_row_for_each_program_and_a_column_for_each_size() -> None:
    start = many("start", "device plugin", 1, "ms", [210.0, 220.4, 230.0])
    assert table([start, OURS, THEIRS]) == (
        "measure  program         1 cards       8 cards  ratio\n"
        "start    device plugin   220 (230) ms\n"
        "RSS      device plugin                 30 MiB   - / 0.75\n"
        "RSS      minimal plugin                40 MiB"
    )


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = Run(machine(), (OURS, THEIRS))
    save(run, tmp_path / "run.json")
    assert load(tmp_path / "run.json") == run
    assert {"processor", "python", "packages", "kernel"} <= run.machine.keys()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}, "figures": [{"measure": "x"}]}', json.dumps([1])])
def test_a_file_that_is_no_run_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json: expected what `make bench` has written"):
        load(path)


def compared(old: tuple[Figure, ...], new: tuple[Figure, ...]) -> list[list[str]]:
    """The rows of a comparison, as words, without the head."""
    return [line.split() for line in comparison(Run({}, old), Run({}, new)).splitlines()[1:]]


def test_where_there_is_a_peer_the_ratio_to_it_decides() -> None:
    """Both got slower by half: the machine did. Ours alone got slower: we did."""
    slower = (once("RSS", "device plugin", 8, "MiB", 45.0), once("RSS", "minimal plugin", 8, "MiB", 60.0))
    assert compared((OURS, THEIRS), slower) == [
        ["RSS", "device", "plugin", "8", "30", "MiB", "45", "MiB", "1.50", "1.00"]
    ]
    ours = (once("RSS", "device plugin", 8, "MiB", 45.0), THEIRS)
    assert compared((OURS, THEIRS), ours)[0][-3:] == ["1.50", "1.50", "worse"]
    assert compared(ours, (OURS, THEIRS))[0][-3:] == ["0.67", "0.67", "better"]


def test_where_there_is_none_the_values_decide_and_what_only_one_run_has_is_left_out() -> None:
    old = (once("RSS", "feature discovery", 8, "MiB", 15.0), once("PSS", "feature discovery", 8, "MiB", 9.0))
    new = (once("RSS", "feature discovery", 8, "MiB", 18.0), once("RSS", "feature discovery", 64, "MiB", 16.0))
    assert compared(old, new) == [["RSS", "feature", "discovery", "8", "15", "MiB", "18", "MiB", "1.20", "worse"]]
