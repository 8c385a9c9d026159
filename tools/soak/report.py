"""What came of a soak, for people and for programs. Pure but for the facts of the machine."""

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tools.soak.rounds import Outcome
from tools.soak.site import GRACE, INTERVAL, LABEL_INTERVAL
from tools.soak.verdict import Finding

_MOST = 40
"""Reasons that are printed; the document has all of them."""


def table(outcome: Outcome) -> str:
    """For people."""
    return "\n".join(
        (
            *_sizes(outcome),
            "",
            *_happened(outcome),
            "",
            *_bounds(outcome),
            "",
            *_times(outcome),
            "",
            *verdict(outcome),
        )
    )


def _sizes(outcome: Outcome) -> Iterator[str]:
    judged = outcome.plan.judged
    yield (
        f"Of each process from {judged.begin:.0f} s, when it is warm, to {judged.end:.0f} s, when restarts begin; "
        f"a sample every {judged.every:.1f} s:"
    )
    titles = ("first", "min", "median", "max", "last", "grows/h", "allowed/h")
    yield f"{'service':18} {'quantity':14} {'unit':4}" + "".join(f"{title:>11}" for title in titles) + "  "
    for each in outcome.found:
        yield _row(each)


def _row(each: Finding) -> str:
    head = f"{each.service:18} {each.quantity:14} {each.unit:4}"
    if each.spread is None:
        return f"{head} nothing is known  NOT SOUND"
    spread = each.spread
    values = (spread.first, spread.least, spread.middle, spread.most, spread.last, spread.per_hour)
    allowed = "" if each.allowed is None else _number(each.allowed)
    mark = "NOT SOUND" if each.problem else ("" if each.allowed is None else "ok")
    return head + "".join(f"{_number(value):>11}" for value in values) + f"{allowed:>11}  {mark}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"  # three digits say enough


def _happened(outcome: Outcome) -> Iterator[str]:
    yield (
        f"What happened in {outcome.seconds:.0f} s, {len(outcome.rounds)} rounds; the plugin and the exporter looked "
        f"every {INTERVAL:g} s, the discovery every {LABEL_INTERVAL:g} s (by default 10 and 60):"
    )
    for name, number in sorted(outcome.counts[-1][1].items()):
        yield f"{number:>8}  {name}"


def _bounds(outcome: Outcome) -> Iterator[str]:
    yield "What was sent and written before the first restart, and how much of it there could be reason for:"
    for each in outcome.tallies:
        yield f"{each.count:>8}  of {each.most} at most: {each.what}, by {each.because}"


def _times(outcome: Outcome) -> Iterator[str]:
    settled = max((each.settled for each in outcome.rounds), default=0.0)
    healed = max((each.healed for each in outcome.rounds), default=0.0)
    yield f"Everything was said as it was {settled:.1f} s after a fault and {healed:.1f} s after the last one, at most."
    ends = ", ".join(f"{service} {seconds:.2f} s" for service, seconds in outcome.ends.items())
    yield f"On SIGTERM, with a card that hangs, they ended after: {ends}."


def verdict(outcome: Outcome) -> Iterator[str]:
    """The last lines."""
    if not outcome.reasons:
        yield "sound"
        return
    yield f"NOT SOUND: {len(outcome.reasons)} reasons"
    yield from (f"  {reason}" for reason in outcome.reasons[:_MOST])


def document(outcome: Outcome, load_before: tuple[float, ...]) -> dict[str, object]:
    """For programs: everything."""
    return {
        "verdict": "NOT SOUND" if outcome.reasons else "sound",
        "reasons": outcome.reasons,
        "machine": machine() | {"load_before": load_before, "load_after": os.getloadavg()},
        "plan": {
            "seconds": outcome.plan.seconds,
            "seed": outcome.plan.seed,
            "cards": [str(card.arch) for card in outcome.plan.cards],
            "judged": asdict(outcome.plan.judged),
            "intervals": {"plugin": INTERVAL, "exporter": INTERVAL, "discovery": LABEL_INTERVAL, "grace": GRACE},
        },
        "findings": [asdict(each) for each in outcome.found],
        "tallies": [asdict(each) for each in outcome.tallies],
        "ends": outcome.ends,
        "rounds": [asdict(each) for each in outcome.rounds],
        "counts": [{"at": at, "counts": counts} for at, counts in outcome.counts],
        "samples": {service: [asdict(each) for each in samples] for service, samples in outcome.samples.items()},
    }


def machine() -> dict[str, object]:
    """What it was measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = {line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")}
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "cpu": ", ".join(sorted(models)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    }
