"""The small HTTP endpoint: what it answers, and whom it cuts off."""

import asyncio
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

from npu_core.service.probe import Answer, Probe

PATIENCE = 10.0
MOST_AT_ONCE = 16
"""Requests that are answered side by side."""

ROUTES = {
    "/healthz": lambda: Answer("alive\n"),
    "/readyz": lambda: Answer("not yet: 카드\n", HTTPStatus.SERVICE_UNAVAILABLE),
    "/metrics": lambda: Answer("x 1\n", content_type="text/plain; version=0.0.4"),
}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await Probe(ROUTES).serve("127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def _say(port: int, request: bytes) -> bytes:
    """Everything that is answered to these bytes, until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return await _rest(reader, writer)


async def _rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    received = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while chunk := await reader.read(65536):
                received += chunk
    except ConnectionResetError:
        # A request that was not read to its end is cut off so.
        return received
    finally:
        writer.close()
    return received


def _request(target: str = "/healthz", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: here\r\n\r\n".encode()


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_route_is_answered_in_full(port: int) -> None:
    assert await _say(port, _request()) == (
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 6\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"alive\n"
    )


async def test_a_route_chooses_its_status_and_type_and_length_is_in_bytes(port: int) -> None:
    head, _, body = (await _say(port, _request("/readyz"))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.decode() == "not yet: 카드\n"
    assert b"Content-Type: text/plain; version=0.0.4\r\n" in await _say(port, _request("/metrics"))


async def test_head_is_the_same_without_the_body(port: int) -> None:
    whole = await _say(port, _request())
    assert await _say(port, _request(method="HEAD")) == whole.removesuffix(b"alive\n")


@pytest.mark.parametrize("target", ["/healthz?", "/healthz?verbose=1", "/healthz?a=b&c=d?e"])
async def test_a_query_is_ignored(port: int, target: str) -> None:
    assert (await _say(port, _request(target))).endswith(b"alive\n")


@pytest.mark.parametrize(
    "target", ["/", "/healthz/", "/Healthz", "//healthz", "/../healthz", "*", "/카드", "?/healthz"]
)
async def test_another_path_is_not_found_and_told_what_there_is(port: int, target: str) -> None:
    answer = await _say(port, _request(target))
    assert _status(answer) == 404
    assert answer.endswith(b"nothing here; there are /healthz, /readyz, /metrics\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", "GETS", "", "\N{SNOWMAN}"])
async def test_another_method_is_not_allowed(port: int, method: str) -> None:
    assert _status(await _say(port, _request(method=method))) == 405


@pytest.mark.parametrize("request_", [b"\r\n\r\n", b"nonsense\r\n\r\n", b"\0\xff\xfe\r\n\r\n", b"GET\r\n\r\n"])
async def test_nonsense_is_an_error_and_no_more(port: int, request_: bytes) -> None:
    assert 400 <= _status(await _say(port, request_)) < 500
    assert _status(await _say(port, _request())) == 200


async def test_a_head_in_pieces_is_read_to_its_end(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for byte in _request():
        writer.write(bytes([byte]))
        await writer.drain()
    assert _status(await _rest(reader, writer)) == 200


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_head_that_is_too_large_is_cut_off_without_an_answer(port: int, end: bytes) -> None:
    assert await _say(port, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 100_000 + end) == b""
    assert _status(await _say(port, _request())) == 200


async def test_a_client_that_leaves_in_the_middle_disturbs_nobody(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /hea")
    await writer.drain()
    writer.close()
    assert _status(await _say(port, _request())) == 200


async def test_a_route_that_fails_is_a_500_and_one_line_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Answer:
        raise ZeroDivisionError("nobody thought of this")

    server = await Probe({**ROUTES, "/broken": broken}).serve("127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await _say(port, _request("/broken"))
        assert (_status(answer), answer.rpartition(b"\r\n")[2]) == (500, b"this page could not be made; see the log\n")
        assert _status(await _say(port, _request("/broken"))) == 500
        assert _status(await _say(port, _request())) == 200
    [told] = caplog.records
    assert (told.levelname, told.getMessage()) == ("ERROR", "a page of the endpoint could not be made")
    assert told.__dict__["npu_fields"] == {"page": "/broken"}
    assert told.exc_info is not None
    assert told.exc_info[0] is ZeroDivisionError


async def test_a_slow_client_is_cut_off() -> None:
    server = await Probe(ROUTES, request_seconds=0.1).serve("127.0.0.1", 0)
    async with server:
        assert await _say(server.sockets[0].getsockname()[1], b"GET /healthz HTTP/1.1\r\n") == b""


async def test_a_client_that_does_not_read_is_cut_off_too() -> None:
    asked = asyncio.Event()

    def endless() -> Answer:
        asked.set()
        return Answer("x" * 20_000_000)

    one = Probe({"/": endless}, request_seconds=0.1)
    server = await one.serve("127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1], limit=1)
    writer.write(_request("/"))
    async with asyncio.timeout(PATIENCE):
        await asked.wait()
        await asyncio.gather(*one._tasks)
    writer.transport.abort()
    server.close()


async def test_too_many_at_once_are_told_so_and_room_comes_back(port: int) -> None:
    waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_AT_ONCE)]
    answer = await _say(port, _request())
    assert (_status(answer), answer.rpartition(b"\n\r\n")[2]) == (503, b"too many requests at once\n")

    for _, writer in waiting:
        writer.write(_request())
    answers = await asyncio.gather(*(_rest(reader, writer) for reader, writer in waiting))

    assert {_status(each) for each in answers} == {200}
    assert _status(await _say(port, _request())) == 200


async def test_an_address_that_is_taken_is_an_error(port: int) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        await Probe(ROUTES).serve("127.0.0.1", port)


async def test_a_client_that_waits_when_the_loop_ends_is_no_error_to_be_logged() -> None:
    problems: list[dict[str, object]] = []

    async def life() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        one = Probe(ROUTES)
        server = await one.serve("127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        # Connections are taken in their order: the first one waits since before the second was answered.
        await _say(port, _request())
        assert one._tasks
        server.close()
        writer.close()

    await asyncio.to_thread(asyncio.run, life())
    assert problems == []


async def test_an_address_that_cannot_be_served_leaves_none_of_the_others_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    address = sockets[0].getsockname()
    sockets[1].close()

    async def listen(_host: str, _port: int) -> tuple[socket.socket, ...]:
        return tuple(sockets)

    monkeypatch.setattr("npu_core.service.probe.listen", listen)
    with pytest.raises((OSError, ValueError)):
        await Probe(ROUTES).serve("here", 1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
