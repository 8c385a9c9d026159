"""What becomes of cards that die, hang, vanish and come back, while pods come and go."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import FakeCard, rngd, warboy
from npu_device_plugin.events import Event
from testkit.services.node import DEATH_KNOWN, OFTEN, RENEGADE, RESOURCE, SOON, MakeNode, Node
from testkit.standins.kubelet import EventKind, UnexpectedAdmissionError
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

RARELY = ("--interval", "60")
"""Options of a plugin that will not enumerate again in a test: what it notices it noticed by its pulse."""
SEVERAL_LOOKS = 0.35
"""Seconds in which a plugin that enumerates often does so three times."""
UNITS = ("npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mended() -> AsyncIterator[Node]:
    """A machine with two cards of two units, whose cards every test leaves as it found them."""
    async with Node(warboy(0), warboy(1)) as node:
        yield await node.up(*OFTEN, "--default-pe", "Single")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pulsing() -> AsyncIterator[Node]:
    """A machine whose plugin will not enumerate again. Each test has cards of its own, and leaves them in ruins."""
    async with Node(*(warboy(index) for index in range(3)), rngd(0)) as node:
        await node.up(*RARELY, "--default-pe", "Single")
        await node.offers(*UNITS, "npu2pe0", "npu2pe1")
        await node.kubelet.until(lambda view: view.allocatable(RENEGADE) == 8, PATIENCE)
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def node(mended: Node) -> AsyncIterator[Node]:
    """That machine, found well and left well."""
    await mended.offers(*UNITS)
    yield mended
    await mended.offers(*UNITS)


def _card(node: Node, index: int) -> FakeCard:
    return node.host.card(Arch.WARBOY, index)


async def _loses(node: Node, *ids: str, resource: str = RESOURCE) -> None:
    """Wait until exactly these units are listed as unhealthy."""
    await node.kubelet.until(lambda view: view.unhealthy(resource) == set(ids), PATIENCE)


async def test_the_death_of_a_card_is_known_in_a_second_and_a_half_for_every_unit_of_it(pulsing: Node) -> None:
    died = time.monotonic()
    _card(pulsing, 0).die()
    pulsing.host.card(Arch.RENEGADE, 0).die()

    assert await pulsing.delay(EventKind.LIST_MESSAGE, died) < DEATH_KNOWN
    assert await pulsing.delay(EventKind.LIST_MESSAGE, died, RENEGADE) < DEATH_KNOWN
    view = pulsing.kubelet.view()
    assert view.unhealthy(RESOURCE) == {"npu0pe0", "npu0pe1"}
    assert (view.capacity(RESOURCE), view.allocatable(RESOURCE)) == (6, 4)
    assert (view.capacity(RENEGADE), view.allocatable(RENEGADE)) == (8, 0)


async def test_a_card_that_hangs_does_not_delay_the_others(pulsing: Node) -> None:
    before = pulsing.kubelet.view().unhealthy(RESOURCE)
    hung = time.monotonic()
    _card(pulsing, 1).hang("alive")
    _card(pulsing, 2).die()

    assert await pulsing.delay(EventKind.LIST_MESSAGE, hung) < SOON
    # Nobody knows whether the hung card is dead, so it keeps what was last known of it.
    assert pulsing.kubelet.view().unhealthy(RESOURCE) == before | {"npu2pe0", "npu2pe1"}


async def test_a_dead_card_is_given_to_no_pod_and_to_the_next_one_once_it_is_revived(node: Node) -> None:
    _card(node, 1).die()
    await _loses(node, "npu1pe0", "npu1pe1")
    with pytest.raises(UnexpectedAdmissionError, match=r"Requested: 4, Available: 2"):
        await node.kubelet.run_pod("refused", {RESOURCE: 4})

    _card(node, 1).revive()
    await node.offers(*UNITS)

    admitted = await node.kubelet.run_pod("revived", {RESOURCE: 4})
    assert set(admitted.device_ids) == set(UNITS)
    node.kubelet.delete_pod("revived")


async def test_a_card_that_is_lost_stays_listed_as_unhealthy_and_comes_back(node: Node) -> None:
    _card(node, 0).disappear()
    await _loses(node, "npu0pe0", "npu0pe1")

    await asyncio.sleep(SEVERAL_LOOKS)

    assert [device.id for device in node.listed()] == list(UNITS)
    assert node.kubelet.view().unhealthy(RESOURCE) == set(UNITS[:2])
    _card(node, 0).reappear()


async def test_a_unit_whose_device_file_is_gone_is_unhealthy_until_it_is_back(node: Node) -> None:
    _card(node, 0).remove_file("pe1")
    await node.kubelet.until(lambda view: "npu0pe1" in view.unhealthy(RESOURCE), PATIENCE)

    _card(node, 0).restore_file("pe1")
    await node.offers(*UNITS)


async def test_when_all_cards_and_their_driver_vanish_the_list_is_not_emptied(node: Node) -> None:
    for card in node.host.cards:
        card.disappear()
    shutil.rmtree(_class_directory(node))
    await _loses(node, *UNITS)

    await asyncio.sleep(SEVERAL_LOOKS)

    view = node.kubelet.view()
    assert (view.capacity(RESOURCE), view.allocatable(RESOURCE)) == (4, 0)
    assert all(len(event.devices) == 4 for event in node.kubelet.events_of(EventKind.LIST_MESSAGE))
    assert node.plugin.running
    for card in node.host.cards:
        card.reappear()


def _class_directory(node: Node) -> Path:
    return Path(node.host.sysfs, "class", "npu_mgmt")


@contextmanager
def _out_of_the_way(path: Path) -> Iterator[None]:
    """A directory is away for as long as the block runs."""
    aside = path.with_name("aside")
    path.rename(aside)
    try:
        yield
    finally:
        path.unlink()
        aside.rename(path)


async def test_a_class_directory_that_cannot_be_listed_changes_nothing(node: Node) -> None:
    directory = _class_directory(node)
    messages = node.kubelet.view().messages(RESOURCE)
    with _out_of_the_way(directory):
        # A loop of links is an error for root, too.
        directory.symlink_to(directory)
        await node.plugin.until_logged(Event.CANNOT_LIST_CARDS, PATIENCE)
        await asyncio.sleep(SEVERAL_LOOKS)
        assert node.kubelet.view().healthy(RESOURCE) == set(UNITS)
    await node.plugin.until_logged(Event.CARDS_LISTED_AGAIN, PATIENCE)

    await asyncio.sleep(SEVERAL_LOOKS)
    assert node.kubelet.view().messages(RESOURCE) == messages
    assert len(node.plugin.logged(Event.CANNOT_LIST_CARDS)) == 1


async def test_a_file_in_the_place_of_the_class_directory_does_not_empty_the_list(node: Node) -> None:
    directory = _class_directory(node)
    with _out_of_the_way(directory):
        directory.write_text("not a directory\n")
        await asyncio.sleep(SEVERAL_LOOKS)
        assert [device.id for device in node.listed()] == list(UNITS)


async def test_cards_that_hang_from_the_start_do_not_keep_the_others_from_being_offered(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), warboy(1), warboy(2))
    _card(node, 0).hang("alive")
    _card(node, 1).hang("device_uuid")
    await node.kubelet.start()
    await node.start_plugin(*RARELY)
    await node.plugin.until_logged(Event.STARTING, PATIENCE)
    started = time.monotonic()

    assert await node.delay(EventKind.REGISTERED, started) < SOON
    await node.offers("npu2pe0-1")
    assert "npu0pe0-1" in node.kubelet.view().unhealthy(RESOURCE)
