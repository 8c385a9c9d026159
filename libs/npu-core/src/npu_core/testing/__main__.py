"""``python -m npu_core.testing DIR``: writes a simulated host, and with ``--live`` keeps it working."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from npu_core.testing.host import FakeHost
from npu_core.testing.plan import CardPlan, ImpossibleHostError, rngd, warboy
from npu_core.testing.simulation import Simulation


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        host = FakeHost(options.directory, *_cards(options), real_nodes=options.real_nodes)
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
    parser.add_argument("--warboy", metavar="N", type=int, default=0, help="number of Warboy cards (default 0)")
    parser.add_argument("--rngd", metavar="N", type=int, default=0, help="number of RNGD cards (default 0)")
    parser.add_argument("--numa", metavar="N", type=int, default=1, help="spread the cards over N NUMA nodes")
    parser.add_argument("--live", action="store_true", help="keep values moving until interrupted")
    parser.add_argument("--interval", metavar="SECONDS", type=float, default=1.0, help="between moves (default 1)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the simulated work (default 0)")
    parser.add_argument("--real-nodes", action="store_true", help="make real character devices (needs root)")
    return parser


def _cards(options: argparse.Namespace) -> list[CardPlan]:
    return [
        make(index, numa_node=index * options.numa // count)
        for make, count in ((warboy, options.warboy), (rngd, options.rngd))
        for index in range(count)
    ]


def _run(simulation: Simulation, interval: float) -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(interval):
        simulation.step(interval)


if __name__ == "__main__":
    sys.exit(main())
