"""``python -m soak``: the services for so many minutes on a node on which everything goes wrong; and a verdict."""

import argparse
import asyncio
import json
import os
import sys
from contextlib import redirect_stderr
from pathlib import Path

from soak.report import document, table
from soak.rounds import Plan, soak


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of what happens")
    parser.add_argument("--json", type=Path, help="write everything to this file too")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="write what the services log to this file")
    return parser.parse_args()


def main() -> int:
    """Soak; the exit status says whether all is sound."""
    options = _arguments()
    load = os.getloadavg()
    with options.log.open("w", encoding="utf-8") as log, redirect_stderr(log):
        outcome = asyncio.run(soak(Plan(options.minutes * 60, options.seed)))
    print(table(outcome), flush=True)
    if options.json:
        options.json.write_text(json.dumps(document(outcome, load), indent=1) + "\n", encoding="utf-8")
    return int(bool(outcome.reasons))


if __name__ == "__main__":
    sys.exit(main())
