"""A service's own small HTTP endpoint: ``/healthz``, ``/readyz``, ``/metrics``.

For probes and scrapes of one process, a few requests a minute: one request per connection, GET and HEAD, nothing
uploaded. Anything slower, larger or stranger than that is cut off.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from npu_core.service.listening import listen
from npu_core.service.logs import EventLog

_log = EventLog(__name__)
_REQUEST_LIMIT = 8192
"""Bytes of a request's head."""
_REQUEST_SECONDS = 5.0
_MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route says.

    Attributes:
        body: the text.
        status: the HTTP status.
        content_type: of the body.
    """

    body: str
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Answer]


class Serving:
    """An endpoint at work. May be used as ``async with``: it is closed at the end.

    Attributes:
        sockets: where it listens; one for each address of the host.
    """

    def __init__(self, servers: Iterable[asyncio.Server], sockets: Iterable[socket.socket]) -> None:
        """What these servers do at these sockets."""
        self.sockets = tuple(sockets)
        self._servers = tuple(servers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.wait_closed()

    def close(self) -> None:
        """Take no more connections."""
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Wait until every connection has ended; after :meth:`close`."""
        for server in self._servers:
            await server.wait_closed()


class Probe:
    """Serves routes until it is closed."""

    def __init__(self, routes: Mapping[str, Route], request_seconds: float = _REQUEST_SECONDS) -> None:
        """An endpoint with these paths; a query after them is ignored.

        Args:
            routes: what each path says.
            request_seconds: for a client to ask and to take its answer.
        """
        self._routes = routes
        self._request_seconds = request_seconds
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: set[tuple[str, str]] = set()

    async def serve(self, host: str, port: int) -> Serving:
        """Begin to listen on every address of a host; of an empty one, on every address of the machine.

        Raises:
            OSError: if an address cannot be had.
        """
        sockets = await listen(host, port)
        servers: list[asyncio.Server] = []
        try:
            for each in sockets:
                servers += [await asyncio.start_server(self._accept, sock=each, limit=_REQUEST_LIMIT)]
        except BaseException:
            # Servers that were started already would go on and occupy their addresses, and the next attempt would fail.
            for server in servers:
                server.close()
            for each in sockets:
                each.close()
            raise
        return Serving(servers, sockets)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: Python 3.11 logs a traceback when one made by the streams is cancelled at the end.
        task = asyncio.create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(self._request_seconds):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            _log.debug("request cut off", reason=repr(error))
        finally:
            self._open -= 1
            writer.close()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0].partition(b"?")[0].decode("ascii", "replace")
        answer = self._route(method, target)
        body = answer.body.encode()
        lines = (
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == b"HEAD" else body)

    def _route(self, method: bytes, target: str) -> Answer:
        if self._open > _MOST_AT_ONCE:
            return Answer("too many requests at once\n", HTTPStatus.SERVICE_UNAVAILABLE)
        if method not in {b"GET", b"HEAD"}:
            return Answer("GET and HEAD only\n", HTTPStatus.METHOD_NOT_ALLOWED)
        route = self._routes.get(target)
        if route is None:
            return Answer(f"nothing here; there are {', '.join(self._routes)}\n", HTTPStatus.NOT_FOUND)
        try:
            return route()
        except Exception as error:  # noqa: BLE001  # a page that cannot be made must not leave its reader without a word
            self._report_fault(target, error)
            return Answer("this page could not be made; see the log\n", HTTPStatus.INTERNAL_SERVER_ERROR)

    def _report_fault(self, page: str, error: Exception) -> None:
        # Once for each kind, not at every scrape.
        fault = (page, type(error).__name__)
        if fault not in self._faults:
            self._faults.add(fault)
            _log.exception("a page of the endpoint could not be made", error, page=page)
