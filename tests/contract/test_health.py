"""What becomes of cards that die, hang, vanish and come back, while pods come and go."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import FakeCard, warboy
from testkit.services.node import OFTEN, RESOURCE, MakeNode, Node
from testkit.standins.kubelet import EventKind, UnexpectedAdmissionError
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

RARELY = ("--interval", "60")
"""Options of a plugin that will not enumerate again in a test: what it notices it noticed by its pulse."""
UNITS = ("npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mended() -> AsyncIterator[Node]:
    """A machine with two cards of two units, whose cards every test leaves as it found them."""
    async with Node(warboy(0), warboy(1)) as node:
        yield await node.up(*OFTEN, "--default-pe", "Single")


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


async def test_when_all_cards_and_their_driver_vanish_the_list_is_not_emptied(node: Node) -> None:
    for card in node.host.cards:
        card.disappear()
    shutil.rmtree(Path(node.host.sysfs, "class", "npu_mgmt"))
    await _loses(node, *UNITS)
    view = node.kubelet.view()
    assert (view.capacity(RESOURCE), view.allocatable(RESOURCE)) == (4, 0)
    for card in node.host.cards:
        card.reappear()
    await node.offers(*UNITS)
    assert all(len(event.devices) == 4 for event in node.kubelet.events_of(EventKind.LIST_MESSAGE))


async def test_cards_that_hang_from_the_start_do_not_keep_the_others_from_being_offered(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), warboy(1), warboy(2))
    _card(node, 0).hang("alive")
    _card(node, 1).hang("device_uuid")
    await node.kubelet.start()
    await node.start_plugin(*RARELY)
    await node.offers("npu2pe0-1")
    assert "npu0pe0-1" in node.kubelet.view().unhealthy(RESOURCE)
