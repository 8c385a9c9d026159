"""The kubelet's connection to one plugin: gRPC on one side, values and the kubelet's texts on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio

from npu_device_plugin._kubelet import deviceplugin_pb2 as api
from npu_device_plugin._kubelet.deviceplugin_pb2_grpc import DevicePluginStub
from standins.kubelet import gotext
from standins.kubelet.errors import DialError, RpcError
from standins.kubelet.settings import KubeletSettings, Wire
from standins.kubelet.values import PluginDevice, PluginOptions, devices_of, options_of
from standins.kubelet.wire import Relay, Switchboard

T = TypeVar("T")


class Cut(StrEnum):
    """Ways a connection to a plugin ends."""

    CANCEL = "cancel"
    """The call is cancelled (a reset of the HTTP/2 stream), then the connection is closed in order."""
    CLOSE = "close"
    """The connection is closed in order."""
    RESET = "reset"
    """The connection is let go of without a goodbye."""
    FREEZE = "freeze"
    """The connection stays and nothing moves: the kubelet's process hangs, or died and nobody noticed."""


_NEEDS_RELAY = frozenset({Cut.RESET, Cut.FREEZE})


def _channel_options(message_limit: int) -> Sequence[tuple[str, int | str]]:
    return (
        ("grpc.default_authority", "localhost"),
        ("grpc.max_receive_message_length", message_limit),
        # Channels to one path would share one connection, and a new registration would talk to the old server.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 200),
    )


class PluginConnection:
    """A connection that was ready once. It is never dialled again."""

    def __init__(self, socket: str, channel: grpc.aio.Channel, relay: Relay | None) -> None:
        self.socket = socket
        self._channel = channel
        self._relay = relay
        self._stub = DevicePluginStub(channel)
        self._watch: grpc.aio.UnaryStreamCall[api.Empty, api.ListAndWatchResponse] | None = None
        self._closed = False

    @property
    def frozen(self) -> bool:
        """Whether nothing moves on it."""
        return self._relay is not None and self._relay.frozen

    async def options(self) -> PluginOptions:
        """GetDevicePluginOptions."""
        return options_of(await self._answer(lambda: self._stub.GetDevicePluginOptions(api.Empty())))

    async def messages(self) -> AsyncIterator[tuple[PluginDevice, ...]]:
        """ListAndWatch: every message until the plugin ends the stream in order.

        Raises:
            RpcError: The stream ended in any other way.
        """
        self._check_open()
        self._watch = watch = self._stub.ListAndWatch(api.Empty())
        while True:
            message = await self._answer(watch.read)
            if not isinstance(message, api.ListAndWatchResponse):
                return
            yield devices_of(message)

    async def preferred(self, available: Iterable[str], must_include: Iterable[str], size: int) -> tuple[str, ...]:
        """GetPreferredAllocation: the first container's ids; () when the answer has no container."""
        request = api.ContainerPreferredAllocationRequest(
            available_deviceIDs=available, must_include_deviceIDs=must_include, allocation_size=size
        )
        message = api.PreferredAllocationRequest(container_requests=[request])
        response = await self._answer(lambda: self._stub.GetPreferredAllocation(message))
        return tuple(response.container_responses[0].deviceIDs) if response.container_responses else ()

    async def allocate(self, ids: Iterable[str]) -> api.ContainerAllocateResponse | None:
        """Allocate for one container: its response, None when the answer has none."""
        request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids)])
        response = await self._answer(lambda: self._stub.Allocate(request))
        return response.container_responses[0] if response.container_responses else None

    async def pre_start(self, ids: Iterable[str], deadline: float) -> None:
        """PreStartContainer."""
        request = api.PreStartContainerRequest(devices_ids=ids)
        await self._answer(lambda: self._stub.PreStartContainer(request, timeout=deadline))

    async def cut(self, how: Cut) -> None:
        """End the connection.

        Raises:
            ValueError: A direct connection cannot end in this way.
        """
        if how in _NEEDS_RELAY and self._relay is None:
            raise ValueError(f"{how} needs {Wire.RELAYED!r} connections")
        if self._relay and how is Cut.FREEZE:
            self._relay.freeze()
        if self._relay and how is Cut.RESET:
            self._relay.reset()
        if self._watch and how is Cut.CANCEL:
            self._watch.cancel()
        await self.close()

    async def close(self) -> None:
        """Close in order; calls in flight fail."""
        self._closed = True
        await self._channel.close()
        if self._relay:
            self._relay.refuse_more()

    def _check_open(self) -> None:
        if self._closed:
            raise _closing()

    async def _answer(self, call: Callable[[], Awaitable[T]]) -> T:
        self._check_open()
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            raise RpcError(gotext.rpc_error(error.code(), error.details() or "")) from error
        except asyncio.CancelledError:
            # Closing the channel cancels its calls, not the tasks that wait for them.
            if _task_is_cancelled():
                raise
            raise _closing() from None


def _closing() -> RpcError:
    return RpcError(gotext.rpc_error(grpc.StatusCode.CANCELLED, "grpc: the client connection is closing"))


def _task_is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Dialer:
    """Makes connections, and knows all of them."""

    def __init__(self, settings: KubeletSettings, switchboard: Switchboard) -> None:
        self._settings = settings
        self._switchboard = switchboard
        self._connections: list[PluginConnection] = []

    async def dial(self, socket: Path) -> PluginConnection:
        """Connect to a plugin's socket, waiting for it to be ready.

        Raises:
            DialError: It was not in time.
        """
        connection, channel = await self._connection(socket)
        self._connections.append(connection)
        try:
            async with asyncio.timeout(self._settings.dial_deadline):
                await channel.channel_ready()
        except TimeoutError:
            await connection.close()
            raise DialError("context deadline exceeded") from None
        return connection

    async def _connection(self, socket: Path) -> tuple[PluginConnection, grpc.aio.Channel]:
        relayed = self._settings.wire is Wire.RELAYED
        relay = await self._switchboard.relay_to(socket) if relayed else None
        target = relay.private if relay else socket
        channel = grpc.aio.insecure_channel(
            f"unix:{target}", options=_channel_options(self._settings.message_limit)
        )
        return PluginConnection(str(socket), channel, relay), channel

    async def cut_all(self, how: Cut) -> None:
        """End every connection."""
        for connection in self._connections:
            await connection.cut(how)
        self._connections.clear()
