"""Scrapes of the exporter and of node_exporter, alternating, on the same simulated cards.

Run by ``make bench-scrape``. Absolute times are this machine's at this moment; the ratios are what counts.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from benchmarks.client import Connection
from benchmarks.servers import Server, exporter, node_exporter
from npu_core.testing import FakeHost, warboy

_SCRAPERS = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one way of asking one server. Times in milliseconds."""

    server: str
    cards: int
    asked: str
    p50: float
    p99: float
    cpu_per_scrape: float
    rss_kb: int
    size: int
    errors: int = 0


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def kept(server: Server, *, gzip: bool) -> Callable[[], int]:
    """Scrapes over one connection."""
    connection = Connection(server.port, gzip=gzip)
    return lambda: connection.get().size


def renewed(server: Server, *, gzip: bool) -> Callable[[], int]:
    """Scrapes over a connection each."""

    def scrape() -> int:
        with Connection(server.port, gzip=gzip) as connection:
            return connection.get().size

    return scrape


WAYS: dict[str, Callable[[Server], Callable[[], int]]] = {
    "text, kept": partial(kept, gzip=False),
    "gzip, kept": partial(kept, gzip=True),
    "text, new connection": partial(renewed, gzip=False),
}


def side_by_side(servers: list[Server], cards: int, rounds: int) -> list[Figures]:
    """Every way of asking every server; in each round one after the other."""
    found = []
    for asked, way in WAYS.items():
        scrapes = {server: way(server) for server in servers}
        times: dict[Server, list[float]] = {server: [] for server in servers}
        cpu = dict.fromkeys(servers, 0.0)
        size = {server: scrapes[server]() for server in servers}
        for server in servers:  # processor time is counted in ticks: each server's scrapes in one piece
            before = server.footprint.cpu
            for _ in range(rounds):
                scrapes[server]()
            cpu[server] = (server.footprint.cpu - before) / rounds
        for _ in range(rounds):
            for server in servers:
                begun = time.perf_counter()
                scrapes[server]()
                times[server].append((time.perf_counter() - begun) * 1000)
        found += [
            Figures(
                server.name,
                cards,
                asked,
                percentile(times[server], 0.5),
                percentile(times[server], 0.99),
                cpu[server] * 1000,
                server.footprint.rss,
                size[server],
            )
            for server in servers
        ]
    return found


def crowd(server: Server, cards: int, rounds: int) -> Figures:
    """Fifty scrapers, each with a connection of its own, that all ask once at the same moment, again and again."""
    gate = threading.Barrier(_SCRAPERS)
    times: list[float] = []
    errors: list[str] = []

    def work() -> None:
        for _ in range(rounds):
            gate.wait()
            begun = time.perf_counter()
            try:
                with Connection(server.port, gzip=True) as connection:
                    reply = connection.get()
            except OSError as error:
                errors.append(repr(error))
                continue
            times.append((time.perf_counter() - begun) * 1000)
            if reply.status != HTTPStatus.OK:
                errors.append(str(reply.status))

    before = server.footprint.cpu
    threads = [threading.Thread(target=work) for _ in range(_SCRAPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu = (server.footprint.cpu - before) * 1000 / (_SCRAPERS * rounds)
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    return Figures(
        server.name, cards, f"{_SCRAPERS} at once, gzip", p50, p99, cpu, server.footprint.rss, 0, len(errors)
    )


def measure(cards: int, rounds: int) -> list[Figures]:
    """Both servers on a host with so many cards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        host = FakeHost(Path(directory), *(warboy(index) for index in range(cards)))
        with exporter(host) as ours, node_exporter(host) as theirs:
            return [*side_by_side([ours, theirs], cards, rounds), crowd(ours, cards, 20), crowd(theirs, cards, 20)]


def table(found: list[Figures]) -> str:
    """For people: a row per server and way, and our share of the other's time."""
    lines = [
        f"{'cards':>5}  {'asked':22} {'server':22} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>7} {'RSS kB':>7} {'bytes':>8}"
    ]
    for each in found:
        failed = f"  {each.errors} errors" if each.errors else ""
        lines.append(
            f"{each.cards:>5}  {each.asked:22} {each.server:22} {each.p50:8.2f} {each.p99:8.2f}"
            f" {each.cpu_per_scrape:7.2f} {each.rss_kb:7} {each.size:8}{failed}"
        )
    lines.append("")
    for ours, theirs in pairs(found):
        ratios = f"p50 {ours.p50 / theirs.p50:.2f}, p99 {ours.p99 / theirs.p99:.2f}"
        lines.append(f"{ours.cards:>5}  {ours.asked:22} ours / node_exporter: {ratios}")
    return "\n".join(lines)


def pairs(found: list[Figures]) -> list[tuple[Figures, Figures]]:
    """Ours and theirs, asked alike."""
    names = list(dict.fromkeys(each.server for each in found))
    places = dict.fromkeys((each.cards, each.asked) for each in found)
    by_place = {(each.server, each.cards, each.asked): each for each in found}
    return [(by_place[names[0], *place], by_place[names[1], *place]) for place in places]


def machine() -> dict[str, object]:
    """What it was measured on."""
    return {"python": platform.python_version(), "kernel": platform.release(), "cpus": os.cpu_count()}


def main() -> None:
    """The ``make bench-scrape`` command."""
    parser = argparse.ArgumentParser(prog="make bench-scrape", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="scrapes of each server and way")
    parser.add_argument("--cards", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    found = [figures for cards in options.cards for figures in measure(cards, options.rounds)]
    sys.stdout.write(table(found) + "\n")
    if options.json:
        document = {"machine": machine(), "figures": [asdict(figures) for figures in found]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
