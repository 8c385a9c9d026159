"""``python -m tools.scale``: measure one node, calculate thousands, and say whether docs/scale.md says the same."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from testkit.documents import ROOT
from tools.scale import measure_kubelet, measure_labels, measure_scrapes, tables
from tools.scale.inputs import Inputs, changed
from tools.scale.measured import Measured
from tools.scale.page import differences, rewritten
from tools.scale.scenarios import Rest, Restart, restarts, rests

PAGE = ROOT / "docs/scale.md"


def measured() -> Measured:
    """One node of each kind. Takes about a minute."""
    cases = [(kind, cut) for kind in measure_kubelet.KINDS for cut in measure_kubelet.CUTS]
    return Measured(measure_kubelet.measure(cases), measure_labels.measure(), measure_scrapes.measure())


def all_tables(
    inputs: Inputs, one: Measured, starts: tuple[Restart, ...], at_rest: tuple[Rest, ...]
) -> Mapping[str, str]:
    """Every table of the page."""
    return {
        **tables.of_inputs(inputs),
        **tables.of_restarts(starts, at_rest),
        **tables.of_labels(one.labels, inputs),
        **tables.of_kubelet(one.kubelet),
        **tables.of_scrapes(one.scrapes, inputs),
    }


def main() -> int:
    """The ``make scale`` command; the exit status says whether the page is up to date."""
    options = _arguments()
    try:
        inputs = _inputs(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    begun = time.monotonic()
    one, starts, at_rest = measured(), restarts(inputs), rests(inputs)
    made = all_tables(inputs, one, starts, at_rest)
    for name, text in made.items():
        print(f"{name}\n\n{text}")
    if options.json:
        found: dict[str, object] = {"inputs": asdict(inputs), "measured": asdict(one)}
        found |= {"restarts": [asdict(each) for each in starts], "rests": [asdict(each) for each in at_rest]}
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(f"made in {time.monotonic() - begun:.0f} s")
    return _kept(made, write=options.write) if inputs == Inputs() else 0


def _kept(made: Mapping[str, str], *, write: bool) -> int:
    page = PAGE.read_text(encoding="utf-8")
    if write:
        PAGE.write_text(rewritten(page, made), encoding="utf-8")
        return 0
    found = list(differences(page, made))
    print(
        *found,
        "docs/scale.md differs: python -m tools.scale --write" if found else "docs/scale.md says so",
        sep="\n",
    )
    return bool(found)


def _inputs(options: argparse.Namespace) -> Inputs:
    inputs = Inputs()
    given: list[str] = options.set
    for change in (*([f"cluster.nodes={options.nodes}"] if options.nodes else ()), *given):
        inputs = changed(inputs, change)
    return inputs


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.scale", description=__doc__)
    parser.add_argument("--nodes", type=int, help="as --set cluster.nodes=N")
    parser.add_argument("--set", action="append", default=[], metavar="INPUT=VALUE", help="change an input")
    parser.add_argument("--json", type=Path, help="write everything to this file, too")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
