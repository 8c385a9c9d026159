"""``python -m tools.soak``: the services for some minutes on a node on which everything goes wrong, and a verdict."""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from contextlib import redirect_stderr
from pathlib import Path

from npu_core.arch import Arch
from tools.soak.report import document, table
from tools.soak.rounds import CARDS, Outcome, Plan, soak


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long; growth cannot be told from less than two")
    parser.add_argument("--seed", type=int, default=0, help="of what happens")
    parser.add_argument("--family", type=Arch, choices=list(Arch), default=Arch.WARBOY, help="of the cards")
    parser.add_argument("--json", type=Path, help="write everything to this file too")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="write what the services log to this file")
    return parser.parse_args()


def _tell(problem: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {problem}", flush=True)


async def _soak(plan: Plan) -> Outcome:
    """Soak. Whoever ends it before its time ends the services with it."""
    task = asyncio.ensure_future(soak(plan, _tell))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def main() -> int:
    """Soak; the exit status says whether all is sound, and 2 that it was ended before its time."""
    options = _arguments()
    load = os.getloadavg()
    with options.log.open("w", encoding="utf-8") as log, redirect_stderr(log):
        try:
            outcome = asyncio.run(_soak(Plan(options.minutes * 60, options.seed, CARDS[options.family])))
        except asyncio.CancelledError:
            print("ended before its time: nothing is judged")
            return 2
    print(table(outcome), flush=True)
    if options.json:
        options.json.write_text(json.dumps(document(outcome, load), indent=1) + "\n", encoding="utf-8")
    return int(bool(outcome.reasons))


if __name__ == "__main__":
    sys.exit(main())
