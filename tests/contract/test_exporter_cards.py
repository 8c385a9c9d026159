"""Cards that come and go, die and are exchanged: what is scraped follows them, and says what is missing."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import rngd, warboy
from npu_metrics_exporter.events import Event
from testkit.services.exporter import Scrape, ScrapedNode
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIVE = "furiosa_npu_alive"
INFO = "furiosa_npu_info"
HEAT = "furiosa_npu_hw_temperature"
UPTIME = "furiosa_npu_uptime"
DEVICES = "furiosa_npu_exporter_devices"
FAST = ("--interval", "0.2", "--pod-labels", "off")


@pytest_asyncio.fixture(loop_scope="module")
async def node() -> AsyncIterator[ScrapedNode]:
    """Two cards of one family; nothing runs yet."""
    async with ScrapedNode(warboy(0), warboy(1)) as node:
        yield node


def alive(scrape: Scrape) -> dict[str, float]:
    return {row["device"]: scrape.value(ALIVE, **row) for row in scrape.rows(ALIVE)}


def devices(scrape: Scrape) -> tuple[float, ...]:
    return tuple(scrape.value(DEVICES, state=state) for state in ("present", "expected", "failed"))


async def test_a_card_that_is_gone_is_dead_for_a_grace_time_and_then_nothing(node: ScrapedNode) -> None:
    await node.up(*FAST, "--grace", "1.5")
    card = node.host.card(Arch.WARBOY, 1)
    assert devices(await node.scrape()) == (2, 2, 0)

    card.disappear()
    scrape = await node.until(lambda scrape: alive(scrape) == {"npu0": 1, "npu1": 0})
    assert devices(scrape) == (1, 2, 0)
    assert scrape.rows(HEAT, device="npu1") == []
    assert scrape.rows(UPTIME, device="npu1") == []
    await node.exporter.until_logged(Event.CARD_GONE, PATIENCE)
    assert len(node.exporter.logged(Event.CARD_GONE)) == 1

    scrape = await node.until(lambda scrape: alive(scrape) == {"npu0": 1})
    assert scrape.rows(INFO, device="npu1") == []
    assert devices(scrape) == (1, 2, 0)

    node.host.card(Arch.WARBOY, 0).disappear()
    scrape = await node.until(lambda scrape: not scrape.rows(ALIVE))
    assert devices(scrape) == (0, 2, 0)
    assert (await node.get("/readyz")).status == 200
    card.reappear()
    await node.until(lambda scrape: alive(scrape) == {"npu1": 1})


async def test_a_card_that_comes_later_is_told_of_and_expected_from_then_on(node: ScrapedNode) -> None:
    await node.up(*FAST)
    node.host.plug(rngd(0))
    scrape = await node.until(lambda scrape: len(scrape.rows(ALIVE)) == 3)
    assert {(row["arch"], row["device"]) for row in scrape.rows(ALIVE)} == {
        ("warboy", "npu0"),
        ("warboy", "npu1"),
        ("renegade", "npu0"),
    }
    assert devices(scrape) == (3, 3, 0)


async def test_another_card_in_the_place_of_one_is_told_of_under_its_own_identity(node: ScrapedNode) -> None:
    await node.up(*FAST)
    card = node.host.card(Arch.WARBOY, 1)
    card.disappear()
    card.set_attribute("device_sn", "OTHER-SERIAL")
    card.set_attribute("device_uuid", "OTHER-UUID")
    card.reappear()
    scrape = await node.until(lambda scrape: bool(scrape.rows(ALIVE, uuid="OTHER-UUID")))
    assert [row["serial"] for row in scrape.rows(INFO, device="npu1")] == ["OTHER-SERIAL"]
    assert len(scrape.rows(ALIVE, device="npu1")) == 1


async def test_a_card_that_the_driver_calls_dead_keeps_its_values(node: ScrapedNode) -> None:
    await node.up(*FAST)
    card = node.host.card(Arch.WARBOY, 0)
    card.die()
    scrape = await node.until(lambda scrape: alive(scrape) == {"npu0": 0, "npu1": 1})
    assert len(scrape.rows(HEAT, device="npu0")) == 10
    card.revive()
    await node.until(lambda scrape: alive(scrape) == {"npu0": 1, "npu1": 1})


async def test_no_card_at_all_is_said_once_and_waited_out() -> None:
    async with ScrapedNode() as node:
        await node.up(*FAST)
        first = await node.scrape()
        assert devices(first) == (0, 0, 0)
        await node.until(lambda scrape: heartbeat(scrape) > heartbeat(first) + 1)
        assert len(node.exporter.logged(Event.NO_CARD)) == 1
        node.host.plug(warboy(0))
        await node.until(lambda scrape: alive(scrape) == {"npu0": 1})


def heartbeat(scrape: Scrape) -> float:
    return scrape.value("furiosa_npu_exporter_loop_heartbeat_timestamp_seconds")
