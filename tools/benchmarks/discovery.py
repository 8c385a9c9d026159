"""The feature discovery. No peer of it installs from here: its figures stand alone."""

import random
import time
from collections.abc import Iterator

from tools.benchmarks.figures import Figure, many
from tools.benchmarks.memory import weight
from tools.benchmarks.plugin import Bench
from tools.benchmarks.programs import feature_discovery

_SETTLED = 2.0
_COUNT = "beta.furiosa.ai/npu.count="


def starts(bench: Bench, times: int) -> Iterator[Figure]:
    """From the start of the process to the file with the labels."""
    file = bench.home / "features.d" / "npu"
    file.parent.mkdir(exist_ok=True)
    taken = []
    for _ in range(times):
        file.unlink(missing_ok=True)
        with feature_discovery(bench.host, file) as program:
            taken.append(program.until(file.exists) * 1000)
    yield many("start to labels", "feature discovery", bench.cards, "ms", taken)


def changes(bench: Bench, times: int) -> Iterator[Figure]:
    """From a card's disappearance to the file that says so; and what the program holds in memory."""
    file = bench.home / "features.d" / "npu"
    with feature_discovery(bench.host, file) as program:
        program.until(file.exists)
        time.sleep(_SETTLED)
        yield from weight(program, bench.cards, "after start")
        card, taken = bench.host.cards[-1], []
        for _ in range(times):
            time.sleep(random.random())  # noqa: S311  # at any moment between two looks
            gone = time.monotonic()
            card.disappear()
            program.until(lambda: f"{_COUNT}{bench.cards - 1}\n" in file.read_text())
            taken.append((time.monotonic() - gone) * 1000)
            card.reappear()
            program.until(lambda: f"{_COUNT}{bench.cards}\n" in file.read_text())
        yield many("change to labels", "feature discovery", bench.cards, "ms", taken)
        yield from weight(program, bench.cards, "after load")
