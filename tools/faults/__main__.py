"""``python -m tools.faults``: many schedules of faults, a line for each, and the details of those that failed."""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tools.faults.schedule import run_quietly

_PATIENCE = 300.0
"""Seconds that one schedule may take; it is over in a tenth of that."""


def _alone(seed: int, steps: int) -> bool:
    """One schedule in this process; whether it went well."""
    outcome = run_quietly(seed, steps)
    print("\n".join(filter(None, (str(outcome), outcome.report))))
    return not outcome.report


def _in_its_own_process(seed: int, steps: int) -> tuple[bool, str]:
    """One schedule of many, which can neither hang nor crash the others; whether it went well, and what it printed."""
    command = [sys.executable, "-m", "tools.faults", "--seed", str(seed), "--steps", str(steps)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        return False, f"seed {seed}: not over after {_PATIENCE} s, BROKEN\n{error.output!r}\n"
    return done.returncode == 0, done.stdout


def _many(seeds: range, steps: int, jobs: int) -> Iterator[int]:
    """Run all of these, print what they print, and give the seeds that failed."""
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = pool.map(lambda seed: _in_its_own_process(seed, steps), seeds)
        for seed, (well, text) in zip(seeds, outcomes, strict=True):
            print(text, end="", flush=True)
            if not well:
                yield seed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--steps", type=int, default=30, help="how many faults each")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    return parser.parse_args()


def main() -> None:
    """Run them; the exit status says whether any failed."""
    arguments = _arguments()
    if arguments.seed is not None:
        sys.exit(not _alone(arguments.seed, arguments.steps))
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    failed = tuple(_many(seeds, arguments.steps, arguments.jobs))
    print(f"{len(seeds) - len(failed)} of {len(seeds)} schedules went well")
    if failed:
        print("not so:", ", ".join(map(str, failed)))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
