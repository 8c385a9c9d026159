"""A server of fixed pages, and clients of it."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from http import HTTPStatus

from npu_core.service.http.connection import Limits
from npu_core.service.http.messages import Answer
from npu_core.service.http.pages import FixedPages, Page, Pages
from npu_core.service.http.server import Server, serve
from npu_core.service.http.traffic import Traffic

LIMITS = Limits()
LARGE = "x" * 20_000_000
ROUTES: dict[str, Page] = {
    "/healthz": lambda: Answer("alive\n"),
    "/readyz": lambda: Answer("not yet: 카드\n", HTTPStatus.SERVICE_UNAVAILABLE),
    "/metrics": lambda: Answer("x 1\n", content_type="text/plain; version=0.0.4"),
    "/large": lambda: Answer(LARGE),
}


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
