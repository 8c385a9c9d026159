"""Cards that come back under another number, come twice, or are still being made: what is offered of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import CardPlan, second_entry, warboy
from testkit.services.configured import ConfiguredNode
from testkit.services.node import RESOURCE, MakeNode
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

Machine = Callable[..., Awaitable[ConfiguredNode]]
CHANNELS = {f"/dev/npu0ch{number}" for number in range(4)}


@pytest_asyncio.fixture(loop_scope="module")
async def machine(make_node: MakeNode, pod_resources_dir: Path) -> AsyncIterator[Machine]:
    """Makes a machine with these cards, whose plugin enumerates often."""

    async def make(*cards: CardPlan) -> ConfiguredNode:
        return ConfiguredNode(await make_node(*cards, pod_resources_dir=pod_resources_dir), interval=0.3)

    yield make


def _healthy_ever(there: ConfiguredNode) -> set[str]:
    """Every unit that any list offered."""
    return {device.id for event in there.lists() for device in event.devices if device.health == "Healthy"}


# -- another number ---------------------------------------------------------------------------------------------------


async def test_a_held_card_that_comes_back_under_another_number_is_given_to_nobody_else(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})

    there.node.host.renumber(there.node.host.card(Arch.WARBOY, 0), 2)
    view = await there.node.kubelet.until(lambda view: "npu2pe0-1" in view.unhealthy(RESOURCE), PATIENCE)
    assert view.unhealthy(RESOURCE) == {"npu0pe0-1", "npu2pe0-1"}
    assert "npu2pe0-1" not in _healthy_ever(there)
    there.node.kubelet.delete_pod("pod")
    await there.node.offers("npu1pe0-1", "npu2pe0-1")


# -- two entries of one card ------------------------------------------------------------------------------------------


async def test_a_second_entry_of_a_card_is_never_offered_beside_it(machine: Machine) -> None:
    card = warboy(0)
    there = await machine(card, second_entry(card, 1))
    await there.up()
    await there.node.offers("npu0pe0-1")
    there.node.host.card(Arch.WARBOY, 0).die()
    await there.node.offers()
    assert _healthy_ever(there) == {"npu0pe0-1"}


# -- device files that are still being made ---------------------------------------------------------------------------


async def test_a_card_is_offered_only_with_the_last_of_its_device_files(machine: Machine) -> None:
    there = await machine(warboy(1))
    await there.up()
    await there.node.offers("npu1pe0-1")
    card = there.node.host.plug(warboy(0), with_files=False)
    made = card.make_files()
    left = len(card.plan.file_names)
    for _ in made:
        left -= 1
        # The plugin has looked at this moment's files: the other card's change came after them.
        there.node.host.card(Arch.WARBOY, 1).die()
        await there.node.kubelet.until(lambda view: "npu1pe0-1" in view.unhealthy(RESOURCE), PATIENCE)
        there.node.host.card(Arch.WARBOY, 1).revive()
        await there.node.kubelet.until(lambda view: "npu1pe0-1" in view.healthy(RESOURCE), PATIENCE)
        if left:
            assert "npu0pe0-1" not in _healthy_ever(there)
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    admitted = await there.node.kubelet.run_pod("pod", {RESOURCE: 2})
    assert {node.host_path for node in admitted.devices} >= CHANNELS
