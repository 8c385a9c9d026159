"""The device plugin beside the least that one can be."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from npu_core.testing import FakeHost, warboy
from tools.benchmarks.client import Connection
from tools.benchmarks.figures import Figure, many
from tools.benchmarks.kubelet import Calls, Heard, Kubelet
from tools.benchmarks.memory import weight
from tools.benchmarks.programs import (
    Program,
    configuration,
    configured_device_plugin,
    device_plugin,
    minimal_plugin,
)

_SETTLED = 2.0
"""Seconds after its registration until a plugin has done what it does at its start."""
_BLOCK = 100
"""Calls on one plugin before the other has its turn: short enough that both see the same machine."""
_YOUTH = 3.5
"""Seconds until a kubelet is old enough for its answers to be taken for whole."""


class Bench:
    """A host with cards, a kubelet, and programs on it. Used as ``with Bench(8) as bench:``.

    Attributes:
        cards: how many.
        host: them.
        home: where the kubelet's sockets are.
        kubelet: it.
    """

    def __init__(self, cards: int) -> None:
        """A bench that is not set up yet."""
        # Short, because it is part of sockets' paths.
        self.home = Path(tempfile.mkdtemp(prefix="b-"))
        self.cards = cards
        self.host = FakeHost(self.home / "host", *(warboy(index) for index in range(cards)))
        self.kubelet = Kubelet(self.home)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self.home)
        self._stack.enter_context(self.kubelet)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def programs(self) -> tuple[Callable[[], Program], ...]:
        """Ours and the least, to be started as often as needed."""
        return (lambda: device_plugin(self.host, self.home)), (lambda: minimal_plugin(self.host, self.home))


def starts(bench: Bench, times: int) -> Iterator[Figure]:
    """From the start of the process to its registration, in turn; and to its first list."""
    registered: dict[str, list[float]] = {}
    listed: dict[str, list[float]] = {}
    for _ in range(times):
        for make in bench.programs():
            with make() as program:
                heard = bench.kubelet.heard()
                registered.setdefault(program.name, []).append((heard.at - program.begun) * 1000)
                listed.setdefault(program.name, []).append((heard.listing().at - program.begun) * 1000)
    for measure, taken in (("start to registered", registered), ("start to first list", listed)):
        for name, values in taken.items():
            yield many(measure, name, bench.cards, "ms", values)


def calls(bench: Bench, rounds: int) -> Iterator[Figure]:
    """Allocate and GetPreferredAllocation, in turn; and what the programs hold in memory before and after."""
    with ExitStack() as stack:
        programs, asked = [], []
        for make in bench.programs():
            programs.append(stack.enter_context(make()))
            heard = bench.kubelet.heard()
            units = sorted(heard.listing().health)
            asked.append((stack.enter_context(Calls(heard.socket)), units))
        time.sleep(_SETTLED)
        for program in programs:
            yield from weight(program, bench.cards, "after start")
        scrape(programs[0], 1)
        yield from weight(programs[0], bench.cards, "once scraped")
        measures: tuple[tuple[str, Callable[[Calls, list[str]], float]], ...] = (
            ("Allocate", lambda calls, units: calls.allocate(random.choice(units))),  # noqa: S311
            ("GetPreferredAllocation", lambda calls, units: calls.prefer(units, max(1, len(units) // 2))),
        )
        for measure, call in measures:
            times: list[list[float]] = [[] for _ in programs]
            for _ in range(rounds // _BLOCK):
                for place, (calls, units) in enumerate(asked):
                    times[place].extend(call(calls, units) * 1000 for _ in range(_BLOCK))
            for program, taken in zip(programs, times, strict=True):
                yield many(measure, program.name, bench.cards, "ms", taken)
        scrape(programs[0], 20)
        time.sleep(_SETTLED)
        for program in programs:
            yield from weight(program, bench.cards, "after load")


def scrape(program: Program, times: int) -> None:
    """Scrape a plugin's endpoint."""
    port = getattr(program, "port")  # noqa: B009  # of a Server; the least of plugins is none
    for _ in range(times):
        with Connection(port) as connection:
            connection.get()


def events(bench: Bench, times: int) -> Iterator[Figure]:
    """How soon the kubelet knows of what happens: the death of a card, its own restart, an edited configuration."""
    config = bench.home / "config.yaml"
    with configured_device_plugin(bench.host, bench.home, config) as program:
        heard = bench.kubelet.heard()
        heard.listing()
        time.sleep(_YOUTH)
        yield from weight(program, bench.cards, "after start")
        # Told under the plugin's own name: how it was configured makes no difference to it.
        deaths = [_death(bench, heard, number % bench.cards) for number in range(times)]
        yield many("card death to list", "device plugin", bench.cards, "ms", deaths)
        edits = [_edit(bench, program.port, config, heard, ("Single", "Fusion")[number % 2]) for number in range(times)]
        yield many("edit to list", "device plugin", bench.cards, "ms", edits)
        returns = [_return(bench) for _ in range(times)]
        yield many("kubelet.sock to registered", "device plugin", bench.cards, "ms", returns)


def _anytime() -> None:
    """Wait until some moment between two of the plugin's looks, which come every second."""
    time.sleep(random.random())  # noqa: S311


def _death(bench: Bench, heard: Heard, number: int) -> float:
    card = bench.host.cards[number]
    _anytime()
    died = time.monotonic()
    card.die()
    listing = heard.listing()
    assert not any(unit.startswith(f"{card.name}pe") for unit in listing.healthy), listing
    card.revive()
    back = heard.listing()
    assert len(back.healthy) == bench.cards, back
    return (listing.at - died) * 1000


def _edit(bench: Bench, port: int, config: Path, heard: Heard, default_pe: str) -> float:
    scratch = config.with_suffix(".new")
    scratch.write_text(configuration(bench.home, port, default_pe))
    _anytime()
    edited = time.monotonic()
    scratch.replace(config)
    listing = heard.listing()
    assert len(listing.health) == bench.cards * {"Single": 2, "Fusion": 1}[default_pe], listing
    return (listing.at - edited) * 1000


def _return(bench: Bench) -> float:
    bench.kubelet.stop()
    _anytime()
    there = bench.kubelet.start()
    heard = bench.kubelet.heard()
    heard.listing()
    # A registration is one with a kubelet; the next one is not to be taken for this one's echo.
    time.sleep(1.2)
    return (heard.at - there) * 1000
