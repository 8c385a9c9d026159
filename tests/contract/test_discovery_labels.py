"""The labels of the real discovery, as every generation of nfd-worker reads them, and how they follow the cards."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from npu_core.testing import rngd, warboy
from npu_feature_discovery.events import Event
from testkit.services.discovery import PREFIX, LabelledNode
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


@pytest.mark.parametrize("options", [(), ("--expiry", "240", "--nfd-version", "v0.14")], ids=["plain", "expiring"])
async def test_every_nfd_reads_exactly_the_specifications_labels(node: LabelledNode, options: tuple[str, ...]) -> None:
    await node.up(*options)
    assert node.file.read_text().startswith("# +expiry-time=") is bool(options)
    for version in RULES:
        reading = Worker(node.features_d, version, extra_label_ns={NAMESPACE}).discover()
        assert reading.labels == TEN
        assert reading.log == () or (options and version == "v0.11")


async def test_cards_of_two_kinds_are_joined_or_left_out() -> None:
    async with LabelledNode(warboy(0), rngd(0)) as node:
        await node.up()
        assert (node.labels()["npu.count"], node.labels()["npu.family"]) == ("2", "renegade_warboy")
        await node.start("--mixed", "omit", "--extra-labels", "pe-count", "--output-file", f"{node.features_d}/other")
        await node.discovery.until_logged(Event.PUBLISHED, PATIENCE)
        assert "npu.family" not in (node.features_d / "other").read_text()
        assert "npu.pe.count=10\n" in (node.features_d / "other").read_text()


async def test_a_card_that_comes_and_one_that_goes_are_followed_at_once(node: LabelledNode) -> None:
    await node.up()
    third = node.host.plug(warboy(2))
    await node.until_labelled(npu_count="3")
    third.disappear()
    await node.until_labelled(npu_count="2")
    assert node.labels() == {key.removeprefix(PREFIX): value for key, value in TEN.items()}


async def test_a_driver_that_is_loaded_late_is_followed() -> None:
    async with LabelledNode() as node:
        assert not (node.home / "host/sys/class/npu_mgmt").exists()
        await node.start()
        await node.until_labelled(npu_count="0")
        assert node.labels() == MACHINE
        node.host.plug(warboy(0))
        await node.until_labelled(npu_count="1", npu_product="warboyB0", driver_version="1.9.2")


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
    await node.until_labelled(machine_vendor="Supermicro", machine_name="SYS-421GE")
