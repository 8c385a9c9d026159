"""Staying registered: one resource's server, its registration, and everything that can happen to them.

    SERVING ──► REGISTERING ──► STREAMING ──► LOST ──┐
       ▲                                             │   the kubelet restarted; its stream ended or never came;
       └─────────────────────────────────────────────┘   our own socket was removed or replaced

The server is up before the kubelet hears of it, because it calls back from inside the registration. The kubelet never
calls back by itself again: whatever is lost, it is we who register anew. A server whose socket is still in its place
goes on serving through all of it.
"""

import asyncio
import os
import random
from collections.abc import Coroutine
from contextlib import suppress
from enum import StrEnum

import grpc

from npu_core.checkpoint import FileStamp, checkpoint_stamp, read_checkpoint
from npu_core.errors import FormatError
from npu_core.os_errors import explain
from npu_core.service.logs import EventLog, without_numbers
from npu_core.threads import grpc_refusal
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import add_DevicePluginServicer_to_server
from npu_device_plugin.kubelet.listeners import FIRST_STREAM_TIMEOUT, LATE, Listeners
from npu_device_plugin.kubelet.registration import (
    KUBELET_SOCKET,
    HeldSocketError,
    Registration,
    RegistrationError,
    answers,
    register,
)
from npu_device_plugin.kubelet.servicer import OfferServicer
from npu_device_plugin.kubelet.sockets import (
    SocketIdentity,
    check_bindable,
    give_name,
    no_socket,
    remove_if_ours,
    remove_stale_sockets,
    socket_identity,
)

_log = EventLog(__name__)

_SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.enable_channelz", 0),
    # A kubelet's largest request names each unit of the node twice.
    ("grpc.max_receive_message_length", 1 << 20),
)
POLL_INTERVAL = 1.0
"""Seconds between two looks at the sockets: three system calls, and a restarted kubelet is known within one."""
_QUICK_POLL_INTERVAL = POLL_INTERVAL / 4
"""Seconds, while not registered: every look may end an outage."""
ANSWER_TIMEOUT = 1.0
"""Seconds for the kubelet to write its checkpoint after a list message."""
_ANSWER_POLL_INTERVAL = 0.05
"""Seconds between two looks whether it has."""
BRIEF = 1.0
"""Seconds. A registration whose stream ends sooner has failed: the next attempt may wait."""
_BACK_OFF = (0.2, 10.0)
_STOP_GRACE = 0.5
_START = "start"


class Loss(StrEnum):
    """Why the resource has to be registered anew."""

    KUBELET_RESTARTED = "the kubelet's socket is another one"
    STREAM_ENDED = "the kubelet's stream ended"
    NO_STREAM = "the kubelet registered us but does not listen"
    OWN_SOCKET = "our socket was removed or replaced"


CAUSES = (_START, *(loss.name.lower() for loss in Loss))
"""Causes of a registration, as values of the label ``cause``."""


def back_off(attempt: int, jitter: float) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (from 0), with ``jitter`` from 0 to 1.

    Doubles from 0.2 s to 10 s; the jitter takes away up to half, so that nodes restarted together part ways.
    """
    first, most = _BACK_OFF
    wait: float = min(first * 2 ** min(attempt, 16), most)
    return wait * (1 - jitter / 2)


class Supervisor:
    """Keeps one resource registered for as long as it runs."""

    def __init__(
        self,
        registration: Registration,
        servicer: OfferServicer,
        scratch_name: str,
        telemetry: Counters | None = None,
    ) -> None:
        """A supervisor of what ``servicer`` answers for.

        Args:
            registration: what the kubelet is told.
            servicer: answers the kubelet.
            scratch_name: file name that no other server in the directory uses, for the time of starting.
            telemetry: where registrations are counted.
        """
        self._registration = self._by_name = registration
        self._telemetry = telemetry or Counters()
        self._cause = _START
        self._servicer = servicer
        self._kubelet_path = f"{registration.plugin_dir}/{KUBELET_SOCKET}"
        self._scratch_path = f"{registration.plugin_dir}/{scratch_name}"
        self._server: grpc.aio.Server | None = None
        self._keeper: grpc.aio.Channel | None = None
        self._own: SocketIdentity | None = None
        self._registered_with: SocketIdentity | None = None
        self._registered_at = 0.0
        self._checkpoint_before: FileStamp | None = None
        self._is_shown = False
        self._is_mute = False
        self._failures = 0
        self._socket_number = 0
        self._numbered_for: SocketIdentity | None = None

    @property
    def _own_path(self) -> str:
        return f"{self._registration.plugin_dir}/{self._registration.endpoint}"

    @property
    def ready(self) -> bool:
        """Whether the resource is registered and the kubelet listens."""
        return self._registered_with is not None and self._servicer.streaming

    async def run(self) -> None:
        """Stay registered until cancelled; then the streams end, the server stops and the socket goes."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._establish()
                since = loop.time()
                loss = await self._watch()
                _log.warning(Event.REGISTRATION_LOST, resource=self._registration.resource, cause=loss)
                self._cause = loss.name.lower()
                kubelet, self._registered_with = self._registered_with, None
                # What a dead kubelet left open must not pass for the next one listening.
                self._servicer.end_streams()
                if loop.time() - since < BRIEF:
                    await self._wait_after_failure(kubelet)
                else:
                    self._failures = 0
        finally:
            await self._stop()
            if self._keeper is not None:
                await self._keeper.close()

    async def _establish(self) -> None:
        """Serve and register, however many attempts it takes. A complaint is told once, not at every attempt."""
        logged_reason = ""
        while True:
            kubelet = self._kubelet_now()
            try:
                await self._attempt(kubelet)
            except (RegistrationError, OSError, RuntimeError) as error:
                self._telemetry.failed_registrations[self._registration.resource] += 1
                reason = self._explained(error) if isinstance(error, OSError) else str(error)
                if without_numbers(reason) != logged_reason:
                    logged_reason = without_numbers(reason)
                    _log.warning(Event.CANNOT_REGISTER, resource=self._registration.resource, reason=reason)
            else:
                return
            await self._wait_after_failure(kubelet)

    def _explained(self, error: OSError) -> str:
        directory = self._registration.plugin_dir
        return explain(error, directory, setting="--plugin-dir", purpose="the plugin's socket", wants=os.W_OK)

    async def _wait_after_failure(self, kubelet: SocketIdentity | None) -> None:
        """Wait before the next attempt, the longer the more have failed with this kubelet."""
        await self._pause(back_off(self._failures, random.random()), kubelet)  # noqa: S311  # spreads load, hides nothing
        self._failures = self._failures + 1 if self._kubelet_now() == kubelet else 0

    async def _attempt(self, kubelet: SocketIdentity | None) -> None:
        await self._choose_socket(kubelet)
        await self._serve()
        if kubelet is None:
            raise RegistrationError(no_socket(self._kubelet_path, "--plugin-dir"))
        # A kubelet that is quick listens before it has answered.
        self._servicer.listeners = Listeners(since=self._servicer.streams.opened)
        self._checkpoint_before = checkpoint_stamp(self._registration.plugin_dir)
        self._is_shown = False
        try:
            await self._unless_lost(register(self._registration), kubelet)
        except HeldSocketError:
            self._socket_number += 1
            raise
        self._registered_with, self._registered_at = kubelet, asyncio.get_running_loop().time()
        self._telemetry.registrations[self._registration.resource, self._cause] += 1
        _log.info(Event.REGISTERED, resource=self._registration.resource)

    async def _choose_socket(self, kubelet: SocketIdentity | None) -> None:
        """Use another socket while this kubelet refuses the first one. A new kubelet process refuses none."""
        if kubelet != self._numbered_for:
            self._socket_number, self._numbered_for = 0, kubelet
        chosen = self._by_name.on_socket(self._socket_number)
        if chosen != self._registration:
            await self._stop()
            self._registration = chosen

    async def _unless_lost(self, registering: Coroutine[None, None, None], kubelet: SocketIdentity) -> None:
        """Wait for the registration, but not for a kubelet that has gone or looks for a socket that has gone."""
        task = asyncio.ensure_future(registering)
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=_QUICK_POLL_INTERVAL)
                if done:
                    return task.result()
                if loss := self._loss(kubelet):
                    raise RegistrationError(f"given up: {loss}")
        finally:
            task.cancel()

    async def _pause(self, seconds: float, kubelet: SocketIdentity | None) -> None:
        """Wait before the next attempt, unless another kubelet turns up meanwhile."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        # Looked at now and then rather than watched: nodes run out of inotify instances, and three system calls a
        # second cost nothing.
        while (left := end - loop.time()) > 0 and self._kubelet_now() == kubelet:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _QUICK_POLL_INTERVAL))

    async def _serve(self) -> None:
        """Be served under our own name; does nothing if we are."""
        if self._is_served():
            return
        await self._stop()
        self._start_grpc()
        remove_stale_sockets(self._registration.plugin_dir)
        if socket_identity(self._own_path) and await answers(self._own_path):
            raise RegistrationError(f"another instance serves {self._own_path}")
        check_bindable(self._scratch_path)
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        add_DevicePluginServicer_to_server(self._servicer, server)
        server.add_insecure_port(f"unix:{self._scratch_path}")
        await server.start()
        try:
            own = give_name(self._scratch_path, self._own_path)
        except OSError:
            await server.stop(None)  # which removes the scratch name
            raise
        if own is None:
            await server.stop(None)
            raise RegistrationError(f"{self._own_path} was removed as soon as it was there")
        self._server, self._own = server, own
        _log.info(Event.SERVING, resource=self._registration.resource, socket=self._own_path)

    def _start_grpc(self) -> None:
        """Start gRPC, and keep its threads from one server to the next, as the system may refuse new threads later.

        gRPC ends its threads when it has neither a server nor a channel. So the plugin keeps a channel that nobody
        uses.
        """
        if self._keeper is not None:
            return
        if refused := grpc_refusal():
            raise RegistrationError(f"the system refuses the threads to serve with: {refused}")
        self._keeper = grpc.aio.insecure_channel(f"unix:{self._scratch_path}")

    def _is_served(self) -> bool:
        return self._own is not None and socket_identity(self._own_path) == self._own

    def _kubelet_now(self) -> SocketIdentity | None:
        return socket_identity(self._kubelet_path, through_links=True)

    async def _watch(self) -> Loss:
        """Return as soon as the kubelet, its stream or our socket is not what it was when we registered."""
        kubelet, servicer = self._registered_with, self._servicer
        while not (loss := self._loss(kubelet)):
            streams, age = servicer.streams, asyncio.get_running_loop().time() - self._registered_at
            if not servicer.streaming:
                if found := self._loss_without_stream(age):
                    return found
            elif servicer.listeners.in_doubt(streams):
                if not await self._kubelet_listens(kubelet):
                    return self._loss(kubelet) or Loss.STREAM_ENDED
                continue
            elif age >= FIRST_STREAM_TIMEOUT and self._lacks_sign() and not await self._kubelet_listens(kubelet):
                # A kubelet that cannot write its checkpoint gives no sign either. So no second registration for this.
                self._is_mute = True
                return self._loss(kubelet) or Loss.NO_STREAM
            await _within(min(POLL_INTERVAL, self._until_deadline(age)), servicer.wait_for_streams(streams))
        return loss

    def _loss_without_stream(self, age: float) -> Loss | None:
        """What is lost, ``age`` seconds after the registration, if no stream is open that may be the kubelet's."""
        listeners = self._servicer.listeners
        if not listeners.ended(self._servicer.streams):
            return Loss.NO_STREAM if age >= FIRST_STREAM_TIMEOUT else None
        # Another client may have been quicker than the kubelet, and be gone already.
        is_over = listeners.until is not None or age >= LATE or self._has_no_units or self._has_sign()
        return Loss.STREAM_ENDED if is_over else None

    def _until_deadline(self, age: float) -> float:
        """Seconds until a deadline of :mod:`npu_device_plugin.kubelet.listeners` is over; a pulse if none is left."""
        return min((end - age for end in (LATE, FIRST_STREAM_TIMEOUT) if end > age), default=POLL_INTERVAL)

    # -- whether the kubelet listens ------------------------------------------------------------------------------

    async def _kubelet_listens(self, kubelet: SocketIdentity | None) -> bool:
        """Find out whether one of the open streams is the kubelet's: by a list message, which makes the kubelet write.

        Returns:
            False also if the kubelet does not tell, as where no unit is healthy or its checkpoint cannot be read.
        """
        # A kubelet whose stream has ended knows by now. So what it writes from now on tells.
        await asyncio.sleep(_QUICK_POLL_INTERVAL)
        directory, servicer, loop = self._registration.plugin_dir, self._servicer, asyncio.get_running_loop()
        if self._has_no_units:
            return False
        stamp, end = checkpoint_stamp(directory), loop.time() + ANSWER_TIMEOUT
        servicer.resend()
        while loop.time() < end and not self._loss(kubelet):
            before = servicer.streams
            await asyncio.sleep(_ANSWER_POLL_INTERVAL)
            if checkpoint_stamp(directory) != stamp:
                if listens := self._is_named():
                    servicer.listeners = servicer.listeners.confirmed(before, servicer.streams)
                    self._is_shown, self._is_mute = True, False
                return listens
        return False

    def _has_sign(self) -> bool:
        """Whether the kubelet's checkpoint shows that the kubelet has listened since this registration."""
        if not self._is_shown:
            is_written = checkpoint_stamp(self._registration.plugin_dir) != self._checkpoint_before
            self._is_shown = is_written and self._is_named()
            self._is_mute = self._is_mute and not self._is_shown
        return self._is_shown

    def _lacks_sign(self) -> bool:
        """Whether the checkpoint should show that the kubelet listens, and does not."""
        if self._is_shown or self._is_mute or self._has_no_units:
            return False
        return checkpoint_stamp(self._registration.plugin_dir) is not None and not self._has_sign()

    @property
    def _has_no_units(self) -> bool:
        """Whether no unit is healthy. Then the checkpoint does not show whether the kubelet listens."""
        return not any(unit.healthy for unit in self._servicer.offer.listing)

    def _is_named(self) -> bool:
        """Whether the checkpoint has healthy units of this resource."""
        try:
            healthy = read_checkpoint(self._registration.plugin_dir).healthy
        except FormatError:
            return False
        return healthy is not None and self._registration.resource in healthy

    # -- the sockets ----------------------------------------------------------------------------------------------

    def _loss(self, kubelet: SocketIdentity | None) -> Loss | None:
        if not self._is_served():
            return Loss.OWN_SOCKET
        # A kubelet that is away for a moment leaves its streams open or ends them; only another one is another one.
        if self._kubelet_now() not in {None, kubelet}:
            return Loss.KUBELET_RESTARTED
        return None

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        # A server that stops with open streams waits for its whole grace.
        self._servicer.end_streams()
        await server.stop(_STOP_GRACE)
        remove_if_ours(self._own_path, self._own)
        self._own = None


async def _within(seconds: float, happening: Coroutine[None, None, None]) -> None:
    """Wait until it happens, but not for longer."""
    # Not wait_for: before Python 3.12 it loses a cancellation that comes as the thing happens.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await happening
