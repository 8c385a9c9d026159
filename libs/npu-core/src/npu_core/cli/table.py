"""Tables with the borders of the vendor's tools, in plain characters."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from npu_core.printable import printable


class Style(StrEnum):
    """What a word means for the reader. The value is its colour on a terminal."""

    GOOD = "32"
    DOUBTFUL = "33"
    BAD = "31"


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of one field, of one line or several.

    Attributes:
        text: as it came from the host; control characters are made harmless when it is rendered.
        style: colours the text where colours are wanted.
    """

    text: str
    style: Style | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column's title and alignment. The title itself always stands on the left."""

    title: str
    right: bool = False


Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """What is to be rendered.

    Attributes:
        columns: as many as every row has cells.
        groups: rows that belong together; a line is drawn between groups.
    """

    columns: tuple[Column, ...]
    groups: tuple[tuple[Row, ...], ...]


def row(*texts: str) -> Row:
    """A row of unstyled cells."""
    return tuple(Cell(text) for text in texts)


def render(table: Table, *, colour: bool = False) -> str:
    """The table as text, without a line end after the last border."""
    widths = [_column_width(table, number) for number in range(len(table.columns))]
    border = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    titles = " | ".join(_pad(column.title, width) for column, width in zip(table.columns, widths, strict=True))
    lines = [border, f"| {titles} |", border]
    for group in table.groups:
        for cells in group:
            lines.extend(_row_lines(table.columns, cells, widths, colour=colour))
        lines.append(border)
    return "\n".join(lines)


def display_width(text: str) -> int:
    """Columns the text takes on a terminal: wide characters take two, combining ones none."""
    return sum(_char_width(char) for char in text)


def aligned(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values as the lines of one cell, the values under each other."""
    items = list(pairs)
    width = max((display_width(name) for name, _ in items), default=0)
    return "\n".join(f"{_pad(name, width)}  {value}" for name, value in items)


def _column_width(table: Table, number: int) -> int:
    texts = [line for group in table.groups for cells in group for line in _lines(cells[number])]
    return max(display_width(text) for text in [table.columns[number].title, *texts])


def _row_lines(columns: tuple[Column, ...], cells: Row, widths: list[int], *, colour: bool) -> Iterator[str]:
    height = max(len(_lines(cell)) for cell in cells)
    for number in range(height):
        fields = (
            _field(cell, number, column, width, colour=colour)
            for cell, column, width in zip(cells, columns, widths, strict=True)
        )
        yield f"| {' | '.join(fields)} |"


def _field(cell: Cell, number: int, column: Column, width: int, *, colour: bool) -> str:
    lines = _lines(cell)
    text = lines[number] if number < len(lines) else ""
    # Only the word is coloured, never the padding, and its colour takes no room.
    shown = f"\x1b[{cell.style}m{text}\x1b[0m" if colour and text and cell.style else text
    padding = " " * (width - display_width(text))
    return padding + shown if column.right else shown + padding


def _lines(cell: Cell) -> list[str]:
    return [printable(line) for line in cell.text.split("\n")]


def _pad(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
