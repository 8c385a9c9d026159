"""A read that never comes back costs its own card, and nothing else: not the others, not a scrape, not the end."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import FakeCard, warboy
from npu_metrics_exporter.events import Event
from testkit.services.attribute_files import blocking, mgmt_file, sensor_file, text, unblock
from testkit.services.exporter import Scrape, ScrapedNode
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIVE = "furiosa_npu_alive"
HEAT = "furiosa_npu_hw_temperature"
STUCK = "furiosa_npu_exporter_sensor_stuck"
ERRORS = "furiosa_npu_exporter_read_errors_total"
DURATION = "furiosa_npu_exporter_collect_duration_seconds"


@pytest_asyncio.fixture(loop_scope="module")
async def node() -> AsyncIterator[ScrapedNode]:
    """Three cards, and an exporter that looks at them five times a second."""
    async with ScrapedNode(warboy(0), warboy(1), warboy(2)) as node:
        yield await node.up("--interval", "0.2", "--pod-labels", "off")


def stuck(scrape: Scrape) -> list[float]:
    return [scrape.value(STUCK, device=f"npu{index}") for index in range(3)]


def alive(scrape: Scrape) -> list[float]:
    return [scrape.value(ALIVE, device=f"npu{index}") for index in range(3)]


def threads(node: ScrapedNode) -> int:
    return len(list(Path(f"/proc/{node.exporter.pid}/task").iterdir()))


async def is_fresh(node: ScrapedNode, card: FakeCard) -> None:
    """What the card says now is what is scraped."""
    for uptime in (1_111_111, 2_222_222):
        card.set_uptime(uptime)
        await node.until(partial(_says, card.name, uptime))


def _says(device: str, uptime: int, scrape: Scrape) -> bool:
    return scrape.value("furiosa_npu_uptime", device=device) == uptime


async def test_a_sensor_that_blocks_for_ever_costs_its_card_alone(node: ScrapedNode) -> None:
    broken, whole = node.host.card(Arch.WARBOY, 0), node.host.card(Arch.WARBOY, 1)
    path = sensor_file(node.host, broken, "temp1_input")
    content = path.read_bytes()
    blocking(path)

    scrape = await node.until(lambda scrape: stuck(scrape) == [1, 0, 0])

    # As the device plugin judges: for half a minute the card counts as what it was.
    assert alive(scrape) == [1, 1, 1]
    assert scrape.rows(ERRORS, device="npu0", reason="stuck")
    assert scrape.value("furiosa_npu_exporter_devices", state="failed") == 1
    await is_fresh(node, whole)
    assert (await node.get("/healthz")).status == 200
    assert (await node.get("/readyz")).status == 200
    await node.exporter.until_logged(Event.CARD_STUCK, PATIENCE)
    assert len(node.exporter.logged(Event.CARD_STUCK)) == 1

    # Nothing is asked of it while it hangs, so nothing waits and no thread is lost again.
    before, lost = await node.scrape(), threads(node)
    await node.until(lambda scrape: scrape.value(f"{DURATION}_count") >= before.value(f"{DURATION}_count") + 10)
    assert threads(node) == lost

    unblock(path, content)
    healed = await node.until(lambda scrape: stuck(scrape) == [0, 0, 0])
    assert alive(healed) == [1, 1, 1]
    await node.exporter.until_logged(Event.CARD_ANSWERS, PATIENCE)
    assert len(node.exporter.logged(Event.CARD_ANSWERS)) == 1


async def test_values_of_a_card_that_hangs_are_dropped_when_they_are_old(node: ScrapedNode) -> None:
    card = node.host.card(Arch.WARBOY, 2)
    assert (await node.scrape()).rows(HEAT, device="npu2")
    blocking(mgmt_file(node.host, card, "heartbeat"))

    scrape = await node.until(lambda scrape: not scrape.rows(HEAT, device="npu2"))

    assert stuck(scrape) == [0, 0, 1]
    assert scrape.rows(HEAT, device="npu1")


async def test_it_ends_with_every_card_stuck(node: ScrapedNode) -> None:
    for card in node.host.cards:
        blocking(sensor_file(node.host, card, "temp1_input"))
    await node.until(lambda scrape: stuck(scrape) == [1, 1, 1])
    assert await node.exporter.stop() == 0


async def test_a_card_that_hangs_from_the_start_is_told_of_and_the_others_with_it() -> None:
    async with ScrapedNode(warboy(0), warboy(1)) as node:
        path = mgmt_file(node.host, node.host.cards[0], "device_type")
        blocking(path)
        await node.up("--pod-labels", "off", "--interval", "0.2")
        scrape = await node.scrape()
        assert scrape.value(ALIVE, device="npu0") == 0
        assert scrape.value(ALIVE, device="npu1") == 1
        text(b"Warboy\n")(path)
