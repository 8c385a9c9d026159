"""Sockets that listen: which addresses they have, and what happens where one cannot be had."""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

import pytest
import uvloop

from footprint import footprint
from npu_core.service.listening import listen
from npu_core.service.probe import Answer, Probe

LOOPBACK6 = ("::1", 0)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(LOOPBACK6)
    except OSError:
        return False
    return True


def addresses(sockets: tuple[socket.socket, ...]) -> set[str]:
    """Where they listen; they are closed."""
    found = {each.getsockname()[0] for each in sockets}
    for each in sockets:
        each.close()
    return found


async def test_an_address_is_listened_on_and_connections_come() -> None:
    (listener,) = await listen("127.0.0.1", 0)
    with closing(listener):
        with socket.create_connection(listener.getsockname(), timeout=5):
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        with closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not listener.getblocking()


async def test_no_host_is_every_address_of_the_machine() -> None:
    every = {"0.0.0.0", "::"} if has_ipv6() else {"0.0.0.0"}  # noqa: S104  # never connected to
    assert addresses(await listen("", 0)) == every


async def test_a_name_is_looked_up() -> None:
    assert addresses(await listen("localhost", 0)) & {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "x" * 64 + ".invalid"])
async def test_a_name_that_nobody_has_or_can_have_is_an_error(host: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        await listen(host, 0)


async def test_an_address_that_is_taken_is_an_error_and_the_others_are_given_back() -> None:
    (taken,) = await listen("127.0.0.1", 0)
    with closing(taken):
        before = footprint(os.getpid()).files
        with pytest.raises(OSError, match="in use"):
            await listen("", taken.getsockname()[1])
        assert footprint(os.getpid()).files == before


async def _serve_for_a_moment() -> int:
    """How many threads serving at an address takes."""
    before = footprint(os.getpid()).threads
    async with await Probe({"/": lambda: Answer("here\n")}).serve("127.0.0.1", 0):
        return footprint(os.getpid()).threads - before


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_serving_at_an_address_takes_no_thread(run: Callable[[Coroutine[Any, Any, int]], int]) -> None:
    assert run(_serve_for_a_moment()) == 0
