"""The HTTP server with fixed pages: what it answers, whom it cuts off, and who makes room for whom."""

import asyncio
import resource
import socket
import struct
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import pytest

from npu_core.service.http.connection import Limits
from npu_core.service.http.messages import Answer, Request
from npu_core.service.http.pages import FixedPages, Page
from npu_core.service.http.server import Server, bounded_by_descriptors, serve
from npu_core.service.http.traffic import Refusal, Traffic
from testkit.waiting import PATIENCE

ROUTES: dict[str, Page] = {
    "/healthz": lambda: Answer("alive\n"),
    "/readyz": lambda: Answer("not yet: 카드\n", HTTPStatus.SERVICE_UNAVAILABLE),
    "/metrics": lambda: Answer("x 1\n", content_type="text/plain; version=0.0.4"),
}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with await _serve(ROUTES) as server:
        yield server.addresses[0][1]


async def _serve(
    pages: Mapping[str, Page],
    limits: Limits = Limits(),  # noqa: B008  # frozen
    traffic: Traffic | None = None,
) -> Server:
    return await serve(FixedPages(pages), [("127.0.0.1", 0)], traffic or Traffic(), limits)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.01)


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
    return f"{method} {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode()


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_route_is_answered_in_full(port: int) -> None:
    head, _, body = (await _say(port, _request())).partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    assert (status, body) == (b"HTTP/1.1 200 OK", b"alive\n")
    named = dict(line.split(b": ", 1) for line in headers)
    assert parsedate_to_datetime(named.pop(b"date").decode()).year >= 2020
    assert named == {
        b"content-type": b"text/plain; charset=utf-8",
        b"content-length": b"6",
        b"connection": b"close",
    }


async def test_a_route_chooses_its_status_and_type_and_length_is_in_bytes(port: int) -> None:
    head, _, body = (await _say(port, _request("/readyz"))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert body.decode() == "not yet: 카드\n"
    assert b"content-type: text/plain; version=0.0.4\r\n" in await _say(port, _request("/metrics"))


async def test_head_is_the_same_without_the_body(port: int) -> None:
    whole = await _say(port, _request())
    assert await _say(port, _request(method="HEAD")) == whole.removesuffix(b"alive\n")


@pytest.mark.parametrize("target", ["/healthz?", "/healthz?verbose=1", "/healthz?a=b&c=d?e"])
async def test_a_query_is_ignored(port: int, target: str) -> None:
    assert (await _say(port, _request(target))).endswith(b"alive\n")


@pytest.mark.parametrize("target", ["/", "/healthz/", "/Healthz", "//healthz", "/../healthz", "/%EC%B9%B4"])
async def test_another_path_is_not_found_and_told_what_there_is(port: int, target: str) -> None:
    answer = await _say(port, _request(target))
    assert _status(answer) == 404
    assert answer.endswith(b"nothing here; there are /healthz, /readyz, /metrics\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_not_allowed(port: int, method: str) -> None:
    assert _status(await _say(port, _request(method=method))) == 405


@pytest.mark.parametrize("method", ["get", "GETS", "", "\N{SNOWMAN}"])
async def test_a_method_that_there_is_not_is_no_request(port: int, method: str) -> None:
    assert _status(await _say(port, _request(method=method))) == 400


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\nHost: a\r\n", 505),
        (b"GET /healthz HTTP/1.0\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x y\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: user@x\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x:y\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: [fe80::1]:6254\r\nConnection: close\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: under_score.svc:6254\r\nConnection: close\r\n", 200),
        ("GET /카드 HTTP/1.1\r\nHost: a\r\n".encode(), 400),
    ],
)
async def test_a_request_names_one_host_and_a_version_that_is_spoken(port: int, head: bytes, status: int) -> None:
    assert _status(await _say(port, head + b"\r\n")) == status


async def test_what_follows_a_body_is_no_header(port: int) -> None:
    chunks = b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    assert _status(await _say(port, chunks + b"Host: a\r\n\r\n")) == 400


async def test_who_waits_for_leave_to_send_a_body_is_answered_at_once(port: int) -> None:
    head = b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    assert _status(await _say(port, head)) == 417


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"\0\xff\xfe\r\n\r\n", b"GET\r\n\r\n"])
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
async def test_a_head_that_is_too_large_is_refused(port: int, end: bytes) -> None:
    answer = await _say(port, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 100_000 + end)
    # A client that is still sending may see a reset in place of the answer.
    assert not answer or _status(answer) == 431
    assert _status(await _say(port, _request())) == 200


@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["half", "whole"])
async def test_memory_of_a_connection_does_not_grow_with_the_number_of_headers(end: bytes) -> None:
    pages = _Held()
    async with await serve(pages, [("127.0.0.1", 0)], Traffic()) as server:
        grown = []
        for headers in (b"a: " + b"a" * 14_000 + b"\r\n", b"".join(b"%04x:\r\n" % each for each in range(2000))):
            tracemalloc.start()
            clients = [await _connect(server, "127.0.0.1") for _ in range(20)]
            for _, writer in clients:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: here\r\n" + headers + end)
            # What the server has read when it answers a later client.
            assert _status(await _say(server.addresses[0][1], _request())) == 200
            await _until(lambda: not end or pages.held == 20)
            grown.append(tracemalloc.get_traced_memory()[0] / len(clients))
            tracemalloc.stop()
            for _, writer in clients:
                _reset(writer)
            await _until(lambda: server.connections == 0 and pages.held == 0)
        assert grown[1] < grown[0] + 20_000


async def test_requests_that_wait_for_their_answers_are_bounded_together() -> None:
    pages, traffic = _Held(), Traffic()
    async with await serve(pages, [("127.0.0.1", 0)], traffic) as server:
        _, writer = await _connect(server, "127.0.0.1")
        for number in range(1, 4):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: %b\r\n\r\n" % (b"a" * 7000))
            # What the server has read when it answers a later client.
            assert _status(await _say(server.addresses[0][1], _request())) == 200
            assert traffic.refused[Refusal.REQUEST] == (1 if number == 3 else 0)
        _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Leave so that the other side notices although it has an answer to write."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(("page", "most"), [("/healthz", 3), ("/metrics", 1)])
async def test_clients_that_ask_for_many_pages_at_once_leave_the_loop_to_others(page: str, most: int) -> None:
    turns = _Turns()
    async with await _serve({page: turns.page}) as server:
        clients = [await _connect(server, "127.0.0.2") for _ in range(3)]
        await _until(lambda: server.connections == len(clients))
        turns.count()
        for _, writer in clients:
            writer.write(b"GET %b HTTP/1.1\r\nHost: here\r\n\r\n" % page.encode() * 10)
        await _until(lambda: turns.pages.total() == 30)
        # A probe costs nothing: there, each client has an answer in each turn.
        assert max(turns.pages.values()) <= most
        for _, writer in clients:
            writer.transport.abort()


class _Turns:
    """Counts the pages that are made in each turn of the event loop."""

    def __init__(self) -> None:
        self.pages: Counter[int] = Counter()
        self._turn = 0

    def count(self) -> None:
        self._turn += 1
        asyncio.get_running_loop().call_soon(self.count)

    def page(self) -> Answer:
        self.pages[self._turn] += 1
        return Answer("x\n")


class _Held:
    """Pages that are never made, but for the probe."""

    headers = frozenset({"accept"})

    def __init__(self) -> None:
        self.held = 0

    async def answer(self, request: Request) -> Answer:
        if request.path == "/metrics":
            self.held += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.held -= 1
        return Answer("alive\n")

    def answered(self, request: Request, status: HTTPStatus) -> None:
        pass

    def in_flight(self, number: int) -> None:
        pass


async def test_a_client_that_leaves_in_the_middle_disturbs_nobody(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /hea")
    await writer.drain()
    writer.close()
    assert _status(await _say(port, _request())) == 200


async def test_a_route_that_fails_is_a_500_and_one_line_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Answer:
        raise ZeroDivisionError("nobody thought of this")

    async with await _serve({**ROUTES, "/broken": broken}) as server:
        port = server.addresses[0][1]
        answer = await _say(port, _request("/broken"))
        assert (_status(answer), answer.rpartition(b"\r\n")[2]) == (500, b"this page could not be made; see the log\n")
        assert _status(await _say(port, _request("/broken"))) == 500
        assert _status(await _say(port, _request())) == 200
    [told] = caplog.records
    assert (told.levelname, told.getMessage()) == ("ERROR", "a page could not be made")
    assert told.__dict__["npu_fields"] == {"page": "/broken"}
    assert told.exc_info is not None
    assert told.exc_info[0] is ZeroDivisionError


async def test_a_slow_client_is_told_so_and_cut_off() -> None:
    traffic = Traffic()
    async with await _serve(ROUTES, Limits(head_seconds=0.1), traffic) as server:
        answer = await _say(server.addresses[0][1], b"GET /healthz HTTP/1.1\r\n")
        assert _status(answer) == 408
    assert traffic.refused == {Refusal.SLOW_REQUEST: 1}


async def test_a_client_that_does_not_read_is_cut_off_too() -> None:
    traffic = Traffic()
    pages = {"/": lambda: Answer("x" * 20_000_000)}
    async with await _serve(pages, Limits(taking_seconds=0.1), traffic) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0][1], limit=1)
        writer.write(_request("/"))
        await _until(lambda: traffic.refused[Refusal.SLOW_ANSWER] == 1)
        await _until(lambda: server.connections == 0)
        writer.transport.abort()


async def test_the_kernel_takes_no_large_answer_in_place_of_its_client() -> None:
    """What the kernel keeps of answers counts as memory of the container: as a whole answer for each connection."""
    traffic = Traffic()
    limits = Limits(taking_seconds=0.1, idle_seconds=PATIENCE)
    async with await _serve({"/": lambda: Answer("x" * 1_000_000)}, limits, traffic) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0][1], limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await _until(lambda: traffic.refused[Refusal.SLOW_ANSWER] == 1)
        writer.transport.abort()


@pytest.mark.parametrize("more", [_request(), b"garbage\r\n\r\n", b"x" * 20_000])
async def test_asking_on_gives_no_more_time_to_take_an_answer(more: bytes) -> None:
    traffic = Traffic()
    limits = Limits(taking_seconds=0.5, head_seconds=PATIENCE, idle_seconds=PATIENCE)
    async with await _serve({"/": lambda: Answer("x" * 20_000_000)}, limits, traffic) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0][1], limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await _until(lambda: any(each.is_taking for each in server._clients.guests()))
        writer.write(more)
        await _until(lambda: traffic.refused[Refusal.SLOW_ANSWER] == 1)
        writer.transport.abort()


@pytest.mark.parametrize(
    "target", ["http://here:6255/healthz", "http://here/healthz?verbose", "/%68ealthz", "/healthz#x"]
)
async def test_every_form_of_a_target_that_means_a_page_is_that_page(port: int, target: str) -> None:
    assert (await _say(port, _request(target))).endswith(b"alive\n")


async def test_an_address_that_is_taken_is_an_error(port: int) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        await serve(FixedPages(ROUTES), [("127.0.0.1", port)], Traffic())


async def test_a_client_that_waits_when_the_loop_ends_is_no_error_to_be_logged() -> None:
    problems: list[dict[str, object]] = []

    async def life() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        server = await _serve(ROUTES)
        _, writer = await asyncio.open_connection(*server.addresses[0])
        await _until(lambda: server.connections == 1)
        server.stop_listening()
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

    monkeypatch.setattr("npu_core.service.http.server.listen", listen)
    with pytest.raises((OSError, ValueError)):
        await serve(FixedPages(ROUTES), [("here", 1)], Traffic())
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)


# -- room -------------------------------------------------------------------------------------------------------------


async def _connect(server: Server, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*server.addresses[0], local_addr=(source, 0))


async def test_silent_clients_never_keep_a_probe_from_its_answer() -> None:
    traffic = Traffic()
    async with await _serve(ROUTES, Limits(connections=20), traffic) as server:
        silent = [await _connect(server, "127.0.0.2") for _ in range(50)]
        for _ in range(5):
            assert _status(await _say(server.addresses[0][1], _request())) == 200
        assert traffic.connections <= 20
        assert traffic.refused[Refusal.ROOM] >= 30
        # The client that waited longest made room.
        reader, _ = silent[0]
        assert await reader.read() == b""
        for _, writer in silent:
            writer.transport.abort()


async def test_the_client_of_one_connection_is_not_cut_off_by_the_client_of_many() -> None:
    async with await _serve(ROUTES, Limits(connections=20)) as server:
        reader, writer = await _connect(server, "127.0.0.3")
        await _until(lambda: server.connections == 1)
        many = [await _connect(server, "127.0.0.2") for _ in range(60)]
        writer.write(_request())
        assert _status(await _rest(reader, writer)) == 200
        for _, each in many:
            each.transport.abort()


async def test_slow_readers_give_their_places_up_to_who_has_fewer() -> None:
    traffic = Traffic()
    pages: dict[str, Page] = {**ROUTES, "/large": lambda: Answer("x" * 20_000_000)}
    async with await _serve(pages, Limits(answers=4), traffic) as server:
        slow = [await _connect(server, "127.0.0.2") for _ in range(4)]
        for reader, writer in slow:
            writer.write(_request("/large"))
            await reader.readexactly(1)
        assert _status(await _say(server.addresses[0][1], _request("/metrics"))) == 200
        assert traffic.refused[Refusal.SLOW_ANSWER] == 1
        for _, writer in slow:
            writer.transport.abort()


async def test_whoever_asks_is_answered_whoever_of_the_same_address_takes_nothing() -> None:
    traffic = Traffic()
    pages: dict[str, Page] = {**ROUTES, "/large": lambda: Answer("x" * 20_000_000)}
    async with await _serve(pages, Limits(answers=4), traffic) as server:
        slow = [await _connect(server, "127.0.0.1") for _ in range(10)]
        for reader, writer in slow:
            writer.write(_request("/large"))
            await reader.readexactly(1)
            assert _status(await _say(server.addresses[0][1], _request("/metrics"))) == 200
        assert traffic.refused == {Refusal.SLOW_ANSWER: 7}
        for _, writer in slow:
            writer.transport.abort()


async def test_it_is_said_once_that_clients_are_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async with await _serve(ROUTES, Limits(connections=16)) as server:
        for _ in range(100):
            _, writer = await _connect(server, "127.0.0.2")
            writer.transport.abort()
        silent = [await _connect(server, "127.0.0.2") for _ in range(100)]
        await _until(lambda: server.connections <= 16)
        for _, writer in silent:
            writer.transport.abort()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_clients_get_no_more_descriptors_than_the_work_leaves() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for soft, connections in ((20_000, 128), (200, 72), (140, 16), (32, 16)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
            assert bounded_by_descriptors(Limits()).connections == connections
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
