"""A server of fixed pages, and clients of it."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from http import HTTPStatus

from npu_core.service.http.connection import Limits
from npu_core.service.http.messages import Answer, Request
from npu_core.service.http.pages import Pages, not_found, wrong_method
from npu_core.service.http.server import Server, serve
from npu_core.service.http.traffic import Traffic

LIMITS = Limits()
Page = Callable[[], Answer]
LARGE = "x" * 20_000_000
ROUTES: dict[str, Page] = {
    "/healthz": lambda: Answer("alive\n"),
    "/readyz": lambda: Answer("not yet: 카드\n", HTTPStatus.SERVICE_UNAVAILABLE),
    "/metrics": lambda: Answer("x 1\n", content_type="text/plain; version=0.0.4"),
    "/large": lambda: Answer(LARGE),
}


class FixedPages:
    """Pages without parameters, of which each is made when it is asked for.

    Attributes:
        headers: none.
    """

    headers: frozenset[str] = frozenset()

    def __init__(self, pages: Mapping[str, Page]) -> None:
        """These pages, by path; a query after the path is ignored."""
        self._pages = pages

    async def answer(self, request: Request) -> Answer:
        return wrong_method(request) or self._page(request.path)

    def answered(self, request: Request, status: HTTPStatus) -> None:
        """See :class:`Pages`. Nothing is counted."""

    def in_flight(self, number: int) -> None:
        """See :class:`Pages`. Nothing is counted."""

    def _page(self, path: str) -> Answer:
        page = self._pages.get(path)
        return not_found(tuple(self._pages)) if page is None else page()


async def served(
    pages: Mapping[str, Page] | Pages,
    limits: Limits = LIMITS,
    traffic: Traffic | None = None,
) -> Server:
    served = FixedPages(pages) if isinstance(pages, Mapping) else pages
    return await serve(served, [("127.0.0.1", 0)], traffic or Traffic(), limits)


class Client:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, server: Server, source: str = "127.0.0.1") -> "Client":
        """One that reads no more than it is asked to."""
        opened = await asyncio.open_connection(*server.addresses[0], local_addr=(source, 0), limit=1)
        return cls(*opened)

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def rest(self) -> bytes:
        """Everything that comes until the other side closes; a request that was not read to its end is reset."""
        received = b""
        try:
            while chunk := await self.reader.read(65536):
                received += chunk
        except ConnectionResetError:
            return received
        finally:
            self.writer.close()
        return received

    async def one(self) -> bytes:
        """One answer whose connection stays: head and body of a small page."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self.reader.readexactly(1)
        [length] = [line.split()[1] for line in head.splitlines() if line.startswith(b"content-length")]
        return head + await self.reader.readexactly(int(length))

    def leave(self) -> None:
        """Leave so that the other side notices although it has an answer to write."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def ask(server: Server, request: bytes | str = "/healthz", method: str = "GET") -> bytes:
    """Everything that is answered to these bytes, or to a request for this page."""
    client = await Client.of(server)
    client.say(request_for(request, method) if isinstance(request, str) else request)
    return await client.rest()


def request_for(target: str = "/healthz", method: str = "GET", *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: here", *(headers or ("Connection: close",)), "", ""]
    return "\r\n".join(lines).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


KEPT = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
