"""Registrations and ListAndWatch streams: the kubelet's side of every plugin."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.kubelet.device_manager import DeviceManager, Endpoint
from testkit.standins.kubelet.errors import DialError, RegistrationError, RpcError
from testkit.standins.kubelet.journal import Event, EventKind, Journal
from testkit.standins.kubelet.names import check_registration
from testkit.standins.kubelet.plugin_client import Cut, Dialer, PluginConnection
from testkit.standins.kubelet.settings import Generation, KubeletSettings, OldStreamEnd
from testkit.standins.kubelet.tasks import Tasks
from testkit.standins.kubelet.values import PluginDevice, PluginOptions, options_of


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How ListAndWatch streams are read."""

    messages: int | None = None
    """Read so many, then cut; None reads for ever."""
    then: Cut = Cut.CANCEL
    pause: float = 0.0
    """Seconds before each message is read: a slow kubelet."""


@dataclass(slots=True)
class Faults:
    """What goes wrong on purpose. Outlives the kubelet's process."""

    refusals: deque[str] = field(default_factory=deque)
    """The next Registers fail with these texts."""
    stream_plan: StreamPlan = field(default_factory=StreamPlan)
    """For every stream that begins from now on."""


@dataclass(frozen=True, slots=True)
class _Link:
    endpoint: Endpoint
    connection: PluginConnection


class DevicePlugins:
    """The plugins of one kubelet process.

    Args:
        settings: The kubelet's.
        manager: Told of every registration, message and end.
        dialer: Makes connections.
        journal: Told likewise.
        faults: What goes wrong on purpose.
        on_message: Called after each message was taken over, to write the checkpoint.
        on_listed: Called with the resource after that, once the journal has the message.
    """

    def __init__(  # noqa: PLR0913 - the collaborators of an edge, all named
        self,
        *,
        settings: KubeletSettings,
        manager: DeviceManager,
        dialer: Dialer,
        journal: Journal,
        faults: Faults,
        on_message: Callable[[], None],
        on_listed: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._manager = manager
        self._dialer = dialer
        self._journal = journal
        self._faults = faults
        self._on_message = on_message
        self._on_listed = on_listed
        self._links: dict[int, _Link] = {}
        self._streams: set[int] = set()
        """Serial numbers of the links whose stream is open."""
        self._clients: dict[tuple[str, str], int] = {}
        """Whose end is noticed, by what the generation tells plugins apart by."""
        self._serial = 0
        self._tasks = Tasks()

    async def register(self, request: api.RegisterRequest) -> None:
        """Answer a Register call.

        Raises:
            RegistrationError: It is refused.
        """
        resource, socket = request.resource_name, str(self._settings.plugin_dir / request.endpoint)
        self._journal.record(Event(EventKind.REGISTER_REQUEST, resource, socket=socket))
        try:
            await self._register(request, socket)
        except RegistrationError as error:
            self._journal.record(Event(EventKind.REGISTER_FAILED, resource, socket=socket, text=str(error)))
            raise

    async def _register(self, request: api.RegisterRequest, socket: str) -> None:
        if self._faults.refusals:
            raise RegistrationError(self._faults.refusals.popleft())
        check_registration(request.version, request.resource_name)
        if self._settings.generation is Generation.A:
            self._tasks.spawn(self._connect_later(request.resource_name, socket, options_of(request.options)))
            return
        try:
            await self._connect(request.resource_name, socket)
        except RegistrationError:
            # As real ones do: not only the new client is forgotten, but the one before too, whose stream goes on. The
            # end of that stream will not be noticed.
            self._clients.pop(self._key(request.resource_name, socket), None)
            raise

    def _key(self, resource: str, socket: str) -> tuple[str, str]:
        return resource, socket if self._settings.generation is Generation.C else ""

    async def _connect_later(self, resource: str, socket: str, options: PluginOptions) -> None:
        """Generation A has answered by now: whatever goes wrong is only logged."""
        try:
            connection = await self._dialer.dial(Path(socket))
        except DialError as error:
            self._journal.record(Event(EventKind.DIAL_FAILED, resource, socket=socket, text=str(error)))
            return
        self._adopt(resource, connection, options)

    async def _connect(self, resource: str, socket: str) -> None:
        try:
            connection = await self._dialer.dial(Path(socket))
        except DialError as error:
            raise RegistrationError(f"failed to dial device plugin: {error}") from error
        try:
            options = await connection.options()
        except RpcError as error:
            await connection.close()
            raise RegistrationError(f"failed to get device plugin options: {error}") from error
        if self._settings.generation is Generation.C and self._manager.serves(resource, socket):
            await connection.close()
            raise RegistrationError(f"device plugin already connected: {socket}")
        self._adopt(resource, connection, options)

    def _adopt(self, resource: str, connection: PluginConnection, options: PluginOptions) -> None:
        self._serial += 1
        link = _Link(Endpoint(resource, connection.socket, self._serial, options), connection)
        self._links[self._serial] = link
        self._streams.add(self._serial)
        self._clients[self._key(resource, connection.socket)] = self._serial
        self._manager.connect(link.endpoint)
        self._journal.record(Event(EventKind.REGISTERED, resource, socket=connection.socket))
        self._tasks.spawn(self._watch(link))

    async def _watch(self, link: _Link) -> None:
        text = await self._read(link)
        if link.connection.frozen:
            # A kubelet that hangs draws no conclusions.
            return
        await self._end(link, text)

    async def _read(self, link: _Link) -> str:
        """Read to the end of the stream; why it ended."""
        plan = self._faults.stream_plan
        number = 0
        try:
            stream = link.connection.watch()
            await asyncio.sleep(plan.pause)
            if plan.messages == 0:
                return await self._cut(link, plan.then)
            async for devices in stream:
                number += 1
                self._take_over(link.endpoint, devices)
                if number == plan.messages:
                    return await self._cut(link, plan.then)
                await asyncio.sleep(plan.pause)
        except RpcError as error:
            return str(error)
        return "EOF"

    async def _cut(self, link: _Link, how: Cut) -> str:
        await link.connection.cut(how)
        return f"cut by the kubelet ({how})"

    def _take_over(self, endpoint: Endpoint, devices: tuple[PluginDevice, ...]) -> None:
        self._manager.update(endpoint.resource, devices)
        self._on_message()
        self._journal.record(Event(EventKind.LIST_MESSAGE, endpoint.resource, socket=endpoint.socket, devices=devices))
        self._on_listed(endpoint.resource)

    async def _end(self, link: _Link, text: str) -> None:
        self._streams.discard(link.endpoint.serial)
        if self._noticed(link.endpoint) or link.connection.closed:
            await link.connection.close()
            self._links.pop(link.endpoint.serial, None)
        self._journal.record(
            Event(EventKind.STREAM_ENDED, link.endpoint.resource, socket=link.endpoint.socket, text=text)
        )

    def _noticed(self, ended: Endpoint) -> bool:
        """Whether the kubelet notices the end of a stream; draws the conclusions."""
        if self._settings.generation is Generation.A:
            if self._manager.is_current(ended):
                self._manager.stop(ended, self._settings.clock())
            return True
        if self._clients.pop(self._key(ended.resource, ended.socket), None) is None:
            return False
        self._conclude(ended)
        return True

    def _conclude(self, ended: Endpoint) -> None:
        """What the end of a stream means for its resource: here the generations differ most."""
        now, current = self._settings.clock(), self._manager.endpoint(ended.resource)
        if self._settings.generation is Generation.C or self._manager.is_current(ended):
            self._manager.stop(ended, now)
            return
        if current is None or self._settings.on_old_stream_end is OldStreamEnd.HARMLESS:
            return
        self._manager.stop(current, now)
        if self._settings.on_old_stream_end is OldStreamEnd.DISCONNECTS and current.serial in self._links:
            self._tasks.spawn(self._links[current.serial].connection.close())

    def connection(self, endpoint: Endpoint) -> PluginConnection:
        """The connection of an endpoint that is not stopped."""
        return self._links[endpoint.serial].connection

    def connected(self, resource: str) -> int:
        """How many streams of a resource are open."""
        return sum(self._links[serial].endpoint.resource == resource for serial in self._streams)

    async def cut(self, resource: str, how: Cut) -> None:
        """End the connections of a resource from the kubelet's side."""
        for link in list(self._links.values()):
            if link.endpoint.resource == resource:
                await link.connection.cut(how)

    def sever(self, how: Cut) -> None:
        """Freeze or reset every connection at once: a dying process says no more."""
        self._dialer.sever_all(how)

    async def shut(self, how: Cut) -> None:
        """The process ends: nothing is concluded from streams that end with it."""
        await self._tasks.cancel()
        await self._dialer.cut_all(how)
        self._links.clear()
        self._streams.clear()
        self._clients.clear()
