"""The kubelet's questions and our answers: gRPC on one side, values on the other. Decides nothing itself."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError

from npu_core.arch import Arch
from npu_core.partition import Unit
from npu_core.service.logs import EventLog
from npu_device_plugin.allocation.grants import PERMISSIONS, DeviceInjection, Grant, grant
from npu_device_plugin.allocation.preference import preferred
from npu_device_plugin.allocation.resource_state import KEPT, ListedUnit, Offer
from npu_device_plugin.cdi import device_name
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as pb
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import DevicePluginServicer
from npu_device_plugin.kubelet.listeners import Listeners, Streams

API_VERSION = "v1beta1"
HEALTHY = "Healthy"
UNHEALTHY = "Unhealthy"
MAX_STREAMS = 256
"""Largest number of open streams of a resource. The kubelet needs one."""
MAX_CONTAINERS = 1024
"""Largest number of containers in a request. The kubelet asks for one container at a time."""
MAX_SHOWN_ID = 100
"""Largest number of characters of an unknown id that an answer repeats. gRPC limits the length of an error message."""

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
        streams: every stream that clients have opened.
        listeners: which of these streams may be the kubelet's. The supervisor sets this at each registration.
    """

    def __init__(
        self,
        resource: str,
        offer: Offer,
        telemetry: Counters | None = None,
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
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_worth_a_line)
        self.resource = resource
        self.streams = Streams()
        self.listeners = Listeners()
        self._offer = offer
        self._units = offer.by_id
        self._telemetry = telemetry or Counters()
        self._injection = injection
        self._on_grant = on_grant
        self._changed = asyncio.Event()
        self._edition = 0
        self._endings: dict[int, asyncio.Event] = {}
        self._streams_changed = asyncio.Event()

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
        """Whether a stream is open that may be the kubelet's."""
        return self.listeners.possible(self.streams) > 0

    async def wait_for_streams(self, known: Streams) -> None:
        """Return as soon as the streams are other ones than ``known``: one was opened, or one has ended."""
        while self.streams == known:
            await self._streams_changed.wait()

    def end_streams(self) -> None:
        """Let every stream end now, as before the server stops."""
        for ending in self._endings.values():
            ending.set()

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
        del request
        if len(self._endings) >= MAX_STREAMS and not self._end_oldest_stranger():
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_STREAMS} streams of {self.resource} are open"
            )
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
            self._close(number)

    def _open(self, ending: asyncio.Event) -> int:
        was_streaming = self.streaming
        number = self.streams.opened + 1
        self._endings[number] = ending
        self._set_streams(number)
        self._telemetry.streams[self.resource] += 1
        if self.streaming and not was_streaming:
            _log.info(Event.KUBELET_LISTENS, resource=self.resource, units=len(self._offer.units))
        else:
            _log.debug(Event.ANOTHER_CLIENT, resource=self.resource)
        return number

    def _close(self, number: int) -> None:
        self._endings.pop(number, None)
        self._set_streams(self.streams.opened)

    def _set_streams(self, opened: int) -> None:
        self.streams = Streams(opened, frozenset(self._endings))
        self._streams_changed.set()
        self._streams_changed = asyncio.Event()

    def _end_oldest_stranger(self) -> bool:
        """End the oldest stream that cannot be the kubelet's, to make room for a new one; whether there was one."""
        strangers = [number for number in self._endings if not self.listeners.may_be(number)]
        if strangers:
            self._endings[min(strangers)].set()
            self._close(min(strangers))
        return bool(strangers)

    async def GetPreferredAllocation(  # noqa: N802  # the protocol's name
        self, request: pb.PreferredAllocationRequest, context: "_Context"
    ) -> pb.PreferredAllocationResponse:
        """The units this plugin would take. Never an error for a kubelet's request: that would fail the pod."""
        await _check_number(len(request.container_requests), context)
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
            await _check_number(len(request.container_requests), context)
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
            _log.info(Event.UNITS_ALLOCATED, resource=self.resource, units=",".join(unit.id for unit in units))

    async def _granted(self, unit_ids: Iterable[str], context: "_Context") -> tuple[Unit, ...]:
        units: list[Unit] = []
        for unit_id in unit_ids:
            unit = self._units.get(unit_id)
            if unit is None and any(kept.id == unit_id for kept in self._offer.kept):
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"unit {unit_id} is unhealthy: {KEPT}")
            if unit is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, f"{self.resource} has no unit {_shown(unit_id)}")
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


async def _check_number(containers: int, context: "_Context") -> None:
    """End the call if the request has too many containers: no other call is answered meanwhile."""
    if containers > MAX_CONTAINERS:
        text = f"the request has {containers} containers: expected at most {MAX_CONTAINERS}"
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)


def _shown(unit_id: str) -> str:
    if len(unit_id) <= MAX_SHOWN_ID:
        return repr(unit_id)
    return f"{unit_id[:MAX_SHOWN_ID]!r}... ({len(unit_id)} characters)"


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not of a request that is no message: its client is told, and is no kubelet."""
    return not (record.exc_info and isinstance(record.exc_info[1], DecodeError))


def _device(unit: ListedUnit) -> pb.Device:
    # A node the machine does not know must be left out: as -1 it would match no pod's alignment.
    nodes = [] if unit.numa_node is None else [pb.NUMANode(ID=unit.numa_node)]
    topology = pb.TopologyInfo(nodes=nodes) if nodes else None
    return pb.Device(ID=unit.id, health=HEALTHY if unit.healthy else UNHEALTHY, topology=topology)
