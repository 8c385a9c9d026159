"""Requests that are none, or more than one, or enormous: each gets the right status or no answer, and no traceback."""

import asyncio
import contextlib
import re
import socket
from http import HTTPStatus

import pytest

from npu_core.testing import warboy
from testkit.waiting import PATIENCE
from tests.hostile.node import StartNode, Target

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

REFUSED = {400, 401, 404, 405, 408, 413, 414, 431, 501, 505}
"""Every way to say no. The connection may also end without an answer."""
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


def _answers(target: Target, request: bytes) -> list[int]:
    """The status of each answer until the connection ends. The client says nothing more after the request."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE) as client:
        told = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := client.recv(65536):
                told += part
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+) ", told)]


async def test_requests_that_are_none_are_refused_while_others_are_answered(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    wrong: dict[tuple[str, str], list[int]] = {}
    async with node.works():
        for target in node.targets:
            for name, request in REQUESTS.items():
                statuses = await asyncio.to_thread(_answers, target, request)
                # A second answer would be one to what belongs to the first request.
                if len(statuses) > 1 or not REFUSED.issuperset(statuses):
                    wrong[name, target.name] = statuses
    assert not wrong


async def test_a_thousand_requests_at_once_on_one_connection(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    request = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    async with node.works() as checks:
        for target in node.targets:
            answers = await asyncio.gather(*(asyncio.to_thread(_answers, target, request * 1000) for _ in range(8)))
            # A server may end a connection after any answer, and an end while requests are unread loses answers.
            assert {status for each in answers for status in each} <= {HTTPStatus.OK, *REFUSED}
            await checks.rounds()
