"""Figures as a table, as JSON, and beside those of an older run."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tools.benchmarks.figures import PEERS, Figure, ratios
from tools.benchmarks.programs import ROOT

_NOTABLE = 1.15
"""A share of the older value, or its inverse, from which a row of a comparison is marked."""


@dataclass(frozen=True, slots=True)
class Run:
    """Figures, and what they were measured on."""

    machine: dict[str, object]
    figures: tuple[Figure, ...]


def machine() -> dict[str, object]:
    """This machine, as far as it matters to the figures."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    memory = Path("/proc/meminfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")), "?")
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "memory": f"{int(memory.split()[1]) / (1 << 20):.1f} GiB",
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "packages": _installed(),
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def _installed() -> dict[str, str]:
    """Versions of what the services that were measured stand on."""
    places = [str(place) for place in sorted(ROOT.glob(".venv-bench-*/lib/python*/site-packages"))]
    found = {package.name: package.version for package in metadata.distributions(path=places)}
    shown = ("grpcio", "protobuf", "uvloop", "uvicorn", "prometheus_client")
    return {name: found[name] for name in shown if name in found}


def save(run: Run, path: Path) -> None:
    """Write a run as JSON."""
    document = {"machine": run.machine, "figures": [asdict(figure) for figure in run.figures]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Run:
    """Read a run.

    Raises:
        ValueError: if the file holds none.
        OSError: if it cannot be read.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Run(document["machine"], tuple(Figure(**figure) for figure in document["figures"]))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected what `make bench` has written: {error!r}") from error


def table(figures: Sequence[Figure]) -> str:
    """A row for each measure and program, a column for each number of cards, and our share of the peer's value."""
    sizes = sorted({figure.cards for figure in figures})
    by_place, shares = {figure.place: figure for figure in figures}, ratios(figures)
    rows = [["measure", "program", *(f"{cards} cards" for cards in sizes), "ratio"]]
    for measure, subject in dict.fromkeys((figure.measure, figure.subject) for figure in figures):
        cells = [by_place.get((measure, subject, cards)) for cards in sizes]
        share = [shares.get((measure, subject, cards)) for cards in sizes]
        told = " / ".join("-" if each is None else f"{each:.2f}" for each in share) if any(share) else ""
        rows.append([measure, subject, *("" if cell is None else _text(cell) for cell in cells), told])
    return _aligned(rows)


def _text(figure: Figure) -> str:
    worst = "" if figure.worst is None else f" ({_number(figure.worst)})"
    return f"{_number(figure.value)}{worst} {figure.unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def comparison(old: Run, new: Run) -> str:
    """A row for each figure that both runs have.

    Two runs are two days of a machine. Where a program has a peer, its share of the peer's value in its own run is
    compared too, which the machine's mood hardly touches.
    """
    before = {each.place: each for each in old.figures}
    old_shares, new_shares = ratios(old.figures), ratios(new.figures)
    rows = [["measure", "program", "cards", "old", "new", "new/old", "beside the peer", ""]]
    for figure in new.figures:
        then = before.get(figure.place)
        if then is None or not then.value or figure.subject in PEERS.values():
            continue
        change = figure.value / then.value
        shares = [shares.get(figure.place) for shares in (old_shares, new_shares)]
        beside = None if None in shares else shares[1] / shares[0]  # type: ignore[operator]  # neither is None
        counts = change if beside is None else beside
        mark = "worse" if counts >= _NOTABLE else "better" if counts <= 1 / _NOTABLE else ""
        rows.append(
            [
                figure.measure,
                figure.subject,
                str(figure.cards),
                _text(then),
                _text(figure),
                f"{change:.2f}",
                "" if beside is None else f"{beside:.2f}",
                mark,
            ]
        )
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(_lines(rows, widths))


def _lines(rows: Iterable[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
