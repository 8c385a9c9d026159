"""Tables for terminals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.cli.table import Cell, Column, Style, Table, aligned, display_width, render, row


def test_titles_stand_left_and_right_columns_are_filled_from_the_right() -> None:
    table = Table((Column("A", right=True), Column("Long")), ((row("12345", "x"), row("1", "yy")),))
    assert render(table).splitlines() == [
        "+-------+------+",
        "| A     | Long |",
        "+-------+------+",
        "| 12345 | x    |",
        "|     1 | yy   |",
        "+-------+------+",
    ]


def test_groups_are_kept_apart_by_a_line() -> None:
    table = Table((Column("A"),), ((row("1"),), (row("2"),)))
    assert render(table).splitlines()[2:] == ["+---+", "| 1 |", "+---+", "| 2 |", "+---+"]


def test_a_cell_of_several_lines_makes_its_row_as_high() -> None:
    table = Table((Column("A"), Column("B")), ((row("1\n22", "x"),),))
    assert render(table).splitlines()[3:5] == ["| 1  | x |", "| 22 |   |"]


def test_a_style_colours_the_word_and_not_its_padding() -> None:
    table = Table((Column("State"),), (((Cell("ok", Style.GOOD),),),))
    assert render(table, colour=True).splitlines()[3] == "| \x1b[32mok\x1b[0m    |"
    assert render(table).splitlines()[3] == "| ok    |"


@pytest.mark.parametrize(("text", "width"), [("40°C", 4), ("카드", 4), ("e\u0301", 1), ("", 0), ("µW", 2)])
def test_width_is_what_a_terminal_shows(text: str, width: int) -> None:
    assert display_width(text) == width


def test_names_and_values_are_aligned() -> None:
    assert aligned([("a", "1"), ("long", "2")]) == "a     1\nlong  2"
    assert aligned([]) == ""


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=4))
def test_every_line_of_every_table_is_equally_wide(rows: list[tuple[str, str]]) -> None:
    table = Table((Column("Left"), Column("Right", right=True)), (tuple(row(*texts) for texts in rows),))
    lines = render(table).split("\n")
    assert len({display_width(line) for line in lines}) == 1
