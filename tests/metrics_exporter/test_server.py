"""Clients that are slow, many, or none at all: each costs what its bound says, others are served meanwhile."""

import asyncio
import errno
import http.client
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import NoReturn

import pytest

from npu_core.service.http.connection import Limits
from npu_core.service.http.server import serve
from npu_core.service.http.traffic import Traffic
from npu_metrics_exporter.web import Web
from npu_metrics_exporter.web_reload import WebKeeper
from tests.metrics_exporter.serving import (
    LOOPS,
    QUICK,
    FakeSource,
    Serving,
    exposition,
    huge,
    read_all,
    serving,
    wait_until,
)

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=sorted(LOOPS))
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def cut_off(web: Serving, within: float = 2.0) -> Iterator[socket.socket]:
    """A client that is disconnected by the end of the block, soon but not at once, while others are served."""
    begun = time.monotonic()
    with web.connect() as client:
        yield client
        assert web.ask("/healthz").status == 200
        read_all(client)
        assert 0.1 < time.monotonic() - begun < within
    web.wait_for_connections(0)


def test_who_connects_and_says_nothing_is_disconnected(loop: str) -> None:
    with serving(limits=QUICK, loop=loop) as web, cut_off(web):
        pass


def test_a_request_that_comes_byte_by_byte_is_disconnected_however_busy_it_looks(loop: str) -> None:
    with serving(limits=QUICK, loop=loop) as web, web.connect() as client:
        begun = time.monotonic()
        client.settimeout(0.02)
        received = b""
        sent = 0
        while time.monotonic() - begun < 2 and not received:
            client.sendall(
                b"GET /metrics HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[sent:][:1]
            )
            sent += 1
            try:
                received = client.recv(1000)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408 ")
        assert 0.25 < time.monotonic() - begun < 1.5


def test_a_body_that_never_ends_is_disconnected(loop: str) -> None:
    with serving(limits=QUICK, loop=loop) as web, cut_off(web) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")


def test_who_asks_for_several_answers_and_takes_none_is_no_fault_of_ours(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(FakeSource(huge()), limits=QUICK, loop=loop) as web:
        with web.connect() as client:
            client.sendall(REQUEST * 3)
            wait_until(lambda: web.source.flying[-1:] == [1], "an answer on its way")
            web.wait_for_connections(0)
            wait_until(lambda: web.source.flying[-1:] == [0], "its end")
        assert web.ask("/healthz").status == 200
    assert [record.getMessage() for record in caplog.records] == []


def test_half_a_second_request_on_a_kept_connection_is_disconnected(loop: str) -> None:
    with serving(limits=replace(QUICK, idle_seconds=60), loop=loop) as web, cut_off(web) as client:
        client.sendall(REQUEST + REQUEST[:10])


def test_a_client_that_has_gone_away_in_silence_is_disconnected_after_its_idle_time(loop: str) -> None:
    with serving(limits=QUICK, loop=loop) as web, cut_off(web) as client:
        client.sendall(REQUEST)


def test_an_idle_connection_is_kept_for_its_next_scrape() -> None:
    with serving(limits=replace(QUICK, idle_seconds=60)) as web:
        client = http.client.HTTPConnection(*web.address, timeout=5)
        client.request("GET", "/metrics")
        client.getresponse().read()
        mine = client.sock
        time.sleep(2 * QUICK.head_seconds)  # nothing happens, which is what is shown
        client.request("GET", "/metrics")
        assert client.getresponse().read() == exposition().text
        assert client.sock is mine
        client.close()


def test_a_client_that_takes_nothing_of_its_answer_is_disconnected(loop: str) -> None:
    with serving(FakeSource(current=huge()), limits=QUICK, loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST)
        wait_until(lambda: web.source.flying[-1:] == [1], "the answer to begin")
        wait_until(lambda: web.source.flying[-1:] == [0], "the answer to be given up")
        web.wait_for_connections(0)
        assert len(read_all(client)) < len(huge().text)


def test_a_client_that_takes_its_answer_drop_by_drop_is_disconnected(loop: str) -> None:
    with serving(FakeSource(current=huge()), limits=QUICK, loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST)
        begun = time.monotonic()
        while web.server.connections or web.source.flying[-1:] != [0]:
            client.recv(100)
            time.sleep(0.01)
            assert time.monotonic() - begun < 3


def test_who_asks_on_without_reading_answers_is_disconnected(loop: str) -> None:
    with serving(FakeSource(current=huge()), limits=QUICK, loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST * 3)
        web.wait_for_connections(1)
        web.wait_for_connections(0)
        wait_until(lambda: web.source.flying[-1] == 0, "the answer to be given up")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"hello\r\n\r\n" * 100,
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x00" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 4000,
    ],
)
def test_garbage_is_answered_with_an_error_or_nothing_and_the_connection_ends(
    garbage: bytes, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(limits=QUICK, loop=loop) as web, web.connect() as client:
        client.sendall(garbage)
        answer = read_all(client)
        assert not answer or answer.split(b" ")[1].startswith(b"4")
        assert web.ask().status == 200
        web.wait_for_connections(0)
    assert "Traceback" not in caplog.text


def test_what_follows_a_request_and_is_none_ends_the_connection_after_the_answer(loop: str) -> None:
    with serving(limits=QUICK, loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST + b"garbage\r\n\r\n")
        read_all(client)
        assert web.ask().status == 200
        web.wait_for_connections(0)


def test_requests_that_come_together_are_answered_in_their_order(loop: str) -> None:
    with serving(limits=QUICK, loop=loop) as web, web.connect() as client:
        client.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + REQUEST + b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        answers = read_all(client)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.index(b"alive\n") < answers.index(exposition().text) < answers.index(b"ready\n")


def test_more_requests_at_once_than_anybody_needs_end_the_connection(loop: str) -> None:
    with serving(FakeSource(current=huge()), limits=QUICK, loop=loop) as web, web.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n" * 400)
        read_all(client)
        web.wait_for_connections(0)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /metrics HTTP/1.1\r\nX-Long: " + b"a" * 20_000,
        b"GET /" + b"a" * 20_000,
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 4_000,
    ],
)
def test_a_huge_head_is_refused(head: bytes, loop: str) -> None:
    with serving(limits=replace(QUICK, head_seconds=60), loop=loop) as web, web.connect() as client:
        client.sendall(head)
        assert read_all(client).startswith(b"HTTP/1.1 431 ") or not web.server.connections
        web.wait_for_connections(0)


def test_a_head_a_little_below_the_limit_is_not(loop: str) -> None:
    with serving(limits=QUICK, loop=loop) as web:
        assert web.ask(x_long="a" * 15_000).status == 200


def test_any_number_of_idle_connections_leaves_room_for_a_scrape(loop: str) -> None:
    limits = Limits(connections=50, head_seconds=60, idle_seconds=60)
    with serving(limits=limits, loop=loop) as web, ExitStack() as stack:
        idle = [stack.enter_context(web.connect()) for _ in range(120)]
        assert [web.ask().status for _ in range(3)] == [200] * 3
        wait_until(lambda: web.server.connections <= 50, "the server to be no more than full")
        # The oldest made room for the newest.
        assert read_all(idle[0]) == b""


def test_connections_that_are_being_answered_are_never_taken_for_idle(loop: str) -> None:
    limits = Limits(connections=4, taking_seconds=60)
    with serving(FakeSource(current=huge()), limits=limits, loop=loop) as web, ExitStack() as stack:
        idle = stack.enter_context(web.connect())
        web.wait_for_connections(1)
        slow = []
        for number in (1, 2, 3):
            # One after the other: a connection whose request the server has not read yet is idle, and may make room.
            slow.append(stack.enter_context(web.connect()))
            slow[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            wait_until(lambda: web.source.flying[-1:] == [number], f"{number} answers in flight")  # noqa: B023
        with web.connect():
            assert read_all(idle) == b""
        assert read_all(slow[0]).endswith(huge().text)


def test_closing_ends_idle_connections_at_once(loop: str) -> None:
    with serving(loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST)
        received = b""
        while not received.endswith(exposition().text):
            received += client.recv(65536)
        assert web.close(seconds=5) < 1
        assert read_all(client) == b""
        with pytest.raises(ConnectionRefusedError):
            web.connect()


def test_closing_lets_an_answer_under_way_be_taken(loop: str) -> None:
    with serving(FakeSource(current=huge()), loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST)
        wait_until(lambda: web.source.flying[-1:] == [1], "the answer to begin")
        closing = asyncio.run_coroutine_threadsafe(web.server.close(5), web.loop)
        assert read_all(client).endswith(huge().text)
        closing.result(5)


def test_closing_waits_no_longer_than_it_was_told_for_an_answer_that_nobody_takes(loop: str) -> None:
    with serving(FakeSource(current=huge()), loop=loop) as web, web.connect() as client:
        client.sendall(REQUEST)
        wait_until(lambda: web.source.flying[-1:] == [1], "the answer to begin")
        assert web.close(seconds=0.2) < 1
        assert len(read_all(client)) < len(huge().text)


async def test_an_address_that_is_taken_is_an_error_and_none_is_kept() -> None:
    keeper = WebKeeper(None)
    web = Web(FakeSource(), keeper)
    first = await serve(web, [("127.0.0.1", 0)], Traffic())
    with pytest.raises(OSError, match="in use"):
        await serve(web, [("127.0.0.1", 0), first.addresses[0]], Traffic())
    await first.close()


async def test_every_address_of_the_machine_means_both_kinds_where_there_are_both() -> None:
    server = await serve(Web(FakeSource(), WebKeeper(None)), [("", 0)], Traffic())
    hosts = {host for host, _ in server.addresses}
    await server.close()
    assert "0.0.0.0" in hosts  # noqa: S104  # what is asserted
    assert hosts <= {"0.0.0.0", "::"}  # noqa: S104


def test_idle_it_does_not_wake() -> None:
    with serving() as web:
        before = _switches()
        time.sleep(1.0)  # nothing happens, which is what is shown
        assert web.server.connections == 0
        assert _switches() - before < 5


def _switches() -> int:
    """Times that the thread called ``server`` has gone to sleep."""
    import threading  # noqa: PLC0415

    tid = next(thread.native_id for thread in threading.enumerate() if thread.name == "server")
    with open(f"/proc/self/task/{tid}/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))


class Full(socket.socket):
    """A listener from which nobody can be accepted: the process has no file descriptor left."""

    def accept(self) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_a_lack_of_descriptors_is_said_once_however_long_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = await serve(Web(FakeSource(exposition()), WebKeeper(None)), [("127.0.0.1", 0)], Traffic())
    with Full() as listener:
        for _ in range(3):
            server._accept(listener)
    (host, port), *_ = server.addresses
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    reason = getattr(caplog.records[0], "npu_fields")["reason"]  # noqa: B009  # not a field of its type
    assert reason.startswith(f"{host}:{port} (--listen-address): EMFILE (")
    _, writer = await asyncio.open_connection(host, port)
    while len(caplog.records) < 2:  # noqa: ASYNC110  # a log has no event
        await asyncio.sleep(0.01)
    writer.close()
    await server.close()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
