"""As many collections as eleven days have, while cards come and go and somebody scrapes: nothing piles up.

By default as many as fit into a few seconds; ``make test-soak`` does all of them.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from itertools import cycle

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import rngd, warboy
from testkit.services.attribute_files import gone, sensor_file, text
from testkit.services.exporter import ScrapedNode
from testkit.services.process import environment_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(3600)]

COLLECTIONS = int(os.environ.get("NPU_SOAK", "1000"))
MOST_GROWTH = 1_024
"""KiB by which the process may grow after its first tenth: allocators are not exact."""
WARM = 2
"""Of what it says of its weight, the first ones are not counted: everything has to have happened once."""


@pytest_asyncio.fixture(loop_scope="module")
async def node() -> AsyncIterator[ScrapedNode]:
    async with ScrapedNode(warboy(0), warboy(1), rngd(0)) as node:
        yield node


async def unrest(node: ScrapedNode) -> None:
    """A card goes and comes back, a sensor fails and recovers, somebody scrapes; again and again."""
    card = node.host.card(Arch.WARBOY, 1)
    sensor = sensor_file(node.host, node.host.card(Arch.WARBOY, 0), "temp3_input")
    steps: tuple[Callable[[], None], ...] = (
        card.disappear,
        partial(gone, sensor),
        card.reappear,
        partial(text(b"38000\n"), sensor),
    )
    for step in cycle(steps):
        step()
        for _ in range(3):
            with suppress(ConnectionError):  # not up yet, or at its end
                await node.get("/metrics")
            await asyncio.sleep(0.03)


async def test_memory_and_open_files_stay_what_they_were(node: ScrapedNode) -> None:
    options = {"listen-address": f"127.0.0.1:{node.port}", "pod-labels": "off"}
    options |= {"sysfs": node.host.sysfs, "devfs": node.host.devfs}
    arguments = ("-m", "tests.contract.soaked", str(COLLECTIONS), json.dumps(options))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, env=environment_of(node.host) | path_to_tests()
    )
    around = asyncio.create_task(unrest(node))
    output, _ = await process.communicate()
    around.cancel()
    await asyncio.gather(around, return_exceptions=True)

    rows = [tuple(map(int, line.split())) for line in output.decode().splitlines()]
    assert process.returncode == 0
    assert rows[-1][0] >= COLLECTIONS
    sizes, files = [row[1] for row in rows[WARM:]], [row[2] for row in rows[WARM:]]
    assert max(sizes) - sizes[0] < MOST_GROWTH, rows
    assert max(files) - files[0] <= 2, rows  # a scrape may be under way


def path_to_tests() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
