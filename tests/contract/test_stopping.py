"""The plugin ends and leaves nothing behind, whatever it was doing."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import warboy
from npu_device_plugin.events import Event
from testkit.services.direct import listening
from testkit.services.node import OFTEN, RESOURCE, Node, side_by_side
from testkit.standins.kubelet import EventKind
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGISTERED = {"SIGTERM", "SIGINT", "a card that hangs", "SIGKILL"}
ALONE = {"no kubelet": (warboy(0),), "no card": ()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def machines() -> AsyncIterator[dict[str, Node]]:
    """One for each situation the plugin is ended in."""
    nodes = {situation: Node(warboy(0), warboy(1)) for situation in sorted(REGISTERED)}
    nodes |= {situation: Node(*cards) for situation, cards in ALONE.items()}

    async def start(situation: str, node: Node) -> None:
        await (node.up(*OFTEN) if situation in REGISTERED else node.start_plugin(*OFTEN))

    async with side_by_side(nodes, start) as machines:
        yield machines


async def _ends_clean(node: Node, number: int = signal.SIGTERM) -> None:
    """With status 0, and the plugin directory is as if it had never been there."""
    assert await node.plugin.stop(number) == 0
    left = {path.name for path in node.plugin_dir.glob("*")}
    assert left <= {"kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"}
    assert "stopped" in node.plugin.log[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_it_with_its_streams_closed_and_its_socket_gone(
    machines: dict[str, Node], number: signal.Signals
) -> None:
    node = machines[number.name]
    await node.offers("npu0pe0-1", "npu1pe0-1")
    assert node.socket.is_socket()

    await _ends_clean(node, number)

    await node.kubelet.until(lambda view: view.count(EventKind.STREAM_ENDED, RESOURCE) == 1, PATIENCE)
    assert [event.text for event in node.kubelet.events_of(EventKind.STREAM_ENDED)] == ["EOF"]
    assert node.kubelet.view().allocatable(RESOURCE) == 0


async def test_it_ends_while_there_is_no_kubelet_and_no_directory(machines: dict[str, Node]) -> None:
    node = machines["no kubelet"]
    await node.plugin.until_logged(Event.CANNOT_REGISTER, PATIENCE)

    await _ends_clean(node)


async def test_it_ends_while_there_is_no_card(machines: dict[str, Node]) -> None:
    node = machines["no card"]
    await node.plugin.until_logged(Event.NO_CARD, PATIENCE)

    await _ends_clean(node)


async def test_it_ends_in_the_middle_of_a_look_at_a_card_that_hangs(machines: dict[str, Node]) -> None:
    node = machines["a card that hangs"]
    node.host.card(Arch.WARBOY, 0).hang("alive")
    # A later change is seen, so the look at the card that hangs has begun.
    node.host.card(Arch.WARBOY, 1).die()
    await node.offers("npu0pe0-1")

    await _ends_clean(node)


async def test_it_ends_while_the_kubelet_does_not_answer_its_registration() -> None:
    async with Node(warboy(0)) as node, listening(node.plugin_dir, answering=False) as listener:
        await node.start_plugin()
        await asyncio.wait_for(listener.requests.get(), PATIENCE)

        await _ends_clean(node)


async def test_killed_it_comes_back_over_the_socket_it_left(machines: dict[str, Node]) -> None:
    node = machines["SIGKILL"]
    assert await node.plugin.stop(signal.SIGKILL) == -signal.SIGKILL
    assert node.socket.is_socket()
    await node.kubelet.until(lambda view: view.streams(RESOURCE) == 0, PATIENCE)

    await node.start_plugin()

    await node.offers("npu0pe0-1", "npu1pe0-1")
    await _ends_clean(node)
