"""The exporter, collecting and publishing as fast as it can; says now and then what it weighs.

``python -m contract.soaked NUMBER OPTIONS``: ends after so many collections, OPTIONS is JSON as the daemon takes it.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from npu_core.config.reload import ReloadableSettings
from npu_core.service.options import live_fields
from npu_metrics_exporter.app import Exporter
from npu_metrics_exporter.counters import Counters
from npu_metrics_exporter.settings import OPTIONS, load
from npu_metrics_exporter.web.reload import WebConfigReloader
from testkit.footprint import footprint

TIMES = 20
"""How often it says what it weighs."""


def weight() -> tuple[int, int]:
    """KiB in memory, and the number of open files, of this process."""
    now = footprint(os.getpid())
    return now.rss, now.files


async def soak(number: int, options: Mapping[str, str]) -> None:
    """Collect that often without a pause, and serve meanwhile."""
    telemetry = Counters()
    following = ReloadableSettings(
        lambda read: replace(load(options, {}, read), interval=0.0, grace=0.0), live_fields(OPTIONS), telemetry.config
    )
    exporter = Exporter(following, WebConfigReloader(None), telemetry)
    stopped = asyncio.Event()
    running = asyncio.create_task(exporter.run(stopped))
    for part in range(1, TIMES + 1):
        while (done := sum(telemetry.collections.buckets)) < number * part // TIMES and not running.done():
            await asyncio.wait({running}, timeout=0.01)
        print(done, *weight(), flush=True)  # noqa: T201  # a program's answer
    stopped.set()
    await running


if __name__ == "__main__":
    asyncio.run(soak(int(sys.argv[1]), json.loads(sys.argv[2])))
