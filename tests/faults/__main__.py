"""``python -m faults``: many schedules of faults, a line for each, and all that is to be known of those that failed."""

import argparse
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from faults.schedule import Outcome, run_quietly

_SEEDS_PER_PROCESS = 10
"""gRPC keeps something of every connection there was."""


def _outcomes(seeds: range, steps: int, jobs: int) -> Iterator[Outcome]:
    # Not forked: gRPC does not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=_SEEDS_PER_PROCESS) as pool:
        yield from pool.map(partial(run_quietly, count=steps), seeds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--steps", type=int, default=30, help="how many faults each")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    return parser.parse_args()


def main() -> None:
    """Run them; the exit status says whether any failed."""
    arguments = _arguments()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.seed is not None:
        seeds = range(arguments.seed, arguments.seed + 1)
    failed: list[int] = []
    for outcome in _outcomes(seeds, arguments.steps, arguments.jobs):
        print(outcome, flush=True)
        if outcome.report:
            print(outcome.report, flush=True)
            failed.append(outcome.seed)
    print(f"{len(seeds) - len(failed)} of {len(seeds)} schedules went well" + (f", not {failed}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
