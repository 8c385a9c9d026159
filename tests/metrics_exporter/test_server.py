"""Clients that are slow, many, or none at all: each costs what its bound says, others are served meanwhile."""

import asyncio
import errno
import http.client
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from npu_core.service.http.connection import Limits
from npu_core.service.http.server import Server
from npu_core.service.http.traffic import Refusal
from testkit.waiting import PATIENCE, until
from tests.metrics_exporter.serving import LOOPS, FakeSource, Serving, TurnedLoop, exposition, huge, read_all, serving

HEAD, TAKING, IDLE = Limits().head_seconds, Limits().taking_seconds, Limits().idle_seconds
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
GENEROUS = Limits(head_seconds=PATIENCE, taking_seconds=PATIENCE, idle_seconds=PATIENCE)


@pytest.fixture(params=sorted(LOOPS))
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def turned() -> Iterator[Serving]:
    """A server whose clock the test turns, and whose answers are larger than what the kernel keeps."""
    with serving(FakeSource(current=huge()), loop="asyncio") as web:
        yield web


# -- bounds of time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "seconds", "status", "refusal"),
    [
        (b"", HEAD, b"", Refusal.SLOW_REQUEST),
        (b"GET /metr", HEAD, b"HTTP/1.1 408 ", Refusal.SLOW_REQUEST),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", HEAD, b"HTTP/1.1 408 ", Refusal.SLOW_REQUEST),
        (PROBE, IDLE, b"HTTP/1.1 200 ", None),
        (PROBE + REQUEST[:10], HEAD, b"HTTP/1.1 200 ", Refusal.SLOW_REQUEST),
    ],
    ids=["nothing", "half a head", "half a body", "no second request", "half a second request"],
)
def test_who_says_no_more_is_disconnected_when_the_time_is_over_and_not_before(
    turned: Serving, says: bytes, seconds: float, status: bytes, refusal: Refusal | None
) -> None:
    with turned.connect() as client:
        client.sendall(says)
        turned.turn(seconds - 1)
        assert turned.server.connections >= 1
        assert not turned.traffic.refused
        turned.turn(1)
        assert read_all(client).startswith(status)
    turned.wait_for_connections(0)
    assert turned.traffic.refused == ({} if refusal is None else {refusal: 1})


def test_a_request_that_comes_byte_by_byte_is_disconnected_however_busy_it_looks(turned: Serving) -> None:
    with turned.connect() as client:
        for number in range(int(HEAD)):
            client.sendall(REQUEST[number : number + 1])
            assert not turned.traffic.refused
            turned.turn(1)
        assert turned.traffic.refused == {Refusal.SLOW_REQUEST: 1}
        assert read_all(client).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("drops", [0, 1], ids=["takes nothing", "takes drops"])
def test_who_does_not_take_an_answer_in_time_is_disconnected_and_that_is_no_fault_of_the_server(
    turned: Serving, drops: int, caplog: pytest.LogCaptureFixture
) -> None:
    with turned.connect() as client:
        client.sendall(REQUEST * 3)
        turned.wait_for_answers(1)
        for _ in range(int(TAKING) - 1):
            turned.turn(1)
            assert turned.source.flying[-1] == 1
            client.recv(100 * drops or 1, 0 if drops else socket.MSG_PEEK)
        turned.turn(1.1)
        turned.wait_for_answers(0)
        assert len(read_all(client)) < len(huge().text)
    turned.wait_for_connections(0)
    assert turned.traffic.refused == {Refusal.SLOW_ANSWER: 1}
    assert caplog.records == []


def test_an_idle_connection_is_kept_for_its_next_scrape() -> None:
    with serving(loop="asyncio") as web:
        client = http.client.HTTPConnection(*web.address, timeout=PATIENCE)
        client.request("GET", "/metrics")
        client.getresponse().read()
        mine = client.sock
        web.turn(IDLE - 1)
        client.request("GET", "/metrics")
        assert client.getresponse().read() == exposition().text
        assert client.sock is mine
        client.close()


def test_idle_the_server_waits_for_nothing() -> None:
    with serving(loop="asyncio") as web:
        assert web.ask().status == 200
        web.wait_for_connections(0)
        assert web.do(lambda: web.loop.timers) == []  # type: ignore[attr-defined]  # of a turned loop


# -- what is no request, or more than one ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x00" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n" * 400,
    ],
    ids=["TLS", "two lengths", "CONNECT", "HTTP/2", "without a Host"],
)
def test_garbage_is_answered_with_an_error_or_nothing_and_the_connection_ends(
    garbage: bytes, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(loop=loop) as web, web.connect() as client:
        with suppress(ConnectionError):
            client.sendall(garbage)
        answer = read_all(client)
        assert not answer or answer.split(b" ")[1][:1] in {b"4", b"5"}
        assert web.ask().status == 200
        web.wait_for_connections(0)
    assert "Traceback" not in caplog.text


def test_requests_that_come_together_are_answered_in_their_order(loop: str) -> None:
    with serving(loop=loop) as web, web.connect() as client:
        client.sendall(PROBE + REQUEST + b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = read_all(client)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.index(b"alive\n") < answers.index(exposition().text) < answers.index(b"ready\n")


def test_more_requests_at_once_than_anybody_needs_end_the_connection(loop: str) -> None:
    with serving(FakeSource(current=huge()), loop=loop) as web, web.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 400)
        read_all(client)
        web.wait_for_connections(0)
        assert web.traffic.refused == {Refusal.REQUEST: 1}


@pytest.mark.parametrize(("length", "status"), [(15_000, 200), (17_000, 431)])
def test_a_head_may_have_so_many_bytes(length: int, status: int) -> None:
    with serving() as web:
        assert web.ask(x_long="a" * length).status == status


# -- room --------------------------------------------------------------------------------------------------------------


def test_any_number_of_idle_connections_leaves_room_for_a_scrape(loop: str) -> None:
    limits = Limits(connections=50, head_seconds=PATIENCE, idle_seconds=PATIENCE)
    with serving(limits=limits, loop=loop) as web, ExitStack() as stack:
        idle = [stack.enter_context(web.connect()) for _ in range(120)]
        assert [web.ask().status for _ in range(3)] == [200] * 3
        until(lambda: web.server.connections <= 50, "the server to be no more than full")
        # The oldest made room for the newest.
        assert read_all(idle[0]) == b""
        assert web.traffic.refused[Refusal.ROOM] >= 70


def test_connections_that_are_being_answered_are_never_taken_for_idle(loop: str) -> None:
    limits = Limits(connections=4, head_seconds=PATIENCE, taking_seconds=PATIENCE)
    with serving(FakeSource(current=huge()), limits=limits, loop=loop) as web, ExitStack() as stack:
        slow = []
        for number in (1, 2, 3):
            # One after the other: a connection whose request the server has not read yet is idle, and may make room.
            slow.append(stack.enter_context(web.connect()))
            slow[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            web.wait_for_answers(number)
        idle = stack.enter_context(web.connect())
        web.wait_for_connections(4)
        with web.connect():
            assert read_all(idle) == b""
        assert read_all(slow[0]).endswith(huge().text)


def test_that_clients_are_cut_off_is_said_once_and_again_after_a_quiet_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    limits = Limits(connections=2, head_seconds=1000 * PATIENCE, idle_seconds=1000 * PATIENCE)
    with serving(limits=limits, loop="asyncio") as web, ExitStack() as stack:
        for cut_off in (2, 6):
            for _ in range(4):
                stack.enter_context(web.connect())
            until(lambda: web.traffic.refused[Refusal.ROOM] == cut_off, "clients to be cut off")  # noqa: B023
            for _ in range(3):
                web.do(lambda: _turn(web, 61))
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2


def _turn(web: Serving, seconds: float) -> None:
    """Let time pass, without a client that asks."""
    assert isinstance(web.loop, TurnedLoop)
    web.loop.turned += seconds


# -- without a file descriptor left ------------------------------------------------------------------------------------


class Full(socket.socket):
    """A listener that accepts some clients; then the process has no file descriptor left."""

    def __init__(self, clients: int = 0, code: int = errno.EMFILE) -> None:
        super().__init__()
        self._left, self._code = clients, code
        self._others: list[socket.socket] = []
        self.bind(("127.0.0.1", 0))
        self.listen()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self._left == 0:
            raise OSError(self._code, os.strerror(self._code))
        self._left -= 1
        ours, theirs = socket.socketpair()
        self._others.append(theirs)
        return ours, ("127.0.0.9", 1)

    def close(self) -> None:
        for each in self._others:
            each.close()
        super().close()


def accept(server: Server, listener: socket.socket) -> None:
    """What the loop does when a client waits."""
    server._accept(listener)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_a_descriptor_for_a_client_that_waits_the_longest_idle_one_makes_room(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with serving(limits=GENEROUS, loop="asyncio") as web, web.connect() as first, web.connect() as second:
        web.wait_for_connections(2)
        with Full(code=code) as listener:
            web.do(lambda: web.loop.add_reader(listener, accept, web.server, listener))
            web.do(lambda: accept(web.server, listener))
            assert read_all(first) == b""
            assert web.traffic.refused == {Refusal.ROOM: 1}
            assert web.server.connections == 1
            # For a while nobody is accepted from there; then everybody is again.
            assert listener not in _read(web)
            web.turn(1)
            assert listener in _read(web)
            web.do(lambda: web.loop.remove_reader(listener))
        second.sendall(PROBE)
        assert second.recv(1000).startswith(b"HTTP/1.1 200 ")


def _read(web: Serving) -> list[object]:
    """What the loop waits for."""
    return [key.fileobj for key in web.do(lambda: list(web.loop._selector.get_map().values()))]  # type: ignore[attr-defined]


def test_a_lack_of_descriptors_is_said_once_however_long_it_lasts_and_once_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with serving(loop="asyncio") as web, Full() as listener, Full(clients=1) as later:
        for _ in range(3):
            web.do(lambda: accept(web.server, listener))
            web.do(lambda: web.loop.remove_reader(listener))
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        host, port = web.address
        assert caplog.records[0].__dict__["npu_fields"]["reason"].startswith(f"{host}:{port} (--listen-address): ")
        web.do(lambda: accept(web.server, later))
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert web.ask().status == 200
        assert len(caplog.records) == 2


def test_nobody_makes_room_for_a_client_that_may_not_be_there() -> None:
    """After the first client of a turn, the kernel reports the lack before it looks whether another one waits."""
    with serving(limits=GENEROUS, loop="asyncio") as web, web.connect() as idle, Full(clients=1) as listener:
        web.wait_for_connections(1)
        web.do(lambda: accept(web.server, listener))
        web.wait_for_connections(2)
        assert web.traffic.refused == {}
        idle.sendall(PROBE)
        assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")


# -- its end -----------------------------------------------------------------------------------------------------------


def test_closing_ends_idle_connections_at_once(loop: str) -> None:
    with serving(loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST)
        received = b""
        while not received.endswith(exposition().text):
            received += client.recv(65536)
        web.close(seconds=100 * PATIENCE)
        assert read_all(client) == b""
        with pytest.raises(ConnectionRefusedError):
            web.connect()


def test_closing_lets_an_answer_under_way_be_taken(loop: str) -> None:
    with serving(FakeSource(current=huge()), loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST)
        web.wait_for_answers(1)
        closing = asyncio.run_coroutine_threadsafe(web.server.close(PATIENCE), web.loop)
        assert read_all(client).endswith(huge().text)
        closing.result(PATIENCE)


def test_closing_waits_no_longer_than_it_was_told_for_an_answer_that_nobody_takes(loop: str) -> None:
    with serving(FakeSource(current=huge()), limits=GENEROUS, loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST)
        web.wait_for_answers(1)
        web.close(seconds=0.1)
        assert len(read_all(client)) < len(huge().text)
