"""Clients of the HTTP server: whom it cuts off, and who makes room for whom."""

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Callable
from functools import partial

import pytest

from npu_core.service.events import SharedEvent
from npu_core.service.http.connection import Limits
from npu_core.service.http.messages import Answer
from npu_core.service.http.server import Server, bounded_by_descriptors
from npu_core.service.http.traffic import Refusal, Traffic
from testkit.loop_clock import LoopClock
from testkit.waiting import eventually
from tests.core.service.http_clients import KEPT, LARGE, LIMITS, ROUTES, Client, ask, request_for, served, status_of

# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"GET /healthz HTTP/1.1\r\n", b""], ids=["told", "silent"])
async def test_a_request_has_to_arrive_in_time_however_often_a_part_of_it_comes(said: bytes) -> None:
    traffic, clock = Traffic(), LoopClock()
    async with await served(ROUTES, traffic=traffic) as server:
        client = await Client.of(server)
        for _ in range(2):
            client.say(said)
            # What the server has read when it answers a later client.
            assert status_of(await ask(server)) == 200
            assert traffic.refused == {}
            clock.advance(LIMITS.head_seconds * 0.6)
            said = said and b"X: y\r\n"
        answer = await client.rest()
        assert status_of(answer) == 408 if said else answer == b""
    assert traffic.refused == {Refusal.SLOW_REQUEST: 1}


async def test_a_connection_without_requests_is_closed_after_a_while_and_nobody_is_blamed() -> None:
    traffic, clock = Traffic(), LoopClock()
    async with await served(ROUTES, traffic=traffic) as server:
        client = await Client.of(server)
        for _ in range(2):
            client.say(KEPT)
            assert status_of(await client.one()) == 200
            assert status_of(await ask(server)) == 200
            clock.advance(LIMITS.idle_seconds - 1)
        assert status_of(await ask(server)) == 200
        assert server.connections == 1
        clock.advance(2)
        assert await client.rest() == b""
    assert traffic.refused == {}


def _is_taking(server: Server) -> bool:
    """Whether the server has an answer left which the kernel and the client do not take."""
    return any(each.is_taking and each._writable for each in server._clients.guests())


@pytest.mark.parametrize("size", [1_000_000, len(LARGE)])
@pytest.mark.parametrize("more", [b"", KEPT, b"garbage\r\n\r\n", b"x" * 20_000], ids=["", "asks", "garbage", "much"])
async def test_an_answer_has_to_be_taken_in_time_and_asking_on_gives_no_more_time(size: int, more: bytes) -> None:
    """What the kernel keeps of answers counts as memory of the container: it takes no large answer for a client."""
    traffic, clock = Traffic(), LoopClock()
    async with await served({**ROUTES, "/": lambda: Answer("x" * size)}, traffic=traffic) as server:
        client = await Client.of(server)
        client.say(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await eventually(lambda: _is_taking(server), "the client is given its answer")
        clock.advance(LIMITS.taking_seconds * 0.6)
        client.say(more)
        assert status_of(await ask(server)) == 200
        assert traffic.refused[Refusal.SLOW_ANSWER] == 0
        clock.advance(LIMITS.taking_seconds * 0.6)
        await eventually(lambda: traffic.refused[Refusal.SLOW_ANSWER] == 1, "the client is cut off")
        await eventually(lambda: server.connections == 0, "the client has gone")
        client.leave()


async def test_a_server_that_closes_lets_answers_be_taken_and_cuts_the_others_off() -> None:
    clock = LoopClock()
    server = await served(ROUTES)
    idle, taking, never = [await Client.of(server) for _ in range(3)]
    idle.say(KEPT)
    await idle.one()
    for client in (taking, never):
        client.say(request_for("/large"))
        await client.reader.readexactly(1)
    closing = asyncio.create_task(server.close(30.0))
    assert await idle.rest() == b""
    assert (await taking.rest()).endswith(b"x")
    assert not closing.done()
    clock.advance(31.0)
    await closing
    assert server.connections == 0
    assert len(await never.rest()) < len(LARGE)
    with pytest.raises(ConnectionRefusedError):
        await Client.of(server)


# -- room -------------------------------------------------------------------------------------------------------------


async def test_silent_clients_never_keep_a_probe_from_its_answer() -> None:
    traffic = Traffic()
    async with await served(ROUTES, Limits(connections=20), traffic) as server:
        first, *others = [await Client.of(server, "127.0.0.2") for _ in range(50)]
        for _ in range(5):
            assert status_of(await ask(server)) == 200
        assert traffic.connections <= 20
        assert traffic.refused[Refusal.ROOM] >= 30
        # The client that waited longest made room.
        assert await first.rest() == b""
        for client in others:
            client.leave()


async def test_the_client_of_one_connection_is_not_cut_off_by_the_client_of_many() -> None:
    async with await served(ROUTES, Limits(connections=20)) as server:
        client = await Client.of(server, "127.0.0.3")
        await eventually(lambda: server.connections == 1, "the client is there")
        many = [await Client.of(server, "127.0.0.2") for _ in range(60)]
        client.say(request_for())
        assert status_of(await client.rest()) == 200
        for each in many:
            each.leave()


async def test_a_client_that_was_just_answered_waits_less_long_than_one_that_came_later() -> None:
    async with await served(ROUTES, Limits(connections=2)) as server:
        early, late = await Client.of(server), await Client.of(server)
        early.say(KEPT)
        assert status_of(await early.one()) == 200
        newest = await Client.of(server)
        assert await late.rest() == b""
        early.say(KEPT)
        assert status_of(await early.one()) == 200
        early.leave()
        newest.leave()


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
async def test_slow_readers_give_their_places_up_to_whoever_asks_of_the_same_address_or_another(source: str) -> None:
    traffic = Traffic()
    async with await served(ROUTES, Limits(answers=4), traffic) as server:
        slow = [await Client.of(server, source) for _ in range(10)]
        for number, client in enumerate(slow, 1):
            client.say(request_for("/large"))
            await client.reader.readexactly(1)
            assert status_of(await ask(server, "/metrics")) == 200
            assert traffic.refused[Refusal.SLOW_ANSWER] == max(0, number - 3)
        for client in slow:
            client.leave()


async def test_it_is_said_once_that_clients_are_cut_off_and_once_that_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock = LoopClock()
    async with await served(ROUTES, Limits(connections=16)) as server:
        for _ in range(2):
            silent = [await Client.of(server, "127.0.0.2") for _ in range(30)]
            assert status_of(await ask(server)) == 200
            for client in silent:
                client.leave()
            clock.advance(45.0)
            assert status_of(await ask(server)) == 200
        crowded = [(logging.WARNING, SharedEvent.TOO_MANY_CLIENTS)]
        assert [(record.levelno, record.getMessage()) for record in caplog.records] == crowded
        clock.advance(16.0)
        quiet = (logging.INFO, SharedEvent.NO_CLIENT_CUT_OFF)
        await eventually(lambda: len(caplog.records) > 1, "that it is over is said")
        assert [(record.levelno, record.getMessage()) for record in caplog.records] == [*crowded, quiet]


def _is(expected: int, number: Callable[[], int]) -> bool:
    return number() == expected


async def test_a_server_without_descriptors_rests_and_says_once_why_and_when_it_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    clock, tries = LoopClock(), 0
    async with await served(ROUTES) as server:
        accept = socket.socket.accept

        def refused(_: socket.socket) -> object:
            nonlocal tries
            tries += 1
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "accept", refused)
            client = await Client.of(server)
            for number in (1, 2, 3):
                await eventually(partial(_is, number, lambda: tries), "a try to take the client")
                clock.advance(1.1)
        assert socket.socket.accept is accept
        client.say(request_for())
        clock.advance(1.1)
        assert status_of(await client.rest()) == 200
    events = [record.getMessage() for record in caplog.records]
    assert events == [SharedEvent.CANNOT_TAKE_CONNECTIONS, SharedEvent.CAN_TAKE_CONNECTIONS]


def test_clients_get_no_more_descriptors_than_the_work_leaves() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for soft, connections in ((20_000, 128), (200, 72), (140, 16), (32, 16)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
            assert bounded_by_descriptors(Limits()).connections == connections
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
