"""Strangers on the plugin's own socket: the kubelet keeps its units, and pods get their cards."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from hostile.node import AttackedNode, StartNode
from npu_core.testing import warboy
from npu_device_plugin._kubelet import deviceplugin_pb2 as api
from npu_device_plugin._kubelet.deviceplugin_pb2_grpc import DevicePluginStub

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

SERVICE = "/v1beta1.DevicePlugin/"
OWN_CHANNEL = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]


@asynccontextmanager
async def _channel(node: AttackedNode) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"unix:{node.node.socket}", options=OWN_CHANNEL) as channel:
        yield channel


async def test_who_opens_and_closes_the_stream_costs_the_kubelet_nothing(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    before = node.node.kubelet.view().registrations("beta.furiosa.ai/npu")
    async with node.works() as checks:
        for _ in range(15):
            async with _channel(node) as channel:
                call = DevicePluginStub(channel).ListAndWatch(api.Empty())
                await call.read()
                call.cancel()
            await asyncio.sleep(0.3)
        await checks.rounds()
    assert node.node.kubelet.view().registrations("beta.furiosa.ai/npu") == before
    assert node.node.kubelet.view().streams("beta.furiosa.ai/npu") == 1


async def test_two_hundred_streams_that_nobody_reads(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    before = node.plugin.resident
    async with node.works() as checks, contextlib.AsyncExitStack() as stack:
        calls = []
        for _ in range(200):
            channel = await stack.enter_async_context(_channel(node))
            calls.append(DevicePluginStub(channel).ListAndWatch(api.Empty()))
        await checks.rounds()
        assert node.plugin.resident < node.plugin.limit
        for call in calls:
            call.cancel()
    assert node.plugin.resident - before < 64 << 20


async def test_calls_that_are_none(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    junk = [b"", b"\xff" * 64, bytes(range(256)), b"\x0a\xff\xff\xff\xff\x0f"]
    logged = node.plugin.logged_bytes
    async with node.works() as checks, _channel(node) as channel:
        for method in ("Allocate", "GetPreferredAllocation", "PreStartContainer", "GetDevicePluginOptions", "Nothing"):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{SERVICE}{method}")
            for _ in range(20):
                for message in junk:
                    with contextlib.suppress(grpc.aio.AioRpcError):
                        await call(message, timeout=60)
        await checks.rounds()
    assert not node.plugin.process.logged("Traceback")
    assert node.plugin.logged_bytes - logged < 50_000


async def test_an_allocation_of_a_hundred_thousand_containers(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    logged = node.plugin.logged_bytes
    one = api.ContainerAllocateRequest(devices_ids=["npu0pe0-1"])
    request = api.AllocateRequest(container_requests=[one] * 100_000)
    async with node.works() as checks, _channel(node) as channel:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await DevicePluginStub(channel).Allocate(request, timeout=60)
        await checks.rounds()
    assert node.plugin.logged_bytes - logged < 50_000


@pytest.mark.parametrize("length", [10, 7_000, 1_000_000])
async def test_units_that_there_are_not(start_node: StartNode, length: int) -> None:
    node = await start_node(warboy(0))
    logged = node.plugin.logged_bytes
    request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=["n" * length])])
    async with node.works() as checks, _channel(node) as channel:
        for _ in range(200):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await DevicePluginStub(channel).Allocate(request, timeout=60)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        await checks.rounds()
    assert node.plugin.logged_bytes - logged < 50_000
