"""What programs cost while nobody wants anything of them: all of them at once, in one stretch of time."""

import time
from collections.abc import Iterator, Sequence

from tools.benchmarks.figures import Figure, once
from tools.benchmarks.programs import Program

SECONDS = 60.0


def idle(programs: Sequence[tuple[int, Program]], seconds: float) -> Iterator[Figure]:
    """Processor time and wake-ups of programs that are at work; with each the number of its host's cards."""
    before = [(cards, program, program.footprint) for cards, program in programs]
    time.sleep(seconds)
    for cards, program, then in before:
        now = program.footprint
        per_minute = 60.0 / seconds
        used = (now.precise_cpu - then.precise_cpu) * per_minute
        woken = (now.wakeups - then.wakeups) / seconds
        yield once("idle CPU a minute", program.name, cards, "s", used)
        yield once("idle wake-ups a second", program.name, cards, "", woken)
