"""docs/metrics.md has the rows of the code's tables."""

import re
from pathlib import Path

from npu_metrics_exporter.metrics.families import COMMON_LABELS, POD_INFO, POD_LABELS, TABLE, Family, Kind
from npu_metrics_exporter.metrics.policy import IDENTITY_LABELS, ExportPolicy
from npu_metrics_exporter.metrics.self_metrics import COLLECT_DURATION, PREFIX
from npu_metrics_exporter.metrics.self_metrics import TABLE as OWN

TEXT = Path(__file__).parents[2].joinpath("docs/metrics.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below ``heading``, without its head."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def row(family: Family) -> list[str]:
    kind = "untyped" if family.kind is Kind.UNKNOWN else str(family.kind)
    source = code(tuple(family.source.split(", ")))
    return [f"`{family.sample}`", kind, code(family.labels), family.help, source, family.twin or ""]


def test_every_family_of_cards_is_documented_as_it_is() -> None:
    assert rows("Cards") == [row(family) for family in (*TABLE, POD_INFO)]


def test_every_family_of_the_exporters_own_is_documented_as_it_is() -> None:
    expected = [
        [f"`{PREFIX}{own.sample}`", "gauge" if own.always is None else "counter", code(own.labels), own.help]
        for own in OWN
    ]
    duration = [f"`{COLLECT_DURATION}`", "histogram", "", "How long a collection took."]
    assert rows("The exporter itself") == [*expected, duration]


def test_the_common_labels_are_documented_in_order() -> None:
    assert [cells[0].strip("`") for cells in rows("Labels of every series of a card")] == [*COMMON_LABELS, *POD_LABELS]


def test_the_labels_that_cannot_be_dropped_are_named() -> None:
    assert f"never {' nor '.join(f'`{name}`' for name in IDENTITY_LABELS)}" in TEXT


def test_the_documented_cap_is_the_one_in_use() -> None:
    assert f"{ExportPolicy().max_series:,}".replace(",", " ") + " series" in TEXT


def test_every_name_in_the_running_text_is_exported() -> None:
    known = {family.sample for family in (*TABLE, POD_INFO)} | {PREFIX + own.sample for own in OWN} | {COLLECT_DURATION}
    assert set(re.findall(r"\bfuriosa_npu_[a-z_]+[a-z]\b", TEXT)) <= known
