"""What the resources of a node with both families are called: it follows from the families, never from timing."""

from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.testing import rngd, warboy
from npu_device_plugin.events import Event
from npu_device_plugin.settings import MAX_SOCKET_PATH
from testkit.services.configured import ConfiguredNode
from testkit.services.node import OFTEN, RENEGADE, RESOURCE, MakeNode, Node
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

WARBOY = "beta.furiosa.ai/npu-warboy"
"""What Warboy cards are offered as that were plugged into a node of RNGD cards."""


async def _start(node: Node, *options: str) -> None:
    """A plugin that knows what pods hold."""
    await node.start_plugin(*OFTEN, "--pod-resources-socket", str(node.kubelet.pod_resources_socket), *options)


async def _restart(node: Node, *options: str) -> None:
    await node.plugin.stop()
    await node.kubelet.until(lambda view: not any(view.streams(name) for name in view.resources), PATIENCE)
    await _start(node, *options)


async def test_a_family_that_is_slow_at_the_start_has_the_name_it_would_have_otherwise(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), rngd(1))
    slow = node.host.card(Arch.WARBOY, 0)
    slow.hang("soc_rev")
    await node.kubelet.start()
    await node.start_plugin(*OFTEN)

    await node.offers("npu1pe0-7", resource=RENEGADE)
    slow.set_attribute("soc_rev", "B0")

    await node.offers("npu0pe0-1", resource=RESOURCE)
    assert set(node.kubelet.view().resources) == {RESOURCE, RENEGADE}


async def test_a_family_alone_has_the_name_and_keeps_it_when_another_is_plugged_in(make_node: MakeNode) -> None:
    node = await make_node(rngd(1))
    await node.up(*OFTEN)
    await node.offers("npu1pe0-7")

    plugged = node.host.plug(warboy(0))
    await node.offers("npu0pe0-1", resource=WARBOY)

    plugged.disappear()
    await node.kubelet.until(lambda view: view.unhealthy(WARBOY) == {"npu0pe0-1"}, PATIENCE)
    plugged.reappear()
    await node.offers("npu0pe0-1", resource=WARBOY)
    assert node.kubelet.view().healthy(RESOURCE) == {"npu1pe0-7"}
    assert set(node.kubelet.view().resources) == {RESOURCE, WARBOY}


async def test_families_that_the_operator_named_are_served_side_by_side(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), rngd(1))
    names = ConfiguredNode(node)

    await names.up("resourceName: {warboy: example.com/warboy, renegade: example.com/rngd}")

    await node.offers("npu0pe0-1", resource="example.com/warboy")
    await node.offers("npu1pe0-7", resource="example.com/rngd")
    assert set(node.kubelet.view().resources) == {"example.com/warboy", "example.com/rngd"}


@pytest.mark.parametrize("too_long", ["resource", "socket"])
async def test_a_second_family_whose_names_are_too_long_is_told_once_and_the_first_is_served(
    make_node: MakeNode, too_long: str
) -> None:
    node = await make_node(warboy(0))
    room = MAX_SOCKET_PATH - len(f"{node.plugin_dir}/")
    name = f"a.ai/{'n' * 63}" if too_long == "resource" else RESOURCE
    socket_name = "s" * (room if too_long == "socket" else 1)
    await node.up(*OFTEN, "--resource-name", name, "--socket-name", socket_name)
    await node.offers("npu0pe0-1", resource=name)

    node.host.plug(rngd(1))
    await node.plugin.until_logged(Event.SECOND_FAMILY_REFUSED, PATIENCE)
    node.host.card(Arch.WARBOY, 0).die()
    await node.kubelet.until(lambda view: view.unhealthy(name) == {"npu0pe0-1"}, PATIENCE)

    assert set(node.kubelet.view().resources) == {name}
    assert len(node.plugin.logged(Event.SECOND_FAMILY_REFUSED)) == 1


async def test_a_family_keeps_the_plain_name_under_which_it_is_held(
    make_node: MakeNode, pod_resources_dir: Path
) -> None:
    """Ids that both families can have do not tell which of them had the name; the answers that the kubelet keeps do."""
    node = await make_node(rngd(0), pod_resources_dir=pod_resources_dir)
    every = [f"npu0pe{core}" for core in range(8)]
    await node.kubelet.start()
    await _start(node, "--default-pe", "Single")
    await node.offers(*every)
    await node.kubelet.run_pod("holder", {RESOURCE: 2})
    node.host.plug(warboy(0))
    await node.kubelet.until(lambda view: WARBOY in view.resources, PATIENCE)

    await _restart(node, "--default-pe", "Single")

    await node.offers(*every)
    await node.offers("npu0pe0", "npu0pe1", resource=WARBOY)
    given = await node.kubelet.run_pod("other", {RESOURCE: 6})
    assert all(each.host_path.startswith("/dev/rngd/") for each in given.devices)


async def test_what_a_lost_card_gave_out_under_the_plain_name_is_not_given_out_when_it_is_back(
    make_node: MakeNode, pod_resources_dir: Path
) -> None:
    node = await make_node(warboy(0), rngd(0), pod_resources_dir=pod_resources_dir)
    await node.kubelet.start()
    await _start(node)
    await node.offers("npu0pe0-1")
    await node.kubelet.run_pod("holder", {RESOURCE: 1})
    await node.plugin.stop()
    node.host.card(Arch.WARBOY, 0).disappear()
    await _start(node)
    await node.plugin.until_logged(Event.KUBELET_LISTENS, PATIENCE)

    node.host.card(Arch.WARBOY, 0).reappear()

    view = await node.kubelet.until(lambda view: view.streams(WARBOY) == 1 and bool(node.listed(WARBOY)), PATIENCE)
    assert not view.healthy(WARBOY)


async def test_names_are_given_when_it_can_be_told_what_is_held(make_node: MakeNode, pod_resources_dir: Path) -> None:
    node = await make_node(rngd(0), pod_resources_dir=pod_resources_dir)
    await node.kubelet.start()
    await _start(node)
    await node.offers("npu0pe0-7")
    await node.kubelet.run_pod("holder", {RESOURCE: 1})
    node.host.plug(warboy(0))
    await node.kubelet.until(lambda view: WARBOY in view.resources, PATIENCE)
    await node.plugin.stop()
    await node.kubelet.stop()
    checkpoint = node.kubelet.checkpoint_path
    text = checkpoint.read_text()
    checkpoint.write_text("torn")

    await _start(node)
    await node.plugin.until_logged(Event.WAITING_FOR_CHECKPOINT, PATIENCE)
    checkpoint.write_text(text)
    await node.kubelet.start()

    await node.offers("npu0pe0-1", resource=WARBOY)
    await node.offers("npu0pe0-7")
