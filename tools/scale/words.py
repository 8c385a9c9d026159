"""Numbers and tables as docs/scale.md has them (pure)."""

from collections.abc import Iterable, Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB")
_FEW = 10


def number(value: float) -> str:
    """``12 345``; of small ones that are not whole, one decimal."""
    if value != int(value) and abs(value) < _FEW:
        return f"{value:.1f}"
    return f"{round(value):,}".replace(",", " ")


def size(count: float) -> str:
    """Bytes: ``1.2 MB``, in powers of 1000."""
    place = 0
    while count >= 1000 and place < len(_UNITS) - 1:
        count /= 1000
        place += 1
    digits = 0 if place == 0 or count >= 100 else 1
    return f"{count:.{digits}f} {_UNITS[place]}"


def span(seconds: float) -> str:
    """``12 s``, ``5 min``, ``43 h``."""
    if seconds < 600:
        return f"{seconds:.1f} s" if 0 < seconds < _FEW else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:.0f} h"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown. Columns of numbers are not aligned, as nowhere in these pages."""
    rule = f"|{'---|' * len(heads)}"
    return "\n".join((_line(heads), rule, *map(_line, rows))) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)
