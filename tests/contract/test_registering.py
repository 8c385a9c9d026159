"""The plugin finds its kubelet, whenever that comes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from npu_core.testing import warboy
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet.supervisor import Loss
from testkit.services.direct import Listener, calls_to, listening
from testkit.services.node import OFTEN, RESOURCE, Node, in_every_generation, side_by_side
from testkit.standins.kubelet import EventKind, Generation
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Unheard:
    """A plugin that is registered with a kubelet that never listens.

    Attributes:
        node: the machine.
        listener: the kubelet.
        request: what it was told first.
    """

    def __init__(self, node: Node, listener: Listener, request: api.RegisterRequest) -> None:
        self.node = node
        self.listener = listener
        self.request = request


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unheard() -> AsyncIterator[Unheard]:
    """The first test of the module uses it and the last ones: what it does by itself takes five seconds."""
    async with Node(warboy(0)) as node, listening(node.plugin_dir) as listener:
        await node.start_plugin()
        yield Unheard(node, listener, await asyncio.wait_for(listener.requests.get(), PATIENCE))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def machines() -> AsyncIterator[dict[str, Node]]:
    """One for each thing that is not there when the plugin starts, and one on which everything is."""
    nodes = {f"socket {generation}": Node(warboy(0), generation=generation) for generation in Generation}
    nodes |= {"directory": Node(warboy(0)), "card": Node(), "nothing": Node(warboy(0))}

    async def start(absent: str, node: Node) -> None:
        if absent.startswith("socket"):
            node.plugin_dir.mkdir()
        elif absent != "directory":
            await node.kubelet.start()
        await node.start_plugin(*OFTEN)

    async with side_by_side(nodes, start) as machines:
        yield machines


async def test_the_kubelet_is_told_the_same_options_whichever_way_it_asks(unheard: Unheard) -> None:
    request = unheard.request
    async with calls_to(unheard.node.socket) as calls:
        options = await calls.options()

    assert (request.version, request.endpoint, request.resource_name) == ("v1beta1", "furiosa-npu", RESOURCE)
    assert request.HasField("options")
    assert request.options == options
    assert options.get_preferred_allocation_available
    assert not options.pre_start_required


async def test_it_waits_for_a_plugin_directory_that_is_not_there_yet_and_says_so_once(
    machines: dict[str, Node],
) -> None:
    node = machines["directory"]
    await node.plugin.until_logged(Event.CANNOT_REGISTER, PATIENCE)

    assert not node.plugin_dir.exists()
    await node.kubelet.start()
    await node.offers("npu0pe0-1")
    assert len(node.plugin.logged("--plugin-dir): ENOENT")) <= 2


async def test_without_a_card_it_waits_and_registers_when_the_driver_is_loaded(machines: dict[str, Node]) -> None:
    node = machines["card"]
    await node.plugin.until_logged(Event.NO_CARD, PATIENCE)

    assert node.plugin.running
    assert node.kubelet.view().registrations(RESOURCE) == 0
    node.host.plug(warboy(0))
    await node.offers("npu0pe0-1")
    assert len(node.plugin.logged(Event.NO_CARD)) == 1


async def test_a_card_that_is_plugged_in_later_is_offered(machines: dict[str, Node]) -> None:
    node = machines["nothing"]
    await node.offers("npu0pe0-1")

    node.host.plug(warboy(7))

    await node.offers("npu0pe0-1", "npu7pe0-1")
    admitted = await node.kubelet.run_pod("pod", {RESOURCE: 2})
    assert admitted.env["NPU_DEVNAME"] == "npu0pe0-1,npu7pe0-1"


async def test_a_refused_registration_is_tried_again_ever_more_rarely_until_it_succeeds() -> None:
    async with Node(warboy(0)) as node:
        await node.kubelet.start()
        node.kubelet.fail_next_registers(3, "not now")
        await node.start_plugin()
        await node.offers("npu0pe0-1")

        times = [event.at for event in node.kubelet.events_of(EventKind.REGISTER_REQUEST)]
        assert len(times) == 4
        # After 0.2, 0.4 and 0.8 s, of which chance takes away half at most.
        assert times[3] - times[2] >= 0.4
        assert len(node.plugin.logged("not now")) == 1


async def test_a_kubelet_that_agrees_but_does_not_listen_is_asked_again(unheard: Unheard) -> None:
    again = await asyncio.wait_for(unheard.listener.requests.get(), PATIENCE)

    assert again == unheard.request
    assert unheard.node.plugin.logged(Loss.NO_STREAM)


async def test_a_kubelet_that_is_replaced_before_it_answered_is_not_waited_for() -> None:
    async with Node(warboy(0)) as node, listening(node.plugin_dir, answering=False) as silent:
        await node.start_plugin()
        request = await asyncio.wait_for(silent.requests.get(), PATIENCE)
        async with listening(node.plugin_dir) as another:
            assert await asyncio.wait_for(another.requests.get(), PATIENCE) == request


async def test_it_registers_with_a_kubelet_of_any_generation_that_appears_late(machines: dict[str, Node]) -> None:
    async def story(generation: Generation) -> None:
        # By now, with the tests before, it has tried for seconds and does so rarely.
        node = machines[f"socket {generation}"]
        await node.plugin.until_logged("kubelet.sock (--plugin-dir): ENOENT", PATIENCE)

        await node.kubelet.start()

        await node.offers("npu0pe0-1")

    await in_every_generation(story)
