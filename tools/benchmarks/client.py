"""A client that costs as little as one in Python can, so that what is measured is the server."""

import socket
from dataclasses import dataclass
from typing import Self

_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n%s\r\n"
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status and the size of the body in bytes, as sent."""

    status: int
    size: int


class Connection:
    """One connection, kept alive. Used as ``with Connection(port) as connection:``."""

    def __init__(self, port: int, *, gzip: bool = False) -> None:
        """Connect to this port of the loopback."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = _REQUEST % (b"Accept-Encoding: gzip\r\n" if gzip else b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self) -> Reply:
        """Scrape once.

        Raises:
            OSError: if the server does not answer in time, or hangs up.
        """
        self._socket.sendall(self._request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, rest = data.partition(b"\r\n\r\n")
        names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if names.get(b"transfer-encoding") == b"chunked":
            return Reply(int(head.split()[1]), self._chunks(rest))
        length = int(names[b"content-length"])
        received = len(rest)
        while received < length:
            received += len(self._more())
        return Reply(int(head.split()[1]), length)

    def _chunks(self, data: bytes) -> int:
        size = 0
        while True:
            while b"\r\n" not in data:
                data += self._more()
            line, _, data = data.partition(b"\r\n")
            length = int(line, 16)
            while len(data) < length + 2:
                data += self._more()
            data = data[length + 2 :]
            if not length:
                return size
            size += length

    def _more(self) -> bytes:
        if not (data := self._socket.recv(1 << 18)):
            raise ConnectionResetError("the server hung up")
        return data
