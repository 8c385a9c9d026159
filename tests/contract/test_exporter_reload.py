"""The configuration file while the exporter runs: a right one is in force at once, a wrong one costs nothing."""

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import warboy
from testkit.services.exporter import ScrapedNode
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIVE = "furiosa_npu_alive"
SPEC = "furiosa_npu_hw_temperature"
BASE = "furiosa_npu_hw_temperature_celsius"
GENERATION = "furiosa_npu_exporter_config_generation"
LOADED = "furiosa_npu_exporter_config_last_reload_success"
REFUSED = "configuration refused, the last good one stays"
OFF = ("--pod-labels", "off")


class Configured(ScrapedNode):
    """A machine whose exporter takes what it exports from a file."""

    def configure(self, text: str) -> str:
        """Replace the file, as an editor would; returns its path."""
        path = self.home / "exporter.yaml"
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)
        return str(path)


@pytest_asyncio.fixture(loop_scope="module")
async def node() -> AsyncIterator[Configured]:
    """Two cards; nothing runs yet."""
    async with Configured(warboy(0), warboy(1)) as node:
        yield node


async def test_a_change_is_in_force_at_once_and_said(node: Configured) -> None:
    await node.up(*OFF, "--interval", "60", "--config-file", node.configure("units: spec\n"))
    before = await node.scrape()
    assert (len(before.rows(SPEC)) > 0, before.rows(BASE), before.value(GENERATION)) == (True, [], 1)

    node.configure("units: base\nstaticLabels: {rack: r1}\n")
    after = await node.until(lambda scrape: bool(scrape.rows(BASE)), within=5)

    assert after.rows(SPEC) == []
    assert {row["rack"] for row in after.rows(ALIVE)} == {"r1"}
    assert (after.value(GENERATION), after.value(LOADED)) == (2, 1)
    await node.exporter.until_logged("setting changed", PATIENCE)


async def test_the_page_tells_when_the_cards_were_read_also_when_it_is_made_anew(node: Configured) -> None:
    await node.up(*OFF, "--interval", "60", "--config-file", node.configure("units: spec\n"))
    before = read_at((await node.get("/")).text)
    await asyncio.sleep(1.1)  # it tells seconds
    node.configure("units: base\n")
    await node.until(lambda scrape: bool(scrape.rows(BASE)), within=5)
    assert read_at((await node.get("/")).text) == before


def read_at(page: str) -> str:
    match = re.search(r"read at ([^,]+),", page)
    assert match
    return match[1]


async def test_a_wrong_file_changes_nothing_is_said_by_line_and_told_until_it_is_right(node: Configured) -> None:
    await node.up(*OFF, "--config-file", node.configure("units: spec\nexclude: [furiosa_npu_uptime]\n"))

    node.configure("units: metric\n\nexclude: ['(']\nintervall: 3\n")
    wrong = await node.until(lambda scrape: scrape.value(LOADED) == 0)

    await node.exporter.until_logged(REFUSED, PATIENCE, times=3)
    assert len(node.exporter.logged(REFUSED)) == 3
    for part in (":1: units is 'metric'", ":3: exclude[0] is '('", ":4: intervall is '3'"):
        assert len(node.exporter.logged(part)) == 1, part
    assert (wrong.rows(BASE), wrong.rows("furiosa_npu_uptime")) == ([], [])
    assert len(wrong.rows(ALIVE)) == 2
    assert wrong.value(GENERATION) == 1

    # It goes on collecting, and does not say it again.
    node.host.card(Arch.WARBOY, 0).set_temperature(77_000, label="Peak")
    await node.until(lambda scrape: scrape.value(SPEC, device="npu0", label="Peak") == 77_000)
    await asyncio.sleep(1.2)  # longer than between two looks at the file
    assert len(node.exporter.logged(REFUSED)) == 3

    node.configure("units: both\n")
    right = await node.until(lambda scrape: scrape.value(LOADED) == 1)
    assert right.rows(BASE)
    assert right.rows("furiosa_npu_uptime")


@pytest.mark.parametrize("content", ["units: [", "- a list\n", "x" * 1_048_577, "units: \x00\n"])
async def test_what_is_no_configuration_at_all_changes_nothing(node: Configured, content: str) -> None:
    await node.up(*OFF, "--config-file", node.configure("units: spec\n"))
    node.configure(content)
    wrong = await node.until(lambda scrape: scrape.value(LOADED) == 0)
    assert (len(wrong.rows(ALIVE)), wrong.rows(BASE)) == (2, [])
    assert (await node.get("/readyz")).status == 200


async def test_a_file_that_is_removed_and_comes_back_changes_nothing_meanwhile(node: Configured) -> None:
    text = "units: spec\n"
    path = node.configure(text)
    await node.up(*OFF, "--config-file", path)
    (node.home / "exporter.yaml").unlink()
    await node.until(lambda scrape: scrape.value(LOADED) == 0)
    node.configure(text)
    back = await node.until(lambda scrape: scrape.value(LOADED) == 1)
    assert (back.rows(BASE), back.value(GENERATION)) == ([], 1)


async def test_no_scrape_is_ever_without_a_card_while_the_file_changes(node: Configured) -> None:
    forms = ("units: spec\n", "units: metric\n", "units: base\n", "units: [\n", "podLabels: off\nunits: both\n")
    await node.up(*OFF, "--config-file", node.configure(forms[0]))
    ends = time.monotonic() + 6  # the file is looked at every second
    scrapes = changes = 0
    while time.monotonic() < ends:
        if scrapes % 20 == 0:
            node.configure(forms[changes % len(forms)])
            changes += 1
        scrape = await node.scrape()
        assert len(scrape.rows(ALIVE)) == 2
        assert scrape.rows(SPEC) or scrape.rows(BASE)
        scrapes += 1
        await asyncio.sleep(0.02)
    assert (await node.scrape()).value(GENERATION) > 2


async def test_a_setting_that_needs_a_restart_is_said_to_and_stays(node: Configured) -> None:
    await node.up(*OFF, "--config-file", node.configure("maxInFlight: 5\n"))
    node.configure("maxInFlight: 6\n")
    await node.exporter.until_logged("setting changed, needs a restart", 5)
    assert len((await node.scrape()).rows(ALIVE)) == 2


async def test_an_option_stands_before_the_file_also_when_the_file_changes(node: Configured) -> None:
    await node.up(*OFF, "--units", "spec", "--config-file", node.configure("units: base\n"))
    assert (await node.scrape()).rows(BASE) == []
    node.configure("units: base\nstaticLabels: {rack: r1}\n")
    scrape = await node.until(lambda scrape: bool(scrape.rows(ALIVE, rack="r1")))
    assert (len(scrape.rows(SPEC)) > 0, scrape.rows(BASE)) == (True, [])


async def test_a_wrong_file_at_the_start_is_told_and_nothing_is_served(node: Configured) -> None:
    exporter = await node.start("--config-file", node.configure("interval: soon\n"))
    assert await exporter.wait() == 2
    (line,) = exporter.log
    assert line.endswith(
        "exporter.yaml:1: interval is 'soon': expected a number of seconds from 0.1 to 86400, not a string"
    )
