"""Whatever the kubelet does, the same process is back with the same units soon, without being restarted.

All tests share one plugin for each generation of kubelet, so that each goes through every fault, one after another.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import pytest_asyncio

from npu_core.testing import warboy
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet.registration import Registration, RegistrationError, register
from testkit.services.node import RESOURCE, Node, in_every_generation, side_by_side
from testkit.standins.kubelet import Cut, EventKind, Generation, StreamPlan, WipeRule, Wire
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

Nodes = dict[Generation, Node]
Fault = Callable[[Node], Coroutine[Any, Any, None]]
UNITS = ("npu0pe0-1", "npu1pe0-1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def machines() -> AsyncIterator[Nodes]:
    """One for each generation."""
    cards = (warboy(0), warboy(1))
    nodes = {generation: Node(*cards, generation=generation, wire=Wire.RELAYED) for generation in Generation}
    async with side_by_side(nodes, lambda _, node: node.up()) as machines:
        yield machines


@pytest_asyncio.fixture(loop_scope="module")
async def nodes(machines: Nodes) -> Nodes:
    """Those machines, well."""
    await asyncio.gather(*(node.offers(*UNITS) for node in machines.values()))
    return machines


async def _all_heal(nodes: Nodes, fault: Fault) -> None:
    async def story(generation: Generation) -> None:
        node = nodes[generation]
        await node.heals(lambda: fault(node))

    await in_every_generation(story)


async def test_every_generation_asks_for_its_preference(nodes: Nodes) -> None:
    async def story(generation: Generation) -> None:
        kubelet = nodes[generation].kubelet
        before = len(kubelet.events_of(EventKind.PREFERRED))
        admitted = await kubelet.run_pod("pod", {RESOURCE: 1})
        kubelet.delete_pod("pod")
        assert [event.ids for event in kubelet.events_of(EventKind.PREFERRED)[before:]] == [admitted.device_ids]

    await in_every_generation(story)


async def test_a_kubelet_that_ends_every_stream_at_once_is_asked_ever_more_rarely(nodes: Nodes) -> None:
    async def story(generation: Generation) -> None:
        node = nodes[generation]
        before = len(node.kubelet.events_of(EventKind.REGISTERED))
        node.kubelet.plan_streams(StreamPlan(messages=1, then=Cut.CANCEL))
        await node.kubelet.cut(RESOURCE)
        await node.kubelet.until(lambda _: len(node.kubelet.events_of(EventKind.REGISTERED)) >= before + 5, PATIENCE)
        node.kubelet.plan_streams(StreamPlan())
        times = [event.at for event in node.kubelet.events_of(EventKind.REGISTERED)][before:]
        # After 0.2, 0.4 and 0.8 s, of which chance takes away half at most.
        assert times[4] - times[3] >= 0.4
        # Another kubelet is not made to wait for what this one did.
        await node.heals(node.kubelet.restart)

    await in_every_generation(story)


@pytest.mark.parametrize("keep_checkpoint", [True, False], ids=["checkpoint kept", "checkpoint removed"])
async def test_it_survives_a_restart_of_the_kubelet(nodes: Nodes, keep_checkpoint: bool) -> None:  # noqa: FBT001  # pytest
    async def restart(node: Node) -> None:
        await node.kubelet.restart(keep_checkpoint=keep_checkpoint)

    await _all_heal(nodes, restart)


async def test_it_survives_a_restart_of_the_kubelet_with_pods_on_its_units(nodes: Nodes) -> None:
    async def story(generation: Generation) -> None:
        node = nodes[generation]
        first = await node.kubelet.run_pod("first", {RESOURCE: 1})
        await node.heals(node.kubelet.restart)
        second = await node.kubelet.run_pod("second", {RESOURCE: 1})

        assert node.kubelet.view().pod("first").running
        assert {*first.device_ids, *second.device_ids} == set(UNITS)
        node.kubelet.delete_pod("first")
        node.kubelet.delete_pod("second")

    await in_every_generation(story)


@pytest.mark.parametrize("how", [Cut.FREEZE, Cut.CLOSE, Cut.RESET])
async def test_it_survives_a_kubelet_that_is_killed_and_leaves_its_socket(nodes: Nodes, how: Cut) -> None:
    async def kill_and_start(node: Node) -> None:
        await node.kubelet.kill(how)
        assert node.kubelet.socket.is_socket()
        await node.kubelet.start()

    await _all_heal(nodes, kill_and_start)


async def test_it_survives_a_kubelet_that_is_away_for_a_while(nodes: Nodes) -> None:
    async def story(generation: Generation) -> None:
        node = nodes[generation]
        failures = len(node.plugin.logged(Event.CANNOT_REGISTER))
        await node.kubelet.stop()
        await node.plugin.until_logged(Event.CANNOT_REGISTER, PATIENCE, times=failures + 1)
        await node.heals(node.kubelet.start)

    await in_every_generation(story)


@pytest.mark.parametrize("how", [Cut.CANCEL, Cut.CLOSE, Cut.RESET])
async def test_it_registers_again_when_its_stream_is_cut_and_the_kubelets_socket_is_untouched(
    nodes: Nodes, how: Cut
) -> None:
    async def cut(node: Node) -> None:
        await node.kubelet.cut(RESOURCE, how)

    await _all_heal(nodes, cut)


async def test_it_registers_again_when_the_directory_is_wiped_under_it(nodes: Nodes) -> None:
    async def wipe(node: Node) -> None:
        assert node.socket.name in node.kubelet.wipe(WipeRule.ONLY_SOCKETS)

    await _all_heal(nodes, wipe)


async def test_it_takes_its_place_back_from_another_socket(nodes: Nodes) -> None:
    async def replace(node: Node) -> None:
        node.socket.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(node.socket))
            other.listen()

    await _all_heal(nodes, replace)


async def test_refusals_after_a_restart_only_delay_it(nodes: Nodes) -> None:
    async def restart_and_refuse(node: Node) -> None:
        node.kubelet.fail_next_registers(2, "still starting")
        await node.kubelet.restart()

    await _all_heal(nodes, restart_and_refuse)
    assert all(len(node.plugin.logged("still starting")) == 1 for node in nodes.values())


async def test_it_serves_on_another_socket_when_the_kubelet_holds_on_to_the_first(nodes: Nodes) -> None:
    node = nodes[Generation.C]
    # A registration that is refused makes the kubelet blind for the end of the stream that it has.
    with pytest.raises(RegistrationError, match="already connected"):
        await register(Registration(str(node.plugin_dir), node.socket.name, RESOURCE))

    async def remove() -> None:
        node.socket.unlink()

    await node.heals(remove)
    assert not node.socket.exists()
    assert [event.socket for event in node.kubelet.events_of(EventKind.REGISTERED)][-1] != str(node.socket)
    # The next kubelet has never heard of the first.
    await node.heals(node.kubelet.restart)
    assert node.socket.is_socket()


async def test_it_serves_on_another_socket_when_the_kubelet_still_has_the_connection(nodes: Nodes) -> None:
    node = nodes[Generation.C]
    before = node.kubelet.view()
    # The kubelet hangs on to its connection, whatever becomes of the plugin's end.
    await node.kubelet.cut(RESOURCE, Cut.FREEZE)
    node.socket.unlink()
    await node.kubelet.until(lambda view: view.messages(RESOURCE) > before.messages(RESOURCE), PATIENCE)

    failed = node.kubelet.view().count(EventKind.REGISTER_FAILED, RESOURCE)
    assert failed - before.count(EventKind.REGISTER_FAILED, RESOURCE) == 1
    await node.heals(node.kubelet.restart)
