"""Searches every interleaving on a small node: `python -m tools.explore --depth 9`."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tools.explore.search import Found, explore
from tools.explore.steps import start, steps_with_disabling, steps_with_losses

SEARCHES = {"disabling": steps_with_disabling, "losses": steps_with_losses}


def search(name: str, depth: int) -> Found:
    """One of the searches; says how far it is."""
    begun = time.monotonic()

    def progress(text: str) -> None:
        print(f"{name}: {text}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)

    return explore(start(), SEARCHES[name], depth, progress=progress)


def main() -> int:
    """Search; whether something is wrong."""
    parser = argparse.ArgumentParser(prog="explore", description=__doc__)
    parser.add_argument("--depth", type=int, default=9, help="steps from the start (default: 9)")
    given = parser.parse_args()
    with ProcessPoolExecutor(len(SEARCHES)) as pool:
        found = dict(zip(SEARCHES, pool.map(search, SEARCHES, [given.depth] * len(SEARCHES)), strict=True))
    for name, result in found.items():
        print(f"{name}: {result}")
    return int(any(result.problems for result in found.values()))


if __name__ == "__main__":
    sys.exit(main())
