"""gRPC without a kubelet in between: calls on the plugin's socket, and a kubelet that only listens."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import (
    DevicePluginStub,
    RegistrationServicer,
    add_RegistrationServicer_to_server,
)


class PluginCalls:
    """Calls that a kubelet would make, and some that none would."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Calls over ``channel``."""
        self._stub = DevicePluginStub(channel)

    async def options(self) -> api.DevicePluginOptions:
        """GetDevicePluginOptions."""
        return await self._stub.GetDevicePluginOptions(api.Empty())

    async def allocate(self, *containers: Iterable[str]) -> list[api.ContainerAllocateResponse]:
        """Allocate, for any number of containers."""
        requests = [api.ContainerAllocateRequest(devices_ids=ids) for ids in containers]
        response = await self._stub.Allocate(api.AllocateRequest(container_requests=requests))
        return list(response.container_responses)

    async def prefer(self, available: Iterable[str], must_include: Iterable[str], size: int) -> tuple[str, ...]:
        """GetPreferredAllocation for one container."""
        request = api.ContainerPreferredAllocationRequest(
            available_deviceIDs=available, must_include_deviceIDs=must_include, allocation_size=size
        )
        return (await self.prefer_all(request))[0]

    async def prefer_all(self, *requests: api.ContainerPreferredAllocationRequest) -> list[tuple[str, ...]]:
        """GetPreferredAllocation for any number of containers."""
        response = await self._stub.GetPreferredAllocation(api.PreferredAllocationRequest(container_requests=requests))
        return [tuple(each.deviceIDs) for each in response.container_responses]


@asynccontextmanager
async def calls_to(socket: Path) -> AsyncIterator[PluginCalls]:
    """Calls to the plugin that serves ``socket``."""
    options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
        yield PluginCalls(channel)


class Listener(RegistrationServicer):
    """Takes down registrations. Never dials a plugin, so nobody ever listens to it.

    Attributes:
        requests: what plugins said, in order.
        answering: whether Register is answered at all.
    """

    def __init__(self, *, answering: bool = True) -> None:
        """A listener that has heard nothing yet."""
        self.requests: asyncio.Queue[api.RegisterRequest] = asyncio.Queue()
        self.answering = answering

    async def Register(  # noqa: N802  # the protocol's name
        self, request: api.RegisterRequest, context: grpc.aio.ServicerContext[api.RegisterRequest, api.Empty]
    ) -> api.Empty:
        """Agree to everything, or say nothing until the caller is tired of it."""
        del context
        self.requests.put_nowait(request)
        if not self.answering:
            await asyncio.Event().wait()
        return api.Empty()


@asynccontextmanager
async def listening(plugin_dir: Path, *, answering: bool = True) -> AsyncIterator[Listener]:
    """A listener on kubelet.sock, in place of whatever is there."""
    listener, server = Listener(answering=answering), grpc.aio.server()
    add_RegistrationServicer_to_server(listener, server)
    server.add_insecure_port(f"unix:{_made(plugin_dir) / 'kubelet.sock'}")
    await server.start()
    try:
        yield listener
    finally:
        await server.stop(None)


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory
