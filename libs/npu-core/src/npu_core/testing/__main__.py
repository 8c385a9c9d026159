"""``python -m npu_core.testing DIR``: writes a simulated host, and with ``--live`` keeps it working."""

import argparse
import math
import shutil
import signal
import sys
from pathlib import Path

from npu_core.errors import FormatError
from npu_core.parse.text import parse_count, parse_number
from npu_core.testing.host import FakeHost
from npu_core.testing.plan import CardPlan, ImpossibleHostError, rngd, warboy
from npu_core.testing.simulation import Simulation

_ENDING = frozenset({signal.SIGINT, signal.SIGTERM})
_SHORTEST, _LONGEST = 0.01, 3600.0
_MARK = ".simulated-host"
"""A file beside the tree that this program wrote, so that the next run may remove the tree."""


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.live:
        # Taken up in _run alone, so that none is lost or cuts a write in two, whenever it comes.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        cards = _cards(options)
        _clear(options.directory)
        host = FakeHost(options.directory, *cards, real_nodes=options.real_nodes)
        (options.directory / _MARK).touch()
    except (ImpossibleHostError, OSError) as error:
        print(f"cannot simulate this host: {error}", file=sys.stderr)
        return 1
    print(f"simulated host with {len(host.cards)} NPUs (no real hardware):")
    print(f"  export NPU_SYSFS={host.sysfs} NPU_DEVFS={host.devfs} NPU_PROCFS={host.procfs}", flush=True)
    if options.live:
        _run(Simulation(host, options.seed), options.interval)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m npu_core.testing",
        description="Write a simulated host with NPUs into a directory: its sys, dev and proc.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write it; made if it is not there")
    parser.add_argument("--warboy", metavar="N", type=_count, default=0, help="number of Warboy cards (default 0)")
    parser.add_argument("--rngd", metavar="N", type=_count, default=0, help="number of RNGD cards (default 0)")
    parser.add_argument("--numa", metavar="N", type=_at_least_one, default=1, help="spread the cards over N NUMA nodes")
    parser.add_argument("--live", action="store_true", help="keep values moving until interrupted")
    parser.add_argument("--interval", metavar="SECONDS", type=_seconds, default=1.0, help="between moves (default 1)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the simulated work (default 0)")
    parser.add_argument("--real-nodes", action="store_true", help="make real character devices (needs root)")
    return parser


def _count(text: str, least: int = 0) -> int:
    try:
        value = parse_count(text, "a whole number")
    except FormatError:
        value = -1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of {least} or more")
    return value


def _at_least_one(text: str) -> int:
    return _count(text, 1)


def _seconds(text: str) -> float:
    try:
        value = parse_number(text, "a number of seconds")
    except FormatError:
        value = math.nan
    if not _SHORTEST <= value <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from {_SHORTEST:g} to {_LONGEST:g}")
    return value


def _cards(options: argparse.Namespace) -> list[CardPlan]:
    return [
        make(index, numa_node=index * options.numa // count)
        for make, count in ((warboy, options.warboy), (rngd, options.rngd))
        for index in range(count)
    ]


def _clear(directory: Path) -> None:
    """Remove the host that an earlier run wrote, so that no card of that run is left.

    Raises:
        ImpossibleHostError: if the directory holds a sys, dev or proc that this program did not write.
    """
    trees = [directory / name for name in ("sys", "dev", "proc")]
    taken = [tree.name for tree in trees if tree.is_dir() and any(tree.iterdir())]
    if taken and not (directory / _MARK).exists():
        raise ImpossibleHostError(f"{directory} has {', '.join(taken)} that this program did not write")
    for tree in trees:
        if tree.is_dir():
            shutil.rmtree(tree)


def _run(simulation: Simulation, interval: float) -> None:
    while signal.sigtimedwait(_ENDING, interval) is None:
        simulation.step(interval)


if __name__ == "__main__":
    sys.exit(main())
