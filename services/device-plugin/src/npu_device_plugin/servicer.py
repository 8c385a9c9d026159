"""The kubelet's questions and our answers: gRPC on one side, values on the other. Decides nothing itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

import grpc

from npu_core.arch import Arch
from npu_core.partition import Unit
from npu_core.service.logs import EventLog
from npu_device_plugin._kubelet import deviceplugin_pb2 as pb
from npu_device_plugin._kubelet.deviceplugin_pb2_grpc import DevicePluginServicer
from npu_device_plugin.cdi import device_name
from npu_device_plugin.grants import PERMISSIONS, Grant, grant
from npu_device_plugin.injection import DeviceInjection
from npu_device_plugin.offer import KEPT, ListedUnit, Offer
from npu_device_plugin.preference import preferred
from npu_device_plugin.telemetry import Telemetry

API_VERSION = "v1beta1"
HEALTHY = "Healthy"
UNHEALTHY = "Unhealthy"

_log = EventLog(__name__)

if TYPE_CHECKING:
    from google.protobuf.message import Message

    _Context = grpc.aio.ServicerContext[Message, Message]


def options() -> pb.DevicePluginOptions:
    """What this plugin can do. Told at registration and when asked: which of the two counts depends on the kubelet."""
    return pb.DevicePluginOptions(pre_start_required=False, get_preferred_allocation_available=True)


class OfferServicer(DevicePluginServicer):
    """Answers for one resource from the offer last published.

    Attributes:
        resource: the resource's name, for the log.
        streams_opened: how many streams the kubelet has opened so far.
    """

    def __init__(
        self,
        resource: str,
        offer: Offer,
        telemetry: Telemetry | None = None,
        injection: DeviceInjection = DeviceInjection.FILES,
        on_grant: Callable[[Arch, tuple[Unit, ...]], None] = lambda _arch, _units: None,
    ) -> None:
        """A servicer of ``resource``.

        Args:
            resource: its name.
            offer: what it starts with.
            telemetry: where streams, messages and answers are counted.
            injection: what an answer to Allocate holds.
            on_grant: told of every unit that was given out, before the kubelet hears of it.
        """
        self.resource = resource
        self.streams_opened = 0
        self._offer = offer
        self._units = offer.by_id
        self._telemetry = telemetry or Telemetry()
        self._injection = injection
        self._on_grant = on_grant
        self._changed = asyncio.Event()
        self._edition = 0
        self._streams: set[asyncio.Event] = set()
        self._last_ended = 0
        self._stream_opened = asyncio.Event()
        self._stream_ended = asyncio.Event()

    # -- for the supervisor ---------------------------------------------------------------------------------------

    def publish(self, offer: Offer) -> bool:
        """Answer from this offer from now on. Tells whether the kubelet will see a difference."""
        changed = offer.listing != self._offer.listing
        self._offer, self._units = offer, offer.by_id
        if changed:
            self._changed.set()
            self._changed = asyncio.Event()
        return changed

    def resend(self) -> None:
        """Send the same list once more: the kubelet then writes its checkpoint."""
        self._edition += 1
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def offer(self) -> Offer:
        """The offer last published."""
        return self._offer

    @property
    def streaming(self) -> bool:
        """Whether the kubelet listens."""
        return bool(self._streams)

    async def wait_for_stream(self, after: int) -> None:
        """Return as soon as the kubelet has opened more than ``after`` streams."""
        while self.streams_opened <= after:
            await self._stream_opened.wait()

    async def wait_for_stream_end(self, after: int) -> None:
        """Return as soon as one of the streams opened after the first ``after`` ones has ended.

        Not only when all have: nobody can tell which of them is the kubelet's.
        """
        while self._last_ended <= after:
            await self._stream_ended.wait()

    def end_streams(self) -> None:
        """Let every stream end now, as before the server stops."""
        for ended in self._streams:
            ended.set()

    # -- the kubelet's questions ----------------------------------------------------------------------------------

    async def GetDevicePluginOptions(  # noqa: N802  # the protocol's name
        self, request: pb.Empty, context: "_Context"
    ) -> pb.DevicePluginOptions:
        """What this plugin can do."""
        del request, context
        return options()

    async def ListAndWatch(  # noqa: N802  # the protocol's name
        self, request: pb.Empty, context: "_Context"
    ) -> AsyncIterator[pb.ListAndWatchResponse]:
        """The units, at once and whenever the kubelet would see a difference; a slow reader gets the latest only."""
        del request, context
        ended = asyncio.Event()
        number = self._open(ended)
        try:
            told: tuple[int, tuple[ListedUnit, ...]] | None = None
            while not ended.is_set():
                changed, listing = self._changed, self._offer.listing
                if (self._edition, listing) != told:
                    told = self._edition, listing
                    self._telemetry.sends[self.resource] += 1
                    yield pb.ListAndWatchResponse(devices=[_device(unit) for unit in listing])
                await _first_of(changed, ended)
        finally:
            self._close(ended, number)

    def _open(self, ended: asyncio.Event) -> int:
        self._streams.add(ended)
        self.streams_opened += 1
        self._telemetry.streams[self.resource] += 1
        self._stream_opened.set()
        self._stream_opened = asyncio.Event()
        _log.info("the kubelet listens", resource=self.resource, units=len(self._offer.units))
        return self.streams_opened

    def _close(self, ended: asyncio.Event, number: int) -> None:
        self._streams.discard(ended)
        self._last_ended = max(self._last_ended, number)
        self._stream_ended.set()
        self._stream_ended = asyncio.Event()

    async def GetPreferredAllocation(  # noqa: N802  # the protocol's name
        self, request: pb.PreferredAllocationRequest, context: "_Context"
    ) -> pb.PreferredAllocationResponse:
        """The units this plugin would take. Never an error: that would fail the pod."""
        del context
        units = [offered.unit for offered in self._offer.units]
        answers = [
            preferred(units, each.available_deviceIDs, each.must_include_deviceIDs, each.allocation_size)
            for each in request.container_requests
        ]
        return pb.PreferredAllocationResponse(
            container_responses=[pb.ContainerPreferredAllocationResponse(deviceIDs=answer) for answer in answers]
        )

    async def Allocate(  # noqa: N802  # the protocol's name
        self, request: pb.AllocateRequest, context: "_Context"
    ) -> pb.AllocateResponse:
        """Device files and environment for each container, exactly one answer per request."""
        begun = time.perf_counter()
        try:
            containers = [await self._granted(each.devices_ids, context) for each in request.container_requests]
        except grpc.aio.AbortError:
            self._telemetry.allocations[self.resource, "refused"] += 1
            raise
        for units in containers:
            self._on_grant(self._offer.arch, units)
        answer = pb.AllocateResponse(container_responses=[self._response(grant(units)) for units in containers])
        self._telemetry.allocations[self.resource, "granted"] += len(containers)
        self._telemetry.latency_of(self.resource).observe(time.perf_counter() - begun)
        # The kubelet, and the pod, need not wait for the log.
        asyncio.get_running_loop().call_soon(self._tell_of, containers)
        return answer

    def _tell_of(self, containers: Iterable[tuple[Unit, ...]]) -> None:
        for units in containers:
            _log.info("units allocated", resource=self.resource, units=",".join(unit.id for unit in units))

    async def _granted(self, unit_ids: Iterable[str], context: "_Context") -> tuple[Unit, ...]:
        units: list[Unit] = []
        for unit_id in unit_ids:
            unit = self._units.get(unit_id)
            if unit is None and any(kept.id == unit_id for kept in self._offer.kept):
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"unit {unit_id} is unhealthy: {KEPT}")
            if unit is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, f"{self.resource} has no unit {unit_id!r}")
            elif not unit.healthy:
                reasons = "; ".join(unit.objections)
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"unit {unit_id} is unhealthy: {reasons}")
            else:
                units.append(unit.unit)
        return tuple(units)

    def _response(self, granted: Grant) -> pb.ContainerAllocateResponse:
        names = granted.unit_ids if self._injection.cdi else ()
        paths = granted.paths if self._injection.files else ()
        return pb.ContainerAllocateResponse(
            envs=dict(granted.environment),
            devices=[pb.DeviceSpec(container_path=path, host_path=path, permissions=PERMISSIONS) for path in paths],
            cdi_devices=[pb.CDIDevice(name=device_name(self._offer.arch, name)) for name in names],
        )

    async def PreStartContainer(  # noqa: N802  # the protocol's name
        self, request: pb.PreStartContainerRequest, context: "_Context"
    ) -> pb.PreStartContainerResponse:
        """Nothing to be done before a start; the kubelet was told not to ask."""
        del request, context
        return pb.PreStartContainerResponse()


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


def _device(unit: ListedUnit) -> pb.Device:
    # A node the machine does not know must be left out: as -1 it would match no pod's alignment.
    nodes = [] if unit.numa_node is None else [pb.NUMANode(ID=unit.numa_node)]
    topology = pb.TopologyInfo(nodes=nodes) if nodes else None
    return pb.Device(ID=unit.id, health=HEALTHY if unit.healthy else UNHEALTHY, topology=topology)
