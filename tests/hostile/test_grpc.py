"""Strangers on the plugin's own socket: the kubelet keeps its units, and pods get their cards."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from npu_core.arch import Arch
from npu_core.testing import warboy
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import DevicePluginStub
from testkit.services.node import RESOURCE
from testkit.waiting import PATIENCE
from tests.hostile.node import AttackedNode, StartNode

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

SERVICE = "/v1beta1.DevicePlugin/"
OWN_CHANNEL = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]


@asynccontextmanager
async def _channel(node: AttackedNode) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"unix:{node.node.socket}", options=OWN_CHANNEL) as channel:
        yield channel


@pytest.mark.parametrize(("times", "at_once", "rest"), [(15, 1, 0.3), (100, 4, 0.0)])
async def test_who_opens_and_closes_streams_costs_the_kubelet_nothing(
    start_node: StartNode, times: int, at_once: int, rest: float
) -> None:
    node = await start_node(warboy(0))
    before = node.node.kubelet.view()
    async with node.works() as checks:
        for _ in range(times):
            await asyncio.gather(*(_listen_for_a_moment(node) for _ in range(at_once)))
            await asyncio.sleep(rest)
        await checks.rounds()
    after = node.node.kubelet.view()
    assert after.registrations(RESOURCE) == before.registrations(RESOURCE)
    assert after.streams(RESOURCE) == 1


async def _listen_for_a_moment(node: AttackedNode) -> None:
    async with _channel(node) as channel:
        call = DevicePluginStub(channel).ListAndWatch(api.Empty())
        await call.read()
        call.cancel()


async def test_two_hundred_streams_that_nobody_reads(start_node: StartNode) -> None:
    node = await start_node(warboy(0), warboy(1))
    both = await node.node.offers("npu0pe0-1", "npu1pe0-1")
    async with node.works() as checks, contextlib.AsyncExitStack() as stack:
        for _ in range(200):
            channel = await stack.enter_async_context(_channel(node))
            stack.callback(DevicePluginStub(channel).ListAndWatch(api.Empty()).cancel)
        await checks.rounds()
        assert node.plugin.resident < node.plugin.limit
        # News for all of them: the kubelet hears of each.
        card = node.node.host.card(Arch.WARBOY, 1)
        for _ in range(3):
            card.die()
            await node.node.offers("npu0pe0-1")
            card.revive()
            await node.node.offers("npu0pe0-1", "npu1pe0-1")
    assert node.node.kubelet.view().registrations(RESOURCE) == both.registrations(RESOURCE)


async def test_calls_that_are_none(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    broken = [b"\xff" * 64, bytes(range(256)), b"\x0a\xff\xff\xff\xff\x0f"]
    codes: set[grpc.StatusCode] = set()
    async with node.works() as checks, _channel(node) as channel:
        for method in ("Allocate", "GetPreferredAllocation", "PreStartContainer", "GetDevicePluginOptions", "Nothing"):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{SERVICE}{method}")
            for message in broken * 100:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(message, timeout=PATIENCE)
                codes.add(refused.value.code())
        await checks.rounds()
    assert codes <= {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED}


REFUSED = {
    "an unknown unit": ([["n"]], grpc.StatusCode.NOT_FOUND),
    "an id of 7 kB": ([["n" * 7_000]], grpc.StatusCode.NOT_FOUND),
    "an id of 1 MB": ([["n" * 1_000_000]], grpc.StatusCode.NOT_FOUND),
    "an id of 2 MB": ([["n" * 2_000_000]], grpc.StatusCode.RESOURCE_EXHAUSTED),
    "100,000 unknown units": ([["n"] * 100_000], grpc.StatusCode.NOT_FOUND),
    "100,000 containers": ([[]] * 100_000, grpc.StatusCode.INVALID_ARGUMENT),
    "100,000 containers of a card": ([["npu0pe0-1"]] * 100_000, grpc.StatusCode.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize(("containers", "code"), REFUSED.values(), ids=REFUSED)
async def test_an_allocation_that_no_kubelet_asks_for(
    start_node: StartNode, containers: list[list[str]], code: grpc.StatusCode
) -> None:
    node = await start_node(warboy(0))
    one_by_one = [api.ContainerAllocateRequest(devices_ids=ids) for ids in containers]
    request = api.AllocateRequest(container_requests=one_by_one)
    async with node.works() as checks, _channel(node) as channel:
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await DevicePluginStub(channel).Allocate(request, timeout=PATIENCE)
            assert refused.value.code() is code
        await checks.rounds()


async def test_a_preference_among_a_hundred_thousand_units(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    ids = [f"n{number}" for number in range(100_000)]
    one = api.ContainerPreferredAllocationRequest(available_deviceIDs=ids, allocation_size=1000)
    request = api.PreferredAllocationRequest(container_requests=[one])
    async with node.works() as checks, _channel(node) as channel:
        for _ in range(10):
            with contextlib.suppress(grpc.aio.AioRpcError):  # its answer is nobody's, only what becomes of others
                await DevicePluginStub(channel).GetPreferredAllocation(request, timeout=PATIENCE)
        await checks.rounds()
