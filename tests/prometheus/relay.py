"""Between Prometheus and its target: sees what the two agree on, and may ask for something else."""

import asyncio
from typing import Self

TEXT = "text/plain;version=0.0.4"


class Relay:
    """Passes requests on. Used as ``async with Relay(target) as relay:``.

    Attributes:
        port: where it listens on the loopback.
        answers: the heads of the target's answers, in lower case.
    """

    def __init__(self, target: int, accept: str | None = None) -> None:
        """A relay to this port of the loopback.

        Args:
            target: the port.
            accept: what requests are made to accept; None leaves that as it is.
        """
        self.port = 0
        self.answers: list[str] = []
        self._target = target
        self._accept = accept
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            while head := await _head(reader):
                there_writer.write(self._changed(head))
                answer = await _head(there_reader)
                self.answers.append(answer.decode().lower())
                writer.write(answer + await there_reader.readexactly(int(field(self.answers[-1], "content-length"))))
                await writer.drain()
        finally:
            there_writer.close()
            writer.close()

    def _changed(self, head: bytes) -> bytes:
        if self._accept is None:
            return head
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"accept:")]
        return b"\r\n".join([lines[0], f"Accept: {self._accept}".encode(), *lines[1:]])


def field(head: str, name: str) -> str:
    """A header of a head in lower case; empty if it has none."""
    lines = (line.partition(":") for line in head.splitlines())
    return next((value.strip() for key, _, value in lines if key == name), "")


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
