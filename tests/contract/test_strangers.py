"""Somebody else on the plugin's socket, or in its place: the kubelet is not to be kept from its units."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from npu_core.testing import warboy
from npu_device_plugin._kubelet import deviceplugin_pb2 as api
from npu_device_plugin._kubelet.deviceplugin_pb2_grpc import DevicePluginStub
from testkit.services.node import BACK, OFTEN, RESOURCE, SOON, MakeNode
from testkit.standins.kubelet import EventKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def _stranger_listening(socket: Path) -> AsyncIterator[None]:
    """Somebody who is no kubelet holds a stream of the units, as a tool for looking at plugins does."""
    options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
        call = DevicePluginStub(channel).ListAndWatch(api.Empty())
        await call.read()
        yield
        call.cancel()


async def test_a_strangers_stream_does_not_hide_that_the_kubelets_was_cut(make_node: MakeNode) -> None:
    node = await make_node(warboy(0))
    await node.up(*OFTEN)
    await node.offers("npu0pe0-1")
    async with _stranger_listening(node.socket):
        cut = time.monotonic()
        await node.kubelet.cut(RESOURCE)

        assert await node.delay(EventKind.REGISTERED, cut) < SOON
        await node.offers("npu0pe0-1", within=BACK)


async def test_a_stranger_who_comes_and_goes_costs_at_most_a_registration(make_node: MakeNode) -> None:
    node = await make_node(warboy(0))
    await node.up(*OFTEN)
    await node.offers("npu0pe0-1")
    async with _stranger_listening(node.socket):
        await asyncio.sleep(0.1)

    await asyncio.sleep(1.0)
    await node.offers("npu0pe0-1", within=BACK)
    assert node.kubelet.view().registrations(RESOURCE) <= 2
    assert node.plugin.running
