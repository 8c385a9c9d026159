"""The HTTP server with fixed pages: what it answers, to what requests."""

import asyncio
import errno
import socket
import tracemalloc
from collections import Counter
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import pytest

from npu_core.service.events import SharedEvent
from npu_core.service.http.messages import Answer, Request
from npu_core.service.http.server import Server, serve
from npu_core.service.http.traffic import Refusal, Traffic
from testkit.waiting import eventually
from tests.core.service.http_clients import (
    KEPT,
    LARGE,
    LIMITS,
    ROUTES,
    Client,
    FixedPages,
    ask,
    request_for,
    served,
    status_of,
)

# -- requests and answers ---------------------------------------------------------------------------------------------


async def test_a_route_is_answered_in_full(server: Server) -> None:
    head, _, body = (await ask(server)).partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    assert (first, body) == (b"HTTP/1.1 200 OK", b"alive\n")
    named = dict(line.split(b": ", 1) for line in headers)
    assert parsedate_to_datetime(named.pop(b"date").decode()).year >= 2020
    assert named == {
        b"content-type": b"text/plain; charset=utf-8",
        b"content-length": b"6",
        b"connection": b"close",
    }


async def test_a_route_chooses_its_status_and_type_and_length_is_in_bytes(server: Server) -> None:
    head, _, body = (await ask(server, "/readyz")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert body.decode() == "not yet: 카드\n"
    assert b"content-type: text/plain; version=0.0.4\r\n" in await ask(server, "/metrics")
    whole, headless = await ask(server), await ask(server, method="HEAD")
    assert headless.splitlines()[2:] == whole.splitlines()[2:-1]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        *((target, 200) for target in ("/healthz?", "/healthz?a=b&c=d?e", "http://here:6255/healthz", "/%68ealthz")),
        *((target, 200) for target in ("http://here/healthz?verbose", "/healthz#x")),
        *((target, 404) for target in ("/", "/healthz/", "/Healthz", "//healthz", "/../healthz", "/%EC%B9%B4")),
    ],
)
async def test_every_form_of_a_target_that_means_a_page_is_that_page_and_no_other(
    server: Server, target: str, status: int
) -> None:
    answer = await ask(server, target)
    assert status_of(answer) == status
    assert answer.endswith(b"alive\n") if status == 200 else b"/healthz, /readyz" in answer


@pytest.mark.parametrize(
    ("method", "status"),
    [("POST", 405), ("PUT", 405), ("OPTIONS", 405), ("get", 400), ("GETS", 400), ("", 400), ("\N{SNOWMAN}", 400)],
)
async def test_another_method_is_not_allowed_or_no_request(server: Server, method: str, status: int) -> None:
    assert status_of(await ask(server, method=method)) == status


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
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", 200),
        (b"CONNECT here:80 HTTP/1.1\r\nHost: a\r\n", 405),
        ("GET /카드 HTTP/1.1\r\nHost: a\r\n".encode(), 400),
        (b"nonsense\r\n", 400),
        (b"\0\xff\xfe\r\n", 400),
        (b"GET\r\n", 400),
    ],
)
async def test_a_request_names_one_host_and_a_version_that_is_spoken_and_the_connection_ends(
    server: Server, head: bytes, status: int
) -> None:
    head = head.replace(b"\r\nHost: a\r\n", b"\r\nConnection: close\r\nHost: a\r\n") if b"Upgrade" not in head else head
    assert status_of(await ask(server, head + b"\r\n")) == status
    assert status_of(await ask(server)) == 200


async def test_what_follows_a_body_is_no_header(server: Server) -> None:
    chunks = b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    assert status_of(await ask(server, chunks + b"Host: a\r\n\r\n")) == 400


async def test_who_waits_for_leave_to_send_a_body_is_answered_at_once(server: Server) -> None:
    head = b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    assert status_of(await ask(server, head)) == 417


async def test_a_connection_stays_for_the_next_request_which_may_come_in_pieces(server: Server) -> None:
    client = await Client.of(server)
    for data in ([KEPT], [bytes([byte]) for byte in KEPT]):
        for piece in data:
            client.say(piece)
            await client.writer.drain()
        assert (await client.one()).endswith(b"alive\n")
    client.leave()


async def test_a_connection_may_ask_on_for_years(server: Server) -> None:
    client = await Client.of(server)
    for _ in range(2 * LIMITS.request_bytes // len(KEPT)):
        client.say(KEPT)
        answer = await client.one()
        assert (status_of(answer), b"connection: close" in answer) == (200, False)
    client.leave()


async def test_requests_that_are_sent_at_once_are_answered_in_their_order_up_to_a_number() -> None:
    traffic = Traffic()
    async with await served(ROUTES, traffic=traffic) as server:
        many = await ask(server, KEPT * 15 + request_for("/metrics"))
        assert [int(part[:3]) for part in many.split(b"HTTP/1.1 ")[1:]] == [200] * 16
        assert many.endswith(b"x 1\n")
        assert traffic.refused == {}
        too_many = await ask(server, KEPT * 17)
        assert [int(part[:3]) for part in too_many.split(b"HTTP/1.1 ")[1:]][-1] == 400
        assert traffic.refused == {Refusal.REQUEST: 1}


async def test_a_request_may_have_exactly_so_many_bytes(server: Server) -> None:
    room = LIMITS.request_bytes - len(request_for("/healthz", "GET", "Connection: close", "X: "))
    for length, status in [(room, 200), (room + 1, 431)]:
        answer = await ask(server, request_for("/healthz", "GET", "Connection: close", f"X: {'x' * length}"))
        assert status_of(answer) == status


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_head_that_is_too_large_is_refused(server: Server, end: bytes) -> None:
    answer = await ask(server, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 100_000 + end)
    # A client that is still sending may see a reset in place of the answer.
    assert not answer or status_of(answer) == 431
    assert status_of(await ask(server)) == 200


async def test_a_client_that_leaves_in_the_middle_disturbs_nobody(server: Server) -> None:
    client = await Client.of(server)
    client.say(b"GET /hea")
    await client.writer.drain()
    client.leave()
    await eventually(lambda: server.connections == 0, "the client has gone")
    assert status_of(await ask(server)) == 200


async def test_a_route_that_fails_is_a_500_and_one_line_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Answer:
        raise ZeroDivisionError("nobody thought of this")

    async with await served({**ROUTES, "/broken": broken}) as server:
        assert [status_of(await ask(server, page)) for page in ("/broken", "/broken", "/healthz")] == [500, 500, 200]
    [told] = caplog.records
    assert (told.levelname, told.getMessage()) == ("ERROR", SharedEvent.PAGE_FAILED)
    assert told.__dict__["npu_fields"] == {"page": "/broken"}
    assert told.exc_info is not None
    assert told.exc_info[0] is ZeroDivisionError


class _Held:
    """Pages that are never made, but for the probe; keeps what was asked and told."""

    headers = frozenset({"accept"})

    def __init__(self) -> None:
        self.held = 0
        self.asked: list[Request] = []
        self.answers: list[tuple[str, HTTPStatus]] = []
        self.taking: list[int] = []

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if request.path == "/metrics":
            self.held += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.held -= 1
        return Answer(LARGE if request.path == "/large" else "alive\n")

    def answered(self, request: Request, status: HTTPStatus) -> None:
        self.answers.append((request.path, status))

    def in_flight(self, number: int) -> None:
        self.taking.append(number)


async def test_pages_are_told_what_was_asked_what_was_answered_and_how_many_take_their_answers() -> None:
    pages = _Held()
    async with await served(pages) as server:
        await ask(server, request_for("/healthz?a=b", "GET", "Accept: x", "accept: y", "Other: z", "Connection: close"))
        [asked] = pages.asked
        assert (asked.path, asked.query, asked.client, asked.headers) == (
            *("/healthz", "a=b", "127.0.0.1"),
            {"accept": "x,y"},
        )
        assert pages.taking == []  # probes do not count
        await ask(server, "/large")
        assert pages.taking == [1, 0]
        assert pages.answers == [("/healthz", HTTPStatus.OK), ("/large", HTTPStatus.OK)]


@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["half", "whole"])
async def test_memory_of_a_connection_does_not_grow_with_the_number_of_headers(end: bytes) -> None:
    pages = _Held()
    async with await served(pages) as server:
        grown = []
        for headers in (b"a: " + b"a" * 14_000 + b"\r\n", b"".join(b"%04x:\r\n" % each for each in range(2000))):
            tracemalloc.start()
            clients = [await Client.of(server) for _ in range(20)]
            for client in clients:
                client.say(b"GET /metrics HTTP/1.1\r\nHost: here\r\n" + headers + end)
            # What the server has read when it answers a later client.
            assert status_of(await ask(server)) == 200
            await eventually(lambda: not end or pages.held == 20, "all pages are being made")
            grown.append(tracemalloc.get_traced_memory()[0] / len(clients))
            tracemalloc.stop()
            for client in clients:
                client.leave()
            await eventually(lambda: server.connections == 0 and pages.held == 0, "all clients have gone")
        assert grown[1] < grown[0] + 20_000


async def test_requests_that_wait_for_their_answers_are_bounded_together() -> None:
    traffic = Traffic()
    async with await served(_Held(), traffic=traffic) as server:
        client = await Client.of(server)
        for number in range(1, 4):
            client.say(b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: %b\r\n\r\n" % (b"a" * 7000))
            # What the server has read when it answers a later client.
            assert status_of(await ask(server)) == 200
            assert traffic.refused[Refusal.REQUEST] == (1 if number == 3 else 0)
        client.leave()


@pytest.mark.parametrize(("page", "most"), [("/healthz", 3), ("/metrics", 1)])
async def test_clients_that_ask_for_many_pages_at_once_leave_the_loop_to_others(page: str, most: int) -> None:
    """A probe costs nothing: there, each client has an answer in each turn of the loop."""
    made: Counter[int] = Counter()
    turn = 0

    def count() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count)

    def make() -> Answer:
        made[turn] += 1
        return Answer("x\n")

    async with await served({page: make}) as server:
        clients = [await Client.of(server, "127.0.0.2") for _ in range(3)]
        await eventually(lambda: server.connections == len(clients), "all clients are there")
        count()
        for client in clients:
            client.say(b"GET %b HTTP/1.1\r\nHost: here\r\n\r\n" % page.encode() * 10)
        await eventually(lambda: made.total() == 30, "all pages are made")
        assert max(made.values()) <= most
        for client in clients:
            client.leave()


# -- addresses --------------------------------------------------------------------------------------------------------


async def test_an_address_that_cannot_be_served_leaves_none_of_the_others_served(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at
        await serve(FixedPages(ROUTES), [server.addresses[0]], Traffic())
    assert caught.value.errno == errno.EADDRINUSE
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


async def test_a_client_that_waits_when_the_loop_ends_is_no_error_to_be_logged() -> None:
    problems: list[dict[str, object]] = []

    async def life() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        server = await served(ROUTES)
        client = await Client.of(server)
        await eventually(lambda: server.connections == 1, "the client is there")
        server.stop_listening()
        client.writer.close()

    await asyncio.to_thread(asyncio.run, life())
    assert problems == []
