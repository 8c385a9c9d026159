"""Cards that come back under another number, come twice, or are still being made: what is offered of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import CardPlan, second_entry, warboy
from npu_device_plugin.events import Event
from testkit.services.configured import ConfiguredNode
from testkit.services.node import RESOURCE, MakeNode
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

Machine = Callable[..., Awaitable[ConfiguredNode]]
GENEROUS = 60.0
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


async def test_a_disabled_card_that_comes_back_under_another_number_stays_disabled(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up("disabledDevices: [{devName: npu0}]")
    await there.node.offers("npu1pe0-1")
    there.node.host.renumber(there.node.host.card(Arch.WARBOY, 0), 2)
    await there.node.plugin.until_logged(Event.ANOTHER_NUMBER, PATIENCE)
    # A later change is seen, so what was found before it has been decided on.
    there.node.host.card(Arch.WARBOY, 1).die()
    await there.node.offers()
    assert _healthy_ever(there) == {"npu1pe0-1"}


async def test_a_held_card_that_comes_back_under_another_number_is_given_to_nobody_else(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})

    there.node.host.renumber(there.node.host.card(Arch.WARBOY, 0), 2)
    view = await there.node.kubelet.until(lambda view: "npu2pe0-1" in view.unhealthy(RESOURCE), GENEROUS)
    assert view.unhealthy(RESOURCE) == {"npu0pe0-1", "npu2pe0-1"}
    assert "npu2pe0-1" not in _healthy_ever(there)
    there.node.kubelet.delete_pod("pod")
    await there.node.offers("npu1pe0-1", "npu2pe0-1", within=GENEROUS)


# -- two entries of one card ------------------------------------------------------------------------------------------


async def test_a_second_entry_of_a_card_is_never_offered_beside_it(machine: Machine) -> None:
    card = warboy(0)
    there = await machine(card, second_entry(card, 1))
    await there.up()
    await there.node.offers("npu0pe0-1")
    there.node.host.card(Arch.WARBOY, 0).die()
    await there.node.offers()
    assert _healthy_ever(there) == {"npu0pe0-1"}


async def test_a_virtual_function_is_offered_only_where_its_card_is_not(machine: Machine) -> None:
    card = warboy(0)
    there = await machine(card, warboy(1, physical_function=card.pci))
    await there.up()
    await there.node.offers("npu0pe0-1")
    assert _healthy_ever(there) == {"npu0pe0-1"}
    there.configure("disabledDevices: [{devName: npu0}]")
    await there.node.offers("npu1pe0-1")


async def test_a_virtual_function_is_not_offered_while_its_disabled_card_is_held(machine: Machine) -> None:
    card = warboy(0)
    there = await machine(card, warboy(1, physical_function=card.pci))
    await there.up()
    await there.node.offers("npu0pe0-1")
    await there.node.kubelet.run_pod("holder", {RESOURCE: 1})
    there.configure("disabledDevices: [{devName: npu0}]")
    await there.node.offers()
    assert _healthy_ever(there) == {"npu0pe0-1"}
    there.node.kubelet.delete_pod("holder")
    await there.node.offers("npu1pe0-1", within=GENEROUS)


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
        await there.node.kubelet.until(lambda view: "npu1pe0-1" in view.unhealthy(RESOURCE), GENEROUS)
        there.node.host.card(Arch.WARBOY, 1).revive()
        await there.node.kubelet.until(lambda view: "npu1pe0-1" in view.healthy(RESOURCE), GENEROUS)
        if left:
            assert "npu0pe0-1" not in _healthy_ever(there)
    await there.node.offers("npu0pe0-1", "npu1pe0-1", within=GENEROUS)
    admitted = await there.node.kubelet.run_pod("pod", {RESOURCE: 2})
    assert {node.host_path for node in admitted.devices} >= CHANNELS


async def test_a_driver_that_is_loaded_anew_gives_no_half_card(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.up()
    await there.node.offers("npu0pe0-1")
    card = there.node.host.card(Arch.WARBOY, 0)
    card.set_attribute("version", "1.10.0, 1234567")
    for suffix in ("ch0", "ch1", "ch2", "ch3"):
        card.remove_file(suffix)
    await there.node.offers()
    card.restore_file("ch0")
    await there.node.plugin.until_logged(Event.FILES_AWAITED, GENEROUS)
    assert there.node.kubelet.view().unhealthy(RESOURCE) == {"npu0pe0-1"}
    for suffix in ("ch1", "ch2", "ch3"):
        card.restore_file(suffix)
    await there.node.offers("npu0pe0-1", within=GENEROUS)
    admitted = await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    assert {node.host_path for node in admitted.devices} >= CHANNELS
