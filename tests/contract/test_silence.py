"""While nothing changes the kubelet is told nothing: every message makes it write its checkpoint."""

import asyncio

import pytest

from npu_core.testing import Simulation, rngd, warboy
from testkit.services.node import OFTEN, RENEGADE, RESOURCE, MakeNode, Node
from testkit.standins.kubelet import NodeView

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _told(view: NodeView) -> tuple[int, ...]:
    """How often the kubelet was told something, and wrote its checkpoint."""
    messages = [view.messages(resource) for resource in (RESOURCE, RENEGADE)]
    registrations = [view.registrations(resource) for resource in (RESOURCE, RENEGADE)]
    return (*messages, *registrations, view.checkpoint_writes)


async def _work(node: Node) -> None:
    """Let every card do what working cards do, and a little worse, for several intervals."""
    simulation = Simulation(node.host)
    for step in range(5):
        simulation.step(1.0)
        for card in node.host.cards:
            card.set_error("device_error", step)
            card.set_temperature(90_000 + step)
        await asyncio.sleep(0.2)


async def test_cards_that_work_and_heat_up_and_count_errors_are_no_news(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), warboy(1), rngd(0))
    await node.up(*OFTEN)
    await node.offers("npu0pe0-1", "npu1pe0-1")
    await node.offers("npu0pe0-7", resource=RENEGADE)
    before = _told(node.kubelet.view())
    assert before == (1, 1, 1, 1, 2)

    await _work(node)

    assert _told(node.kubelet.view()) == before
    # It would have noticed.
    node.host.cards[0].die()
    await node.offers("npu1pe0-1")
