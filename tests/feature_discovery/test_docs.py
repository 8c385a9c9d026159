"""docs/labels.md has the rows of the code's table, with examples that are true."""

from pathlib import Path

from npu_feature_discovery.labels.table import PREFIX, TABLE, Extra, LabelSpec, labels_of
from tests.feature_discovery.facts import node, short, warboy

TEXT = Path(__file__).parents[2].joinpath("docs/labels.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below ``heading``, without its head."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def row(spec: LabelSpec, example: str) -> list[str]:
    source = spec.source.format(card="CARD", sysfs="/sys", vendor_from="sys_vendor", name_from="product_name")
    group = [] if spec.group is None else [f"`{spec.group}`"]
    return [f"`{spec.name}`", spec.meaning, ", ".join(f"`{file}`" for file in source.split(", ")), example, *group]


def test_the_labels_that_are_always_there_are_documented_as_they_are() -> None:
    examples = short(labels_of(node(warboy()))) | {"npu.product": "warboyB0"}
    expected = [row(spec, f"`{examples[spec.name]}`") for spec in TABLE if spec.group is None]
    assert rows("Always") == expected


def test_the_extra_labels_are_documented_as_they_are() -> None:
    examples = short(labels_of(node(warboy()), extras=Extra))
    examples["npu.<product>.count"] = examples["npu.warboy.count"]
    expected = [row(spec, f"`{examples[spec.name]}`") for spec in TABLE if spec.group is not None]
    assert rows("With `--extra-labels`") == expected


def test_the_documented_prefix_is_the_one_in_use() -> None:
    assert f"Every key begins with `{PREFIX}`" in TEXT


def test_every_group_has_a_documented_label() -> None:
    assert {spec.group for spec in TABLE} == {None, *Extra}
