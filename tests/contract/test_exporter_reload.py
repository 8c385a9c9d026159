"""The configuration file while the exporter runs: a right one is in force at once, a wrong one costs nothing."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import warboy
from npu_metrics_exporter.events import Event
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
    read = read_at((await node.get("/")).text)
    after = await node.until(lambda scrape: bool(scrape.rows(BASE)))
    # The exporter did not read the cards again: the page has the same time of reading.
    assert read_at((await node.get("/")).text) == read

    assert after.rows(SPEC) == []
    assert {row["rack"] for row in after.rows(ALIVE)} == {"r1"}
    assert (after.value(GENERATION), after.value(LOADED)) == (2, 1)
    await node.exporter.until_logged("setting changed", PATIENCE)


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

    # It goes on collecting, and does not say it again when it is told to look.
    node.host.card(Arch.WARBOY, 0).set_temperature(77_000, label="Peak")
    node.exporter.hang_up()
    await node.exporter.until_logged(Event.LOOKING_AGAIN, PATIENCE)
    await node.until(lambda scrape: scrape.value(SPEC, device="npu0", label="Peak") == 77_000)
    assert len(node.exporter.logged(REFUSED)) == 3

    node.configure("units: both\n")
    right = await node.until(lambda scrape: scrape.value(LOADED) == 1)
    assert right.rows(BASE)
    assert right.rows("furiosa_npu_uptime")


@pytest.mark.parametrize("content", ["units: [", "x" * 1_048_577])
async def test_what_is_no_configuration_at_all_changes_nothing(node: Configured, content: str) -> None:
    await node.up(*OFF, "--config-file", node.configure("units: spec\n"))
    node.configure(content)
    wrong = await node.until(lambda scrape: scrape.value(LOADED) == 0)
    assert (len(wrong.rows(ALIVE)), wrong.rows(BASE)) == (2, [])
    assert (await node.get("/readyz")).status == 200


async def test_a_wrong_file_at_the_start_is_told_and_nothing_is_served(node: Configured) -> None:
    exporter = await node.start("--config-file", node.configure("interval: soon\n"))
    assert await exporter.wait() == 2
    (line,) = exporter.log
    assert "exporter.yaml:1: interval is 'soon'" in line
