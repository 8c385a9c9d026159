"""What a driver may say or fail to say: each value stands for itself, and a made-up one is never exported."""

import math
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.sensors import Quantity
from npu_core.testing import FakeCard, SensorPlan, warboy
from testkit.services.attribute_files import (
    Breakage,
    contents,
    gone,
    io_error,
    make,
    mgmt_file,
    refused,
    sensor_file,
    text,
    vanished,
)
from testkit.services.exporter import Scrape, ScrapedNode

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEAT = "furiosa_npu_hw_temperature"
ERROR = "furiosa_npu_error"
UPTIME = "furiosa_npu_uptime"
ERRORS = "furiosa_npu_exporter_read_errors_total"
FAST = ("--interval", "0.1", "--pod-labels", "off")

TOO_HOT, ABSENT = "hotter than silicon", "listed, but not there"
"""Of sensors, and not of attributes: the one is an ordinary uptime, the other an attribute that is not offered."""

STRANGE: dict[str, tuple[Breakage, str]] = {
    "empty": (text(b""), "format"),
    "no number": (text(b"N/A\n"), "format"),
    "more than 64 bits": (text(b"9223372036854775808\n"), "format"),
    "not UTF-8": (text(b"\xff\xfe41\n"), "format"),
    "4 KiB of digits": (text(b"1" * 4096), "format"),
    TOO_HOT: (text(b"511000\n"), "impossible"),
    "all of 32 bits set": (text(b"4294967295\n"), "impossible"),
    "EIO": (io_error, "io"),
    "EACCES": (refused, "access"),
    "ENXIO": (gone, "gone"),
    ABSENT: (vanished, "missing"),
}
"""What a file is made, and the reason under which a reading of it is counted."""

LEGAL = {"no line end": (b"41500", 41_500), "below zero": (b"-5\n", -5), "much space": (b"  7 \n", 7), "0": (b"0\n", 0)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[ScrapedNode]:
    """One card with two chips, on each of which a sensor is called Peak; and one with as many as there are."""
    extra = (SensorPlan(Quantity.TEMPERATURE, 1, "Peak", 55_000),)
    async with ScrapedNode(warboy(0), warboy(1, extra_sensors=extra)) as node:
        yield await node.up(*FAST)


@pytest_asyncio.fixture(loop_scope="module")
async def card(node: ScrapedNode) -> AsyncIterator[FakeCard]:
    """The first card. What a test makes of it is undone, and told by the exporter, before the next one begins."""
    card = node.host.card(Arch.WARBOY, 0)
    before = told(await node.scrape())
    attributes = contents(mgmt_file(node.host, card, "alive").parent)
    sensors = {path.name: content for path, content in contents(sensor_file(node.host, card, "name").parent).items()}
    yield card
    chip = sensor_file(node.host, card, "name").parent  # it may have another number by now
    make(attributes | {chip / name: content for name, content in sensors.items()})
    await node.until(lambda scrape: told(scrape) == before)


def told(scrape: Scrape) -> tuple[dict[str, float], float | None, int]:
    """What is said of the first card, as far as tests change it."""
    return heat(scrape), uptime(scrape), len(scrape.rows(ERROR, device="npu0"))


def heat(scrape: Scrape, device: str = "npu0") -> dict[str, float]:
    """The temperatures of a card by label."""
    rows = scrape.rows(HEAT, device=device)
    return {row["label"]: scrape.value(HEAT, device=device, label=row["label"]) for row in rows}


def counted(scrape: Scrape, reason: str) -> float:
    return sum(scrape.value(ERRORS, **row) for row in scrape.rows(ERRORS, device="npu0", reason=reason))


def has_no_made_up_value(scrape: Scrape, names: Iterable[str] = (HEAT, UPTIME, ERROR)) -> bool:
    return all(math.isfinite(scrape.value(name, **row)) for name in names for row in scrape.rows(name, device="npu0"))


@pytest.mark.parametrize("form", STRANGE)
async def test_a_sensor_that_cannot_be_read_costs_its_own_series_and_is_counted(
    node: ScrapedNode, card: FakeCard, form: str
) -> None:
    breakage, reason = STRANGE[form]
    path = sensor_file(node.host, card, "temp3_input")
    before = await node.scrape()

    breakage(path)
    broken = await node.until(lambda scrape: "LPDDR4" not in heat(scrape))

    assert heat(broken).keys() == heat(before).keys() - {"LPDDR4"}
    assert counted(broken, reason) > counted(before, reason)
    assert has_no_made_up_value(broken)
    assert broken.value("furiosa_npu_alive", device="npu0") == 1

    text(b"38001\n")(path)
    await node.until(lambda scrape: heat(scrape).get("LPDDR4") == 38_001)


@pytest.mark.parametrize("form", LEGAL)
async def test_a_value_in_a_form_that_drivers_may_choose_is_exported(
    node: ScrapedNode, card: FakeCard, form: str
) -> None:
    content, value = LEGAL[form]
    path = sensor_file(node.host, card, "temp3_input")
    text(content)(path)
    await node.until(lambda scrape: heat(scrape).get("LPDDR4") == value)


@pytest.mark.parametrize("form", [form for form in STRANGE if form not in {TOO_HOT, ABSENT}])
async def test_an_attribute_that_cannot_be_read_costs_its_own_series_and_is_counted(
    node: ScrapedNode, card: FakeCard, form: str
) -> None:
    breakage, reason = STRANGE[form]
    path = mgmt_file(node.host, card, "heartbeat")
    before = await node.scrape()

    breakage(path)
    broken = await node.until(lambda scrape: not scrape.rows(UPTIME, device="npu0"))

    assert counted(broken, reason) > counted(before, reason)
    assert heat(broken) == heat(before)


async def test_an_attribute_that_the_driver_does_not_offer_is_left_out_and_is_no_error(
    node: ScrapedNode, card: FakeCard
) -> None:
    card.remove_attribute("heartbeat")
    gone_now = await node.until(lambda scrape: not scrape.rows(UPTIME, device="npu0"))
    later = await node.until(lambda scrape: age(scrape) > age(gone_now) + 0.3)
    assert counted(later, "missing") == counted(gone_now, "missing")


def age(scrape: Scrape) -> float:
    return scrape.value("furiosa_npu_exporter_loop_heartbeat_timestamp_seconds")


def uptime(scrape: Scrape) -> float | None:
    rows = scrape.rows(UPTIME, device="npu0")
    return scrape.value(UPTIME, **rows[0]) if rows else None


async def test_error_counters_that_nobody_knows_and_fewer_than_there_were_are_told_as_they_are(
    node: ScrapedNode, card: FakeCard
) -> None:
    card.set_attribute("atr_error", "AXI Post Error: 3\nFlux Capacitor Error: 7")

    scrape = await node.until(lambda scrape: len(scrape.rows(ERROR, device="npu0")) == 2)

    assert scrape.value(ERROR, device="npu0", label="axi_post_error") == 3
    assert scrape.value(ERROR, device="npu0", label="flux_capacitor_error") == 7
    assert has_no_made_up_value(scrape)


# -- chips and labels --------------------------------------------------------------------------------------------------


async def test_two_chips_with_a_label_in_common_are_told_apart(node: ScrapedNode) -> None:
    scrape = await node.scrape()
    temperatures = heat(scrape, "npu1")
    assert len(temperatures) == 11
    assert "Peak" not in temperatures
    assert sorted(value for label, value in temperatures.items() if "Peak" in label) == [42_000, 55_000]


async def test_no_name_and_labels_come_twice(node: ScrapedNode, card: FakeCard) -> None:
    for channel in (1, 2, 3):
        text(b"Same\n")(sensor_file(node.host, card, f"temp{channel}_label"))
    scrape = await node.until(lambda scrape: sum("Same" in label for label in heat(scrape)) == 3)
    series = [(name, tuple(sorted(labels.items()))) for name, labels, _ in scrape.samples]
    assert len(series) == len(set(series))


async def test_a_label_that_changes_or_is_lost_while_it_runs_changes_the_series_of_its_sensor_alone(
    node: ScrapedNode, card: FakeCard
) -> None:
    path = sensor_file(node.host, card, "temp9_label")
    text(b"Hot \xc3\xa9\n")(path)
    await node.until(lambda scrape: "Hot \N{LATIN SMALL LETTER E WITH ACUTE}" in heat(scrape))
    path.unlink()
    scrape = await node.until(lambda scrape: "9" in heat(scrape))
    assert len(heat(scrape)) == 10
    text(b"Peak\n")(path)
    await node.until(lambda scrape: "Peak" in heat(scrape))
