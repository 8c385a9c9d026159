"""Containers and the plugin itself start again; units stay what they are and whose they are."""

import pytest

from npu_core.testing import rngd, warboy
from npu_device_plugin.events import Event
from testkit.services.direct import calls_to
from testkit.services.node import RESOURCE, MakeNode
from testkit.standins.kubelet import EventKind
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

SINGLE = ("--default-pe", "Single")


async def test_a_container_that_restarts_gets_the_same_again_without_the_plugin_being_asked(
    make_node: MakeNode,
) -> None:
    node = await make_node(rngd(0))
    await node.up(*SINGLE)
    first = await node.kubelet.run_pod("pod", {RESOURCE: 2})

    again = await node.kubelet.restart_container("pod")

    assert again.main == first.main
    assert len(node.kubelet.events_of(EventKind.ALLOCATE)) == 1
    assert node.kubelet.view().pod("pod").starts == 2
    # What the kubelet replays is what the plugin would say today.
    async with calls_to(node.socket) as calls:
        [answer] = await calls.allocate(first.device_ids)
    assert dict(answer.envs) == first.env


async def test_after_its_restart_pods_keep_their_units_and_new_pods_get_others(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), warboy(1))
    await node.up(*SINGLE)
    units = node.listed()
    first = await node.kubelet.run_pod("first", {RESOURCE: 3})
    await node.plugin.stop()
    await node.kubelet.until(lambda view: view.allocatable(RESOURCE) == 0, PATIENCE)

    await node.start_plugin(*SINGLE)
    await node.offers(*(unit.id for unit in units))

    assert node.listed() == units
    second = await node.kubelet.run_pod("second", {RESOURCE: 1})
    assert {*first.device_ids, *second.device_ids} == {unit.id for unit in units}
    assert (await node.kubelet.restart_container("first")).main == first.main
    assert node.kubelet.view().held(RESOURCE) == {unit.id for unit in units}


async def test_a_second_instance_waits_and_leaves_the_first_alone_when_it_goes(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), warboy(1))
    await node.up()
    first = node.plugin
    second = await node.start_plugin()
    await second.until_logged("another instance serves", PATIENCE)
    assert node.kubelet.view().registrations(RESOURCE) == 1

    assert await second.stop() == 0

    await node.offers("npu0pe0-1", "npu1pe0-1")
    assert first.running
    assert node.kubelet.view().registrations(RESOURCE) == 1
    assert (await node.kubelet.run_pod("pod", {RESOURCE: 2})).env["NPU_DEVNAME"] == "npu0pe0-1,npu1pe0-1"


async def test_a_second_instance_takes_over_when_the_first_goes(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), warboy(1))
    await node.up()
    first = node.plugin
    second = await node.start_plugin()
    await second.until_logged("another instance serves", PATIENCE)

    assert await first.stop() == 0

    await second.until_logged(Event.KUBELET_LISTENS, PATIENCE)
    await node.offers("npu0pe0-1", "npu1pe0-1")
