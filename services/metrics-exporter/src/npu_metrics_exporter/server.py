"""Listens, and serves the web application to whoever connects.

uvicorn's protocol without uvicorn's server: that one wakes ten times a second for nothing, and knows neither a TLS
context for each connection nor a bound on handshakes (docs/adr/0014).
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Sequence

from uvicorn.config import Config
from uvicorn.server import ServerState

from npu_core.os_errors import explain
from npu_core.service.listening import listen
from npu_core.service.logs import EventLog
from npu_metrics_exporter.connection import Connection, Limits, peer_failed
from npu_metrics_exporter.web import Web
from npu_metrics_exporter.web_reload import WebKeeper

_log = EventLog(__name__)
_MOST_ACCEPTED = 16
"""Connections accepted before something else gets its turn."""
_REST_SECONDS = 1.0
"""Without accepting, when the process has no file descriptor left."""
_CUTTING_SECONDS = 0.1
"""For connections that were cut off to say so."""
_GOODBYE_SECONDS = 2.0
"""For a client to end TLS in good order."""


class Server:
    """Serves until it is closed.

    Attributes:
        addresses: where it listens; the port that was found, where 0 was asked for.
    """

    def __init__(self, web: Web, keeper: WebKeeper, listeners: Sequence[socket.socket], limits: Limits) -> None:
        """Serve from now on what comes to ``listeners``, which listen already and are closed with the server."""
        self._keeper = keeper
        self._limits = limits
        self._listeners = list(listeners)
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        self._state = ServerState()
        self._config = _uvicorn_config(web)
        self.addresses: tuple[tuple[str, int], ...] = tuple(each.getsockname()[:2] for each in listeners)
        self._lack = 0
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    @property
    def connections(self) -> int:
        """How many are open, handshakes included."""
        return len(self._state.connections) + len(self._arriving)

    async def close(self, seconds: float = 1.0) -> None:
        """Take no more, let the answers under way be taken for so long, then cut them off."""
        while self._listeners:
            listener = self._listeners.pop()
            self._loop.remove_reader(listener)
            listener.close()
        for task in self._arriving:
            task.cancel()
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._wait_for_last(seconds)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await self._wait_for_last(_CUTTING_SECONDS)
        for request in self._state.tasks:
            request.cancel()
        await asyncio.gather(*self._arriving, *self._state.tasks, return_exceptions=True)

    async def _wait_for_last(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.connections:
                    self._lost.clear()
                    await self._lost.wait()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MOST_ACCEPTED):
            try:
                client, _address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(listener, error)
                return
            if self._lack:
                self._lack = 0
                _log.info("can take connections again")
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        if self._is_full() and not self._make_room():
            _log.debug("client refused: too many connections")
            client.close()
            return
        client.setblocking(False)
        task = self._loop.create_task(self._connect(client))
        self._arriving.add(task)
        task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._arriving.discard(task)
        self._lost.set()

    def _is_full(self) -> bool:
        most = self._limits.connections
        return self.connections >= most and len(self._open()) + len(self._arriving) >= most

    def _make_room(self) -> bool:
        idle = [each for each in self._open() if each.is_idle]
        if not idle:
            return False
        min(idle, key=lambda each: each.last_used).transport.abort()
        return True

    def _open(self) -> list[Connection]:
        """Those that are not on their way out."""
        connections = (each for each in self._state.connections if isinstance(each, Connection))
        return [each for each in connections if not each.transport.is_closing()]

    async def _connect(self, client: socket.socket) -> None:
        in_force = await self._keeper.follow()
        tls = in_force.config.tls
        sans = tls.allowed_sans if tls else ()
        bounds = (self._limits.head_seconds, _GOODBYE_SECONDS) if in_force.context else (None, None)
        try:
            await self._loop.connect_accepted_socket(
                lambda: Connection(self._config, self._state, self._limits, sans, self._lost.set),
                client,
                ssl=in_force.context,
                ssl_handshake_timeout=bounds[0],
                ssl_shutdown_timeout=bounds[1],
            )
        except OSError as error:
            _log.debug("a client could not connect", reason=peer_failed(error))

    def _rest(self, listener: socket.socket, error: OSError) -> None:
        if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
            raise error
        if error.errno != self._lack:
            self._lack = error.errno or 0
            where = ",".join(f"{host}:{port}" for host, port in self.addresses)
            _log.warning(
                "cannot take connections for a moment", reason=explain(error, where, setting="--listen-address")
            )
        self._make_room()
        self._loop.remove_reader(listener)
        self._loop.call_later(_REST_SECONDS, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._accept, listener)


async def serve(
    web: Web,
    keeper: WebKeeper,
    addresses: Sequence[tuple[str, int]],
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> Server:
    """Begin to listen on each ``(host, port)``; an empty host is every address of the machine.

    Raises:
        OSError: if an address cannot be had; then none is kept.
    """
    listeners: list[socket.socket] = []
    try:
        for host, port in addresses:
            listeners.extend(await listen(host, port))
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return Server(web, keeper, listeners, limits)


def _uvicorn_config(web: Web) -> Config:
    config = Config(
        web,
        interface="asgi3",
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",  # it speaks of every request that is none; what goes wrong here, Web says
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    config.load()
    return config
