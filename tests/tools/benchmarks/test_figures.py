"""Figures, their ratios, and how two runs are compared: by values, nothing is measured here."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.benchmarks.figures import Figure, once, percentile, ratios
from tools.benchmarks.report import Run, comparison, load


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


OURS = once("RSS", "device plugin", 8, "MiB", 30.0)
THEIRS = once("RSS", "minimal plugin", 8, "MiB", 40.0)


def test_ours_is_divided_by_the_peer_of_the_same_size_and_measure() -> None:
    alone = once("RSS", "device plugin", 1, "MiB", 29.0)
    other = once("PSS", "device plugin", 8, "MiB", 20.0)
    stranger = once("RSS", "feature discovery", 8, "MiB", 15.0)
    assert ratios([OURS, THEIRS, alone, other, stranger]) == {("RSS", "device plugin", 8): 0.75}


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
