"""``python -m tools.benchmarks``: whole processes of the installed services, beside their peers, in one run.

Absolute times are this machine's at this moment; what counts are the ratios.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tools.benchmarks import discovery, exporter, plugin
from tools.benchmarks.figures import Figure
from tools.benchmarks.idle import SECONDS, idle
from tools.benchmarks.plugin import Bench
from tools.benchmarks.programs import Program, feature_discovery, node_exporter
from tools.benchmarks.programs import exporter as metrics_exporter
from tools.benchmarks.report import Run, comparison, load, machine, save, table

_MANY = 64
"""Cards of a host on which node_exporter takes so long that it is asked less often."""


def _all_of(bench: Bench, quick: int) -> Iterator[Figure]:
    """Everything but rest; each count is divided by ``quick``."""
    few = max(1, 5 // quick)
    yield from plugin.starts(bench, max(1, 9 // quick))
    yield from plugin.calls(bench, max(100, 1000 // quick))
    yield from plugin.events(bench, few if bench.cards > 1 else max(1, few // 2))
    yield from exporter.starts(bench, few)
    yield from exporter.scrapes(bench, max(20, (300 if bench.cards < _MANY else 60) // quick))
    yield from exporter.with_pods(bench)
    yield from discovery.starts(bench, few)
    yield from discovery.changes(bench, few)


def _rest(sizes: list[int], seconds: float) -> Iterator[Figure]:
    """Every program on every host at once, with nothing to do."""
    with ExitStack() as stack:
        programs: list[tuple[int, Program]] = []
        for cards in sizes:
            bench = stack.enter_context(Bench(cards))
            for make in bench.programs():
                programs.append((cards, stack.enter_context(make())))
                bench.kubelet.heard().listing()
            file = bench.home / "labels"
            for server in (metrics_exporter(bench.host), node_exporter(bench.host)):
                programs.append((cards, stack.enter_context(server)))
                server.until(lambda server=server: exporter.scraped(server))  # type: ignore[misc]
            found = stack.enter_context(feature_discovery(bench.host, file))
            found.until(file.exists)
            programs.append((cards, found))
        time.sleep(3.0)  # until the last one has done what it does at its start
        yield from idle(programs, seconds)


def _measure(sizes: list[int], seconds: float, quick: int, tell: Callable[[str], object]) -> tuple[Figure, ...]:
    figures: list[Figure] = []
    for cards in sizes:
        tell(f"{cards} cards ...\n")
        with Bench(cards) as bench:
            figures.extend(_all_of(bench, quick))
    tell(f"rest, {seconds:g} s ...\n")
    figures.extend(_rest(sizes, seconds))
    return tuple(figures)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--cards", type=int, nargs="+", default=[1, 8, _MANY], help="of each host")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the figures go, too")
    parser.add_argument("--quick", type=int, default=1, metavar="N", help="take everything N times less often")
    parser.add_argument("--idle", type=float, default=SECONDS, metavar="SECONDS", help="of rest")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="measure nothing: compare --json with this one")
    return parser.parse_args()


def main() -> None:
    """Measure, or compare."""
    asked = _arguments()
    if asked.compare is not None:
        print(comparison(load(asked.compare), load(asked.json)))
        return
    run = Run(machine(), _measure(asked.cards, asked.idle, asked.quick, sys.stderr.write))
    save(run, asked.json)
    print("\n".join(f"{name}: {value}" for name, value in run.machine.items()), end="\n\n")
    print(table(run.figures))


if __name__ == "__main__":
    main()
