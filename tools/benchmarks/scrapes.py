"""Scrapes of the exporter and of node_exporter, in turn, on the same cards."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus

from tools.benchmarks.client import Connection
from tools.benchmarks.figures import Figure, many, once
from tools.benchmarks.programs import Server

_SCRAPERS = 50


def _kept(server: Server, *, gzip: bool) -> Callable[[], int]:
    connection = Connection(server.port, gzip=gzip)
    return lambda: connection.get().size


def _renewed(server: Server, *, gzip: bool) -> Callable[[], int]:
    def scrape() -> int:
        with Connection(server.port, gzip=gzip) as connection:
            return connection.get().size

    return scrape


WAYS: dict[str, Callable[[Server], Callable[[], int]]] = {
    "scrape, text, kept": partial(_kept, gzip=False),
    "scrape, gzip, kept": partial(_kept, gzip=True),
    "scrape, text, new": partial(_renewed, gzip=False),
    "scrape, gzip, new": partial(_renewed, gzip=True),
}
"""How it may be asked: with or without compression, over one connection or over one for each."""


def side_by_side(servers: list[Server], cards: int, rounds: int) -> Iterator[Figure]:
    """Every way of asking every server; in each round one after the other."""
    for measure, way in WAYS.items():
        scrapes = {server: way(server) for server in servers}
        for server, scrape in scrapes.items():
            yield once(f"bytes, {measure}", server.name, cards, "B", scrape())
        times: dict[Server, list[float]] = {server: [] for server in servers}
        before = {server: server.footprint.cpu for server in servers}
        for _ in range(rounds):
            for server, scrape in scrapes.items():
                begun = time.perf_counter()
                scrape()
                times[server].append((time.perf_counter() - begun) * 1000)
        for server in servers:
            # Ticks of 10 ms, but of all its threads, also those that have ended; over hundreds of scrapes that is fine.
            used = (server.footprint.cpu - before[server]) * 1000 / rounds
            yield many(measure, server.name, cards, "ms", times[server])
            yield once(f"CPU, {measure}", server.name, cards, "ms", used)


def crowd(server: Server, cards: int, rounds: int) -> Iterator[Figure]:
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
            except Exception as error:  # noqa: BLE001  # counted; the others would wait at the gate for ever
                errors.append(repr(error))
                continue
            times.append((time.perf_counter() - begun) * 1000)
            if reply.status != HTTPStatus.OK:
                errors.append(str(reply.status))

    threads = [threading.Thread(target=work) for _ in range(_SCRAPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield many(f"{_SCRAPERS} scrapes at once", server.name, cards, "ms", times)
    yield once(f"errors of {_SCRAPERS} scrapes at once", server.name, cards, "", len(errors))
