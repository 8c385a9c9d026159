"""Requests that are none, or more than one, or enormous: each gets the right status or no answer, and no traceback."""

import asyncio
import contextlib
import socket

import pytest

from hostile.node import PATIENCE, StartNode, Target
from npu_core.testing import warboy

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

CLOSED = 0
"""The connection ended without an answer."""
REFUSED = {CLOSED, 400, 404, 405, 408, 413, 414, 431, 501, 505}
"""Every way to say no."""
HOST = b"Host: x\r\n"
REQUESTS: dict[str, bytes] = {
    "no line": b"\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "HTTP/2.0": b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/3": b"GET /healthz HTTP/3.0\r\n" + HOST + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no Host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"GET / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown encoding": b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "a folded line": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    "NUL in a name": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A\0B: c\r\n\r\n",
    "NUL in a value": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: b\0c\r\n\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n",
    "a line of bare CR": b"GET /healthz HTTP/1.1\r" + HOST + b"\r\r",
    "a head of 17 kB": b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 17_000 + b"\r\n\r\n",
    "a target of 17 kB": b"GET /" + b"b" * 17_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "2000 headers": b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 4000 + b"\r\n",
    "a way out": b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    "a way out in percents": b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n" + HOST + b"\r\n",
    "TRACE": b"TRACE /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "POST": b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nab",
    "a method that is none": b"G\xffT /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": bytes.fromhex("16030100f8010000f40303") + bytes(240),
    "junk": bytes(range(256)) * 8,
}


def _answer(target: Target, request: bytes) -> int:
    """The status of the first answer, or CLOSED. The client says nothing more after the request."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE) as client:
        told = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := client.recv(65536):
                told += part
    return int(told.split(b" ", 2)[1]) if told.startswith(b"HTTP/1.") else CLOSED


async def test_requests_that_are_none_are_refused_while_others_are_answered(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    wrong: dict[tuple[str, str], int] = {}
    async with node.works():
        for target in node.targets:
            for name, request in REQUESTS.items():
                status = await asyncio.to_thread(_answer, target, request)
                if status not in REFUSED:
                    wrong[name, target.process.log[0]] = status
    assert not wrong
    for target in node.targets:
        assert not target.process.logged("Traceback")


@pytest.mark.parametrize("repeats", [1000])
async def test_many_requests_at_once_on_one_connection(start_node: StartNode, repeats: int) -> None:
    node = await start_node(warboy(0))
    request = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    async with node.works() as checks:
        for target in node.targets:
            await asyncio.gather(
                *(asyncio.to_thread(_answer, target, request * repeats) for _ in range(8)), checks.rounds()
            )
