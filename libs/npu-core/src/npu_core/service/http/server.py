"""Listens, and lets clients in: as many as there is room for, each by the TLS that is in force at that moment."""

import asyncio
import errno
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from npu_core.os_errors import explain
from npu_core.service.events import SharedEvent
from npu_core.service.http.connection import Connection, Limits
from npu_core.service.http.messages import Answer, Request
from npu_core.service.http.pages import PROBES, Pages
from npu_core.service.http.room import Room, origin
from npu_core.service.http.traffic import Refusal, Traffic
from npu_core.service.listening import listen
from npu_core.service.logs import EventLog

if TYPE_CHECKING:
    import ssl

_log = EventLog(__name__)
_BUFFER_BYTES = 65536
_TURNS = 32
"""Turns of the loop in which a new client can ask before newer clients need its room, however fast those come."""
_RESERVED = 128
"""File descriptors that clients never get: the service needs them for cards, files and the kubelet."""
_FEWEST = 16
"""Connections that are allowed however few descriptors the process may open."""
_REST_SECONDS = 1.0
"""Without accepting, when the process has no file descriptor left."""
_QUIET_SECONDS = 60.0
"""Without a client cut off for room, after which that is said to be over."""
_CUTTING_SECONDS = 0.1
"""For connections that were cut off to say so."""
_GOODBYE_SECONDS = 2.0
"""For a client to end TLS in good order."""
_UNSEEN = object()
_LACKS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class Tls:
    """How connections are encrypted.

    Attributes:
        context: of the handshake.
        admits: whether a client with this certificate may ask; as ``SSLObject.getpeercert`` gives it, or None.
        proof: what clients have to prove. Connections that were made under another one end when this one is first seen.
    """

    context: "ssl.SSLContext"
    admits: Callable[[Mapping[str, Any] | None], bool]
    proof: Hashable = ()


async def no_tls() -> Tls | None:
    """Connections are not encrypted."""
    return None


class Server:
    """Serves until it is closed. May be used as ``async with``.

    Attributes:
        limits: what clients may take.
        buffer: what clients send is read into it.
        headers: names of the headers that the pages read.
        addresses: where it listens; the port that was found, where 0 was asked for.
    """

    def __init__(
        self,
        pages: Pages,
        listeners: Iterable[socket.socket],
        limits: Limits,
        traffic: Traffic,
        tls: Callable[[], Awaitable[Tls | None]],
    ) -> None:
        """Serve from now on what comes to ``listeners``, which listen already and are closed with the server."""
        self.limits = limits
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        self.headers = pages.headers
        self._pages = pages
        self._traffic = traffic
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._listeners = list(listeners)
        self._clients: Room[Connection] = Room()
        self._takers: Room[Connection] = Room()
        self._arriving: dict[Connection, asyncio.Task[None]] = {}
        self._shaking: set[Connection] = set()
        self._left = asyncio.Event()
        self._turn = asyncio.Lock()
        self._faults: set[tuple[str, str]] = set()
        self._date = (0, b"")
        self._lack = 0
        self._crowded_until: float | None = None
        self._proof: Hashable = _UNSEEN
        self.addresses: tuple[tuple[str, int], ...] = tuple(each.getsockname()[:2] for each in self._listeners)
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connections(self) -> int:
        """How many are open, handshakes included."""
        return len(self._clients)

    async def close(self, seconds: float = 1.0) -> None:
        """Take no more, let the answers under way be taken for so long, then cut them off."""
        self.stop_listening()
        arriving = dict(self._arriving)
        for connection in arriving:
            self._cut_off(connection)
        await asyncio.gather(*arriving.values(), return_exceptions=True)
        for connection in self._clients.guests():
            connection.end_soon()
        await self._wait_for_last(seconds)
        for connection in self._clients.guests():
            connection.abort()
        await self._wait_for_last(_CUTTING_SECONDS)

    def stop_listening(self) -> None:
        """Take no more connections."""
        while self._listeners:
            listener = self._listeners.pop()
            self._loop.remove_reader(listener)
            listener.close()

    async def _wait_for_last(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._clients:
                    self._left.clear()
                    await self._left.wait()

    # -- clients come ----------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        for turn in range(max(1, self.limits.connections // _TURNS)):
            try:
                client, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # The kernel needs a free descriptor before it looks for a client. A client is sure to wait only in the
                # first turn, which the event loop asked for: nobody makes room for a client that is not there.
                if turn == 0 or error.errno not in _LACKS:
                    self._rest(listener, error)
                return
            if self._lack:
                self._lack = 0
                _log.info(SharedEvent.CAN_TAKE_CONNECTIONS)
            self._admit(client, str(address[0]))

    def _admit(self, client: socket.socket, address: str) -> None:
        if len(self._clients) >= self.limits.connections:
            self._make_room()
        client.setblocking(False)
        connection = Connection(self, address)
        self._clients.enter(connection, origin(address), self._loop.time())
        self._traffic.connections = len(self._clients)
        task = self._loop.create_task(self._connect(connection, client))
        self._arriving[connection] = task
        task.add_done_callback(lambda done: self._arrived(connection, done))

    def _arrived(self, connection: Connection, task: "asyncio.Task[None]") -> None:
        del self._arriving[connection]
        if not task.cancelled() and (error := task.exception()):
            self.lost(connection)
            _log.error(SharedEvent.CONNECTION_FAILED, reason=repr(error))

    def _make_room(self) -> None:
        going = self._clients.to_go(lambda connection: connection.is_taking)
        if going is None:
            return
        self.count(Refusal.ROOM)
        self._say_crowded()
        self._cut_off(going)

    def _cut_off(self, connection: Connection) -> None:
        connection.abort()
        # Before the handshake, the task itself sees that all is over, and closes the socket.
        if connection in self._shaking:
            self._arriving[connection].cancel()
        self.lost(connection)

    async def _connect(self, connection: Connection, client: socket.socket) -> None:
        tls = await self._tls()
        self._follow(None if tls is None else tls.proof)
        if connection.is_ending:
            client.close()
            return
        bounds = (self.limits.head_seconds, _GOODBYE_SECONDS) if tls else (None, None)
        self._shaking.add(connection)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: connection,
                client,
                ssl=tls.context if tls else None,
                ssl_handshake_timeout=bounds[0],
                ssl_shutdown_timeout=bounds[1],
            )
        except OSError as error:
            self._failed(connection, error)
            return
        finally:
            self._shaking.discard(connection)
        if tls and not tls.admits(transport.get_extra_info("peercert")):
            self._failed(connection, "none of the certificate's names is allowed")
            connection.abort()

    def _follow(self, proof: Hashable) -> None:
        """End the connections of clients who had to prove something else than clients have to prove now."""
        former, self._proof = self._proof, proof
        if former in {_UNSEEN, proof}:
            return
        for connection in self._clients.guests():
            # Those that wait for their handshake to begin will have to prove what the others prove.
            if connection not in self._arriving or connection in self._shaking:
                connection.end_soon()

    def _failed(self, connection: Connection, reason: object) -> None:
        self.count(Refusal.HANDSHAKE)
        _log.debug(
            SharedEvent.CLIENT_COULD_NOT_CONNECT, client=connection.client, reason=getattr(reason, "reason", reason)
        )
        self.lost(connection)

    def _rest(self, listener: socket.socket, error: OSError) -> None:
        if error.errno not in _LACKS:
            raise error
        if error.errno != self._lack:
            self._lack = error.errno or 0
            where = ",".join(f"{host}:{port}" for host, port in self.addresses)
            reason = explain(error, where, setting="--listen-address")
            _log.warning(SharedEvent.CANNOT_TAKE_CONNECTIONS, reason=reason)
        self._make_room()
        self._loop.remove_reader(listener)
        self._loop.call_later(_REST_SECONDS, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._accept, listener)

    def _say_crowded(self) -> None:
        now = self._loop.time()
        if self._crowded_until is None:
            _log.warning(SharedEvent.TOO_MANY_CLIENTS, connections=self.limits.connections)
            self._loop.call_later(_QUIET_SECONDS, self._say_quiet)
        self._crowded_until = now + _QUIET_SECONDS

    def _say_quiet(self) -> None:
        left = (self._crowded_until or 0.0) - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._say_quiet)
            return
        self._crowded_until = None
        _log.info(SharedEvent.NO_CLIENT_CUT_OFF)

    # -- for the connections ---------------------------------------------------------------------------------------

    def used(self, connection: Connection) -> None:
        """See :class:`~.connection.Host`."""
        if connection in self._takers:
            self._takers.leave(connection)
            self._pages.in_flight(len(self._takers))
        if connection in self._clients:
            self._clients.enter(connection, origin(connection.client), self._loop.time())

    def lost(self, connection: Connection) -> None:
        """See :class:`~.connection.Host`."""
        self._clients.leave(connection)
        self._traffic.connections = len(self._clients)
        self._left.set()

    def count(self, refusal: Refusal) -> None:
        """See :class:`~.connection.Host`."""
        self._traffic.refused[refusal] += 1

    async def answer(self, request: Request) -> Answer:
        """See :class:`~.connection.Host`."""
        if request.path not in PROBES:
            await self._take_turn()
        try:
            return await self._pages.answer(request)
        except Exception as error:  # noqa: BLE001  # a page that cannot be made must not leave its reader without a word
            self._report_fault(request.path, error)
            return Answer("this page could not be made; see the log\n", HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _take_turn(self) -> None:
        """Wait until no other page is made in this turn of the loop, first come, first served.

        A page takes milliseconds. If each client had its page in the same turn, whatever else needs the loop, such as
        probes and the kubelet's calls, would wait for as many pages as there are connections.
        """
        await self._turn.acquire()
        self._loop.call_soon(self._turn.release)

    def admit(self, connection: Connection, request: Request, answer: Answer) -> Answer:
        """See :class:`~.connection.Host`."""
        if request.path not in PROBES:
            self._give_place(connection)
        self._pages.answered(request, answer.status)
        return replace(answer, headers=((b"date", self._now()), *answer.headers))

    def _give_place(self, connection: Connection) -> None:
        """Give an answer a place among those that are being taken; if there is none, the slowest makes room."""
        if len(self._takers) >= self.limits.answers and (slowest := self._takers.to_go()):
            self.count(Refusal.SLOW_ANSWER)
            slowest.abort()
            self._takers.leave(slowest)
        self._takers.enter(connection, origin(connection.client), self._loop.time())
        self._pages.in_flight(len(self._takers))

    def _report_fault(self, page: str, error: Exception) -> None:
        # Once for each kind, not at every scrape.
        fault = (page, type(error).__name__)
        if fault not in self._faults:
            self._faults.add(fault)
            _log.exception(SharedEvent.PAGE_FAILED, error, page=page)

    def _now(self) -> bytes:
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now)).encode())
        return self._date[1]


async def serve(
    pages: Pages,
    addresses: Sequence[tuple[str, int]],
    traffic: Traffic,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    tls: Callable[[], Awaitable[Tls | None]] = no_tls,
) -> Server:
    """Begin to listen on each ``(host, port)``; an empty host is every address of the machine.

    Args:
        pages: what is served.
        addresses: where to listen.
        traffic: where clients are counted.
        limits: what clients may take; fewer connections if the process may open few descriptors.
        tls: asked for each client.

    Raises:
        OSError: if an address cannot be had; then none is kept.
        ValueError: if a listener was closed meanwhile; then none is kept.
    """
    listeners: list[socket.socket] = []
    try:
        for host, port in addresses:
            listeners.extend(await listen(host, port))
        return Server(pages, listeners, bounded_by_descriptors(limits), traffic, tls)
    except (OSError, ValueError):
        for listener in listeners:
            if listener.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        raise


def bounded_by_descriptors(limits: Limits) -> Limits:
    """Limits that leave the service descriptors for its own work."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits
    return replace(limits, connections=min(limits.connections, max(_FEWEST, soft - _RESERVED)))
