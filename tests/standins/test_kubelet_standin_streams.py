"""The stand-in kubelet towards plugins: ListAndWatch, and the capacity it makes."""

from __future__ import annotations

import asyncio
import json

import pytest

from testkit.standins.kubelet import (
    Cut,
    EventKind,
    FakeClock,
    OutOfResourceError,
    StreamPlan,
    Wire,
)
from testkit.standins.scripted_plugin import (
    OTHER,
    RESOURCE,
    StartKubelet,
    StartPlugin,
    allocatable,
    device,
    devices,
    ended,
)
from testkit.waiting import PATIENCE


async def test_after_the_grace_the_resource_stays_on_the_node_as_an_explicit_zero(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    clock = FakeClock()
    kubelet = await start_kubelet(clock=clock)
    plugin = await advertise(kubelet)
    plugin.end(plugin.streams[0])
    await ended(kubelet)
    writes = kubelet.view().checkpoint_writes

    clock.advance(300.1)
    view = kubelet.view()

    assert (view.capacity(RESOURCE), view.allocatable(RESOURCE)) == (0, 0)
    assert view.advertised(RESOURCE)
    assert kubelet.view().checkpoint_writes == writes + 1
    assert json.loads(kubelet.checkpoint_path.read_text())["Data"]["RegisteredDevices"] == {}
    with pytest.raises(OutOfResourceError) as caught:
        await kubelet.run_pod("pod-a", {RESOURCE: 1})
    assert caught.value.reason == f"OutOf{RESOURCE}"


@pytest.mark.parametrize(
    ("how", "wire"),
    [
        (Cut.CANCEL, Wire.RELAYED),
        (Cut.CLOSE, Wire.RELAYED),
        (Cut.RESET, Wire.RELAYED),
        (Cut.CANCEL, Wire.DIRECT),
        (Cut.CLOSE, Wire.DIRECT),
    ],
)
async def test_a_stream_is_cut_after_as_many_messages_as_planned(
    start_kubelet: StartKubelet, advertise: StartPlugin, how: Cut, wire: Wire
) -> None:
    kubelet = await start_kubelet(wire=wire)
    kubelet.plan_streams(StreamPlan(messages=2, then=how))
    plugin = await advertise(kubelet)

    assert len(plugin.open_streams) == 1
    plugin.send(devices("npu0"))

    assert await ended(kubelet) == f"cut by the kubelet ({how})"
    await asyncio.wait_for(plugin.streams[0].closed.wait(), PATIENCE)
    view = kubelet.view()
    assert (view.capacity(RESOURCE), view.allocatable(RESOURCE)) == (1, 0)


@pytest.mark.parametrize("how", [Cut.CANCEL, Cut.CLOSE, Cut.RESET])
async def test_a_connection_can_be_cut_at_will(start_kubelet: StartKubelet, advertise: StartPlugin, how: Cut) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)

    await kubelet.cut(RESOURCE, how)

    await asyncio.wait_for(plugin.streams[0].closed.wait(), PATIENCE)
    await allocatable(kubelet, 0)
    await plugin.register()
    await allocatable(kubelet, 2)


async def test_a_kubelet_that_hangs_draws_no_conclusions(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)

    await kubelet.cut(RESOURCE, Cut.FREEZE)
    plugin.send(devices("npu0"))
    await advertise(kubelet, resource=OTHER, socket="other.sock")

    view = kubelet.view()
    assert (view.allocatable(RESOURCE), view.messages(RESOURCE)) == (2, 1)
    assert len(plugin.open_streams) == 1


async def test_a_journal_keeps_each_message_whole(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()

    await advertise(kubelet, [device("npu0", numa=[1]), device("npu1", "Unhealthy", numa=[])])

    (event,) = kubelet.events_of(EventKind.LIST_MESSAGE, RESOURCE)
    assert event.as_json() == {
        "kind": "list_message",
        "resource": RESOURCE,
        "socket": f"{kubelet.settings.plugin_dir}/plugin.sock",
        "devices": (
            {"id": "npu0", "health": "Healthy", "numa": (1,)},
            {"id": "npu1", "health": "Unhealthy", "numa": ()},
        ),
        "at": event.at,
    }
