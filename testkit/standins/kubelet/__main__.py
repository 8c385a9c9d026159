"""A stand-in kubelet: `python -m testkit.standins.kubelet`. Prints every event as a line of JSON until told to end."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from testkit.standins.kubelet import Event, Generation, KubeletSettings, StandInKubelet


def _settings() -> KubeletSettings:
    parser = argparse.ArgumentParser(prog="python -m testkit.standins.kubelet", description=__doc__)
    parser.add_argument("--plugin-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--generation", type=Generation, choices=list(Generation), default=Generation.B)
    parser.add_argument("--devfs", type=Path, metavar="DIR")
    parser.add_argument("--pod-resources-dir", type=Path, metavar="DIR")
    return KubeletSettings(**vars(parser.parse_args()))


def _print(event: Event) -> None:
    sys.stdout.write(json.dumps(event.as_json()) + "\n")
    sys.stdout.flush()


async def _run(settings: KubeletSettings) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with StandInKubelet(settings, listener=_print):
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(_run(_settings()))
