"""The labels of the real discovery, as every generation of nfd-worker reads them, and how they follow the cards."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import rngd, warboy
from testkit.services.discovery import FOLLOWED, PREFIX, LabelledNode
from testkit.standins.nfd import RULES, Worker
from testkit.waiting import PATIENCE

TEN = {
    "beta.furiosa.ai/npu.count": "2",
    "beta.furiosa.ai/npu.product": "warboyB0",
    "beta.furiosa.ai/npu.family": "warboy",
    "beta.furiosa.ai/machine.vendor": "Dell-Inc",
    "beta.furiosa.ai/machine.name": "PowerEdge-R750",
    "beta.furiosa.ai/driver.version": "1.9.2",
    "beta.furiosa.ai/driver.version.major": "1",
    "beta.furiosa.ai/driver.version.minor": "9",
    "beta.furiosa.ai/driver.version.patch": "2",
    "beta.furiosa.ai/driver.reference": "3def9c2",
}
MACHINE = {"npu.count": "0", "machine.vendor": "Dell-Inc", "machine.name": "PowerEdge-R750"}
NAMESPACE = PREFIX.rstrip("/")


@pytest_asyncio.fixture
async def node() -> AsyncIterator[LabelledNode]:
    """A machine with two Warboy cards; the discovery does not run yet."""
    async with LabelledNode(warboy(0), warboy(1)) as node:
        yield node


@pytest.mark.parametrize("version", RULES)
async def test_every_nfd_reads_exactly_the_specifications_labels(node: LabelledNode, version: str) -> None:
    await node.up()
    reading = Worker(node.features_d, version, extra_label_ns={NAMESPACE}).discover()
    assert reading.labels == TEN
    assert reading.log == ()


@pytest.mark.parametrize("version", [version for version in RULES if version != "v0.11"])
async def test_every_nfd_that_knows_expiry_reads_exactly_the_labels_from_a_file_that_expires(
    node: LabelledNode, version: str
) -> None:
    await node.up("--expiry", "240", "--nfd-version", "v0.14")
    reading = Worker(node.features_d, version).discover()
    assert reading.labels == TEN
    assert reading.log == ()
    assert node.file.read_text().startswith("# +expiry-time=")


async def test_extra_labels_come_only_where_they_are_asked_for(node: LabelledNode) -> None:
    await node.up("--extra-labels", "firmware, product-count,pe-count")
    labels = node.labels()
    assert {key for key in labels if PREFIX + key not in TEN} == {
        "firmware.reference",
        "firmware.version",
        "firmware.version.major",
        "firmware.version.minor",
        "firmware.version.patch",
        "npu.pe.count",
        "npu.warboyB0.count",
    }
    assert (labels["npu.pe.count"], labels["npu.warboyB0.count"]) == ("4", "2")


async def test_cards_of_two_kinds_are_joined_or_left_out() -> None:
    async with LabelledNode(warboy(0), rngd(0)) as node:
        await node.up()
        assert (node.labels()["npu.count"], node.labels()["npu.family"]) == ("2", "renegade_warboy")
        await node.start("--mixed", "omit", "--output-file", str(node.features_d / "other"))
        await node.discovery.until_logged("published", PATIENCE)
        assert "npu.family" not in (node.features_d / "other").read_text()


async def test_a_card_that_comes_and_one_that_goes_are_followed_at_once(node: LabelledNode) -> None:
    await node.up()
    third = node.host.plug(warboy(2))
    await node.until_labelled(FOLLOWED, npu_count="3")
    third.disappear()
    await node.until_labelled(FOLLOWED, npu_count="2")
    assert node.labels() == {key.removeprefix(PREFIX): value for key, value in TEN.items()}


async def test_a_card_that_dies_still_counts(node: LabelledNode) -> None:
    await node.up("--interval", "0.2")
    before = node.written()
    node.host.card(Arch.WARBOY, 0).die()
    await asyncio.sleep(1.0)
    assert node.labels()["npu.count"] == "2"
    assert node.written() == before


async def test_a_driver_that_is_loaded_late_is_followed() -> None:
    async with LabelledNode() as node:
        assert not (node.home / "host/sys/class/npu_mgmt").exists()
        await node.start()
        await node.until_labelled(npu_count="0")
        assert node.labels() == MACHINE
        node.host.plug(warboy(0))
        await node.until_labelled(FOLLOWED, npu_count="1", npu_product="warboyB0", driver_version="1.9.2")


async def test_no_card_is_told_only_when_a_second_look_agrees(node: LabelledNode) -> None:
    await node.up()
    for card in node.host.cards:
        card.disappear()
    await node.discovery.until_logged("no NPU found", PATIENCE)
    await node.until_labelled(npu_count="0")
    assert node.labels() == MACHINE
    await node.discovery.until_logged("published", PATIENCE, times=2)


async def test_a_driver_that_is_loaded_anew_within_the_second_look_costs_no_label(node: LabelledNode) -> None:
    await node.up()
    before = node.written()
    for card in node.host.cards:
        card.disappear()
    await asyncio.sleep(1.2)
    for card in node.host.cards:
        card.reappear()
    await asyncio.sleep(2.5)
    assert node.written() == before
    assert not node.discovery.logged("no NPU found")


async def test_labels_outlive_the_process_and_are_no_news_to_the_next_one(node: LabelledNode) -> None:
    await node.up()
    before = node.written()
    await node.discovery.stop()
    assert node.written() == before
    await node.start()
    await node.discovery.until_logged("already published", PATIENCE)
    assert node.written() == before


async def test_while_nothing_changes_nothing_is_written_and_nothing_is_said(node: LabelledNode) -> None:
    await node.up("--interval", "0.1")
    before, told = node.written(), len(node.discovery.log)
    await asyncio.sleep(1.0)
    assert node.written() == before
    assert node.discovery.log[told:] == []
    # It would have noticed.
    node.host.plug(warboy(2))
    await node.until_labelled(npu_count="3")


async def test_a_file_that_somebody_removed_or_changed_is_put_right(node: LabelledNode) -> None:
    await node.up("--interval", "0.1")
    good = node.file.read_bytes()
    node.file.unlink()
    await node.until_labelled(npu_count="2")
    node.file.chmod(0o600)
    await node.until(lambda: node.mode() == 0o644)
    node.file.write_bytes(good + b"beta.furiosa.ai/npu.count=9\n")
    await node.until_labelled(npu_count="2")
    assert node.file.read_bytes() == good


async def test_sighup_makes_it_look_now(node: LabelledNode) -> None:
    await node.up("--interval", "infinite")
    node.host.set_machine("Supermicro", "SYS-421GE")
    node.file.unlink()
    node.discovery.hang_up()
    await node.until_labelled(FOLLOWED, machine_vendor="Supermicro", machine_name="SYS-421GE")


async def test_a_host_that_cannot_be_listed_leaves_the_last_good_labels(node: LabelledNode) -> None:
    await node.up()
    classes = node.home / "host/sys/class/npu_mgmt"
    aside = classes.rename(classes.with_name("aside"))
    classes.write_text("no directory\n")  # to a reader, an error of another kind than one that is not there
    before = node.labels()
    (node.home / "host/dev").rename(node.home / "host/devices")
    await node.discovery.until_logged("cannot look at the host", PATIENCE)
    await asyncio.sleep(3.0)
    assert node.labels() == before
    classes.unlink()
    aside.rename(classes)
    (node.home / "host/devices").rename(node.home / "host/dev")
    await node.discovery.until_logged("can look at the host again", PATIENCE)
    assert len(node.discovery.logged("cannot look at the host")) == 1
    assert node.labels() == before
