"""The metrics exporter beside node_exporter."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus

from tools.benchmarks.client import Connection
from tools.benchmarks.figures import Figure, many
from tools.benchmarks.memory import weight
from tools.benchmarks.plugin import Bench
from tools.benchmarks.programs import Server, exporter, node_exporter
from tools.benchmarks.scrapes import crowd, side_by_side

_SETTLED = 2.0
_CROWDED = 8
"""Cards of the host on which many scrape at once."""


def _programs(bench: Bench) -> tuple[Callable[[], Server], ...]:
    return (lambda: exporter(bench.host)), (lambda: node_exporter(bench.host))


def scraped(server: Server) -> bool:
    """Whether a scrape of it succeeds now."""
    try:
        with Connection(server.port) as connection:
            return connection.get().status == HTTPStatus.OK
    except OSError:
        return False


def starts(bench: Bench, times: int) -> Iterator[Figure]:
    """From the start of the process to the end of the first scrape that succeeds, in turn."""
    taken: dict[str, list[float]] = {}
    for _ in range(times):
        for make in _programs(bench):
            with make() as server:
                seconds = server.until(lambda server=server: scraped(server))  # type: ignore[misc]
                taken.setdefault(server.name, []).append(seconds * 1000)
    for name, values in taken.items():
        yield many("start to first scrape", name, bench.cards, "ms", values)


def scrapes(bench: Bench, rounds: int) -> Iterator[Figure]:
    """Scrapes in every way, in turn; and what the programs hold in memory before and after."""
    with ExitStack() as stack:
        servers = [stack.enter_context(make()) for make in _programs(bench)]
        for server in servers:
            server.until(lambda server=server: scraped(server))  # type: ignore[misc]
        time.sleep(_SETTLED)
        for server in servers:
            yield from weight(server, bench.cards, "after start")
        yield from side_by_side(servers, bench.cards, rounds)
        if bench.cards == _CROWDED:
            for server in servers:
                yield from crowd(server, bench.cards, 20)
        time.sleep(_SETTLED)
        for server in servers:
            yield from weight(server, bench.cards, "after load")


def with_pods(bench: Bench) -> Iterator[Figure]:
    """What it weighs when it tells who holds what, for which it speaks gRPC."""
    socket = str(bench.home / "r" / "kubelet.sock")
    with exporter(bench.host, "--pod-resources-socket", socket, name="metrics exporter, pods") as server:
        server.until(lambda: scraped(server))
        time.sleep(_SETTLED)
        yield from weight(server, bench.cards, "after start")
