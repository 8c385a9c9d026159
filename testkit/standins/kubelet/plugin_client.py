"""The kubelet's connection to one plugin: gRPC on one side, values and the kubelet's texts on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import DevicePluginStub
from testkit.standins.kubelet import gotext
from testkit.standins.kubelet.errors import DialError, RpcError
from testkit.standins.kubelet.settings import KubeletSettings, Wire
from testkit.standins.kubelet.values import PluginDevice, PluginOptions, devices_of, options_of
from testkit.standins.kubelet.wire import Relay, Switchboard

T = TypeVar("T")
WatchCall = grpc.aio.UnaryStreamCall[api.Empty, api.ListAndWatchResponse]


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


def check_possible(how: Cut, wire: Wire) -> None:
    """Whether connections can end like this.

    Raises:
        ValueError: Direct ones cannot.
    """
    if how in _NEEDS_RELAY and wire is not Wire.RELAYED:
        raise ValueError(f"{how} needs {Wire.RELAYED} connections")


def _channel_options(message_limit: int) -> Sequence[tuple[str, int | str]]:
    return (
        ("grpc.default_authority", "localhost"),
        ("grpc.max_receive_message_length", message_limit),
        # Channels to one path would share one connection, and a new registration would talk to the old server.
        ("grpc.use_local_subchannel_pool", 1),
        # A call begun while the plugin stops is retried by gRPC at once and for ever, on the dead connection: the
        # process takes all memory there is.
        ("grpc.enable_retries", 0),
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
        self._watch: WatchCall | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the kubelet is done with it."""
        return self._closed

    @property
    def frozen(self) -> bool:
        """Whether nothing moves on it."""
        return self._relay is not None and self._relay.frozen

    async def ready(self, within: float) -> None:
        """Wait until the plugin answers; from then on nothing is dialled again.

        Raises:
            DialError: It was not in time.
        """
        try:
            async with asyncio.timeout(within):
                await self._channel.channel_ready()
        except TimeoutError:
            await self.close()
            raise DialError("context deadline exceeded") from None
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._relay:
            self._relay.refuse_more()

    async def options(self) -> PluginOptions:
        """GetDevicePluginOptions."""
        return options_of(await self._answer(lambda: self._stub.GetDevicePluginOptions(api.Empty())))

    def watch(self) -> AsyncIterator[tuple[PluginDevice, ...]]:
        """ListAndWatch: called at once; gives every message until the plugin ends the stream in order.

        Raises:
            RpcError: The stream ended in any other way (raised by the iterator).
        """
        self._check_open()
        self._watch = self._stub.ListAndWatch(api.Empty())
        return self._messages(self._watch)

    async def _messages(self, call: WatchCall) -> AsyncIterator[tuple[PluginDevice, ...]]:
        while isinstance(message := await self._answer(call.read), api.ListAndWatchResponse):
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

    def sever(self, how: Cut) -> None:
        """Freeze or reset at once, before gRPC can say anything; other ends are left to `cut`."""
        if self._relay and how is Cut.FREEZE:
            self._relay.freeze()
        if self._relay and how is Cut.RESET:
            self._relay.reset()

    async def cut(self, how: Cut) -> None:
        """End the connection."""
        self.sever(how)
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
        relayed = self._settings.wire is Wire.RELAYED
        relay = await self._switchboard.relay_to(socket) if relayed else None
        target = relay.private if relay else socket
        options = _channel_options(self._settings.message_limit)
        connection = PluginConnection(str(socket), grpc.aio.insecure_channel(f"unix:{target}", options=options), relay)
        self._connections = [*(one for one in self._connections if not one.closed), connection]
        await connection.ready(self._settings.dial_deadline)
        return connection

    def sever_all(self, how: Cut) -> None:
        """Freeze or reset every connection at once."""
        for connection in self._connections:
            connection.sever(how)

    async def cut_all(self, how: Cut) -> None:
        """End every connection."""
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.cut(how)
