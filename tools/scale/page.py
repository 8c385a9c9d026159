"""The tables within docs/scale.md: each between two comments that name it."""

import re
from collections.abc import Iterator, Mapping

_BLOCK = re.compile(r"<!-- table: (?P<name>[a-z-]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?) (?P<unit>[kMGT]?B)")
_FACTORS = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
TOLERANCE = 0.03
"""Share by which sizes may differ: a process counts its own memory in its metrics, and zlib has versions."""


def tables_of(page: str) -> dict[str, str]:
    """The tables of a page, by name."""
    return {match["name"]: match["text"].strip() for match in _BLOCK.finditer(page)}


def rewritten(page: str, tables: Mapping[str, str]) -> str:
    """The page with these tables in the place of those of the same names; others stay."""

    def block(match: re.Match[str]) -> str:
        text = tables.get(match["name"], match["text"])
        return f"<!-- table: {match['name']} -->\n\n{text.strip()}\n\n<!-- end -->"

    return _BLOCK.sub(block, page)


def differences(page: str, tables: Mapping[str, str]) -> Iterator[str]:
    """Every row that the page has otherwise, both ways, and every table that it lacks."""
    found = tables_of(page)
    for name, text in tables.items():
        if name not in found:
            yield f"there is no table {name}"
            continue
        yield from _row_differences(name, found[name].splitlines(), text.strip().splitlines())


def _row_differences(name: str, found: list[str], made: list[str]) -> Iterator[str]:
    for row in made:
        if not any(alike(row, other) for other in found):
            yield f"{name}: the page lacks {row}"
    for row in found:
        if not any(alike(row, other) for other in made):
            yield f"{name}: the page has {row}"


def alike(one: str, other: str) -> bool:
    """Whether two rows say the same: sizes to within the tolerance, everything else to the letter."""
    if _SIZE.sub("", one) != _SIZE.sub("", other):
        return False
    pairs = zip(_sizes(one), _sizes(other), strict=True)
    return all(abs(a - b) <= TOLERANCE * max(a, b) for a, b in pairs)


def _sizes(row: str) -> list[float]:
    return [float(match["number"]) * _FACTORS[match["unit"]] for match in _SIZE.finditer(row)]
