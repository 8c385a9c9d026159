"""A device plugin that does what a test tells it: the counterpart of the stand-in kubelet's own tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)
from testkit.standins.kubelet import EventKind, StandInKubelet
from testkit.waiting import PATIENCE

RESOURCE = "example.com/npu"
OTHER = "example.com/other"
FOUR = ("npu0", "npu1", "npu2", "npu3")
PREFERS = api.DevicePluginOptions(get_preferred_allocation_available=True)
PRE_STARTS = api.DevicePluginOptions(pre_start_required=True)

StartKubelet = Callable[..., Awaitable[StandInKubelet]]
"""The fixture `start_kubelet`: takes fields of KubeletSettings."""
StartPlugin = Callable[..., Awaitable["ScriptedPlugin"]]
"""The fixtures `start_plugin` (takes `resource`, `socket`) and `advertise` (also kubelet, devices, options)."""

CHANNEL_OPTIONS = (
    ("grpc.default_authority", "localhost"),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)
"""Each channel a connection of its own, and no calls repeated behind a test's back."""


def device(name: str, health: str = "Healthy", numa: Iterable[int] | None = None) -> api.Device:
    """A device; `numa` None sends no topology, an empty one an empty topology."""
    if numa is None:
        return api.Device(ID=name, health=health)
    nodes = [api.NUMANode(ID=node) for node in numa]
    return api.Device(ID=name, health=health, topology=api.TopologyInfo(nodes=nodes))


def devices(*names: str) -> list[api.Device]:
    """Healthy devices without topology."""
    return [device(name) for name in names]


def answer(**fields: object) -> api.AllocateResponse:
    """An answer to Allocate for one container."""
    one = api.ContainerAllocateResponse(**fields)  # type: ignore[arg-type]  # any of its fields
    return api.AllocateResponse(container_responses=[one])


async def allocatable(kubelet: StandInKubelet, count: int) -> None:
    """Wait until so many devices are."""
    await kubelet.until(lambda view: view.allocatable(RESOURCE) == count, within=PATIENCE)


async def back(kubelet: StandInKubelet, plugin: ScriptedPlugin, listed: list[api.Device] | None = None) -> None:
    """The plugin, whose socket a starting kubelet removes, comes back and is listed, perhaps with other devices."""
    await plugin.stop()
    await plugin.start()
    before, plugin.listed = kubelet.view().messages(plugin.resource), plugin.listed if listed is None else listed
    await plugin.register()
    await kubelet.until(lambda view: view.messages(plugin.resource) > before, within=PATIENCE)


async def ended(kubelet: StandInKubelet, count: int = 1) -> str:
    """Wait for the end of so many streams; why the last ended."""
    await kubelet.until(lambda view: view.count(EventKind.STREAM_ENDED, RESOURCE) >= count, within=PATIENCE)
    return kubelet.events_of(EventKind.STREAM_ENDED)[count - 1].text


@dataclass(frozen=True, slots=True)
class Failure:
    """An error a call ends with."""

    code: grpc.StatusCode
    text: str


@dataclass(slots=True)
class Stream:
    """One ListAndWatch call."""

    queue: asyncio.Queue[list[api.Device] | Failure | None] = field(default_factory=asyncio.Queue)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0


Context = grpc.aio.ServicerContext[api.Empty, api.Empty]
Allocate = Callable[[api.AllocateRequest], api.AllocateResponse | Failure]
Prefer = Callable[[api.ContainerPreferredAllocationRequest], Iterable[str] | Failure | None]


def env_of_ids(request: api.AllocateRequest) -> api.AllocateResponse:
    """One device file and one variable naming the devices, for every container."""
    return api.AllocateResponse(
        container_responses=[
            api.ContainerAllocateResponse(
                envs={"NPUS": ",".join(sorted(one.devices_ids))},
                devices=[
                    api.DeviceSpec(container_path=f"/dev/{name}", host_path=f"/dev/{name}", permissions="rw")
                    for name in sorted(one.devices_ids)
                ],
            )
            for one in request.container_requests
        ]
    )


class ScriptedPlugin(DevicePluginServicer):
    """A plugin on a socket of its own. What it is asked is kept; what it answers is set by the test."""

    def __init__(self, directory: Path, resource: str = RESOURCE, socket: str = "plugin.sock") -> None:
        self.directory = directory
        self.resource = resource
        self.socket = socket
        self.options: api.DevicePluginOptions | Failure = api.DevicePluginOptions()
        self.on_allocate: Allocate = env_of_ids
        self.on_prefer: Prefer = lambda _: None
        self.on_pre_start: Failure | None = None
        self.hangs = False
        """Whether Allocate and PreStartContainer do not answer until `go_on` is set."""
        self.go_on = asyncio.Event()
        self.asked_to_allocate = asyncio.Event()
        self.listed: list[api.Device] | None = None
        """What a stream begins with; None begins with silence."""
        self.streams: list[Stream] = []
        self.options_calls = 0
        self.allocations: list[api.AllocateRequest] = []
        self.preferences: list[api.ContainerPreferredAllocationRequest] = []
        self.pre_starts: list[tuple[str, ...]] = []
        self._server: grpc.aio.Server | None = None
        self._changed = asyncio.Condition()

    async def start(self) -> None:
        """Serve."""
        assert self._server is None
        self._server = grpc.aio.server()
        add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.directory / self.socket}")
        await self._server.start()

    async def stop(self) -> None:
        """Go away, with all streams."""
        server, self._server = self._server, None
        if server:
            await server.stop(None)

    async def register(
        self,
        *,
        version: str = "v1beta1",
        resource: str | None = None,
        options: api.DevicePluginOptions | None = None,
    ) -> None:
        """Call Register on kubelet.sock, and return once it answers."""
        target = f"unix:{self.directory / 'kubelet.sock'}"
        async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
            await RegistrationStub(channel).Register(
                api.RegisterRequest(
                    version=version,
                    endpoint=self.socket,
                    resource_name=self.resource if resource is None else resource,
                    options=options,
                ),
                timeout=PATIENCE,
            )

    def send(self, listed: list[api.Device]) -> None:
        """A message on every open stream, and the first of every later one."""
        self.listed = listed
        for stream in self.open_streams:
            stream.queue.put_nowait(listed)

    def end(self, stream: Stream, failure: Failure | None = None) -> None:
        """End a stream, in order or with an error."""
        stream.queue.put_nowait(failure)

    @property
    def open_streams(self) -> list[Stream]:
        """Streams the plugin believes to be open."""
        return [stream for stream in self.streams if not stream.closed.is_set()]

    async def opened(self, count: int) -> Stream:
        """Wait for so many ListAndWatch calls in all; the last of them."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.streams) >= count)
        return self.streams[count - 1]

    async def GetDevicePluginOptions(  # noqa: N802 - the service's name for it
        self, request: api.Empty, context: grpc.aio.ServicerContext[api.Empty, api.DevicePluginOptions]
    ) -> api.DevicePluginOptions:
        del request
        self.options_calls += 1
        if isinstance(self.options, Failure):
            await context.abort(self.options.code, self.options.text)
        assert isinstance(self.options, api.DevicePluginOptions)
        return self.options

    async def ListAndWatch(  # noqa: N802 - the service's name for it
        self, request: api.Empty, context: grpc.aio.ServicerContext[api.Empty, api.ListAndWatchResponse]
    ) -> AsyncIterator[api.ListAndWatchResponse]:
        del request
        stream = await self._open()
        try:
            while isinstance(listed := await stream.queue.get(), list):
                yield api.ListAndWatchResponse(devices=listed)
                stream.sent += 1
            if listed is not None:
                await context.abort(listed.code, listed.text)
        finally:
            stream.closed.set()

    async def _open(self) -> Stream:
        stream = Stream()
        if self.listed is not None:
            stream.queue.put_nowait(self.listed)
        async with self._changed:
            self.streams.append(stream)
            self._changed.notify_all()
        return stream

    async def GetPreferredAllocation(  # noqa: N802 - the service's name for it
        self,
        request: api.PreferredAllocationRequest,
        context: grpc.aio.ServicerContext[api.PreferredAllocationRequest, api.PreferredAllocationResponse],
    ) -> api.PreferredAllocationResponse:
        self.preferences += request.container_requests
        answer = self.on_prefer(request.container_requests[0])
        if isinstance(answer, Failure):
            await context.abort(answer.code, answer.text)
        if answer is None or isinstance(answer, Failure):
            return api.PreferredAllocationResponse()
        one = api.ContainerPreferredAllocationResponse(deviceIDs=answer)
        return api.PreferredAllocationResponse(container_responses=[one])

    async def Allocate(  # noqa: N802 - the service's name for it
        self,
        request: api.AllocateRequest,
        context: grpc.aio.ServicerContext[api.AllocateRequest, api.AllocateResponse],
    ) -> api.AllocateResponse:
        self.allocations.append(request)
        self.asked_to_allocate.set()
        await self._hang()
        answer = self.on_allocate(request)
        if isinstance(answer, Failure):
            await context.abort(answer.code, answer.text)
        assert isinstance(answer, api.AllocateResponse)
        return answer

    async def PreStartContainer(  # noqa: N802 - the service's name for it
        self,
        request: api.PreStartContainerRequest,
        context: grpc.aio.ServicerContext[api.PreStartContainerRequest, api.PreStartContainerResponse],
    ) -> api.PreStartContainerResponse:
        self.pre_starts.append(tuple(request.devices_ids))
        await self._hang()
        if self.on_pre_start:
            await context.abort(self.on_pre_start.code, self.on_pre_start.text)
        return api.PreStartContainerResponse()

    async def _hang(self) -> None:
        if self.hangs:
            await self.go_on.wait()
