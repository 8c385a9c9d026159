"""Sockets that listen: which addresses they have, and what happens where one cannot be had."""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from npu_core.service.http.messages import Answer
from npu_core.service.http.server import serve
from npu_core.service.http.traffic import Traffic
from npu_core.service.listening import Addresses, listen
from testkit.footprint import footprint
from testkit.waiting import PATIENCE
from tests.core.service.http_clients import FixedPages

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
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE):
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        with closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not listener.getblocking()


async def test_no_host_is_every_address_of_the_machine() -> None:
    every = addresses(await listen("", 0))
    # Where IPv6 is switched off, some kernels give out its address for "every" all the same.
    assert every == {"0.0.0.0", "::"} or (every == {"0.0.0.0"} and not has_ipv6())  # noqa: S104  # never connected to


async def test_a_name_is_looked_up() -> None:
    assert addresses(await listen("localhost", 0)) & {"127.0.0.1", "::1"}


LOOPBACK = (socket.AF_INET, "127.0.0.1")
LOOPBACK_OF_IPV6 = (socket.AF_INET6, "::1")
SOMEBODY_ELSES = (socket.AF_INET, "203.0.113.1")
OF_NO_KERNEL = (socket.AF_APPLETALK, "")


async def _listening(*of_name: tuple[socket.AddressFamily, str]) -> set[str]:
    """Where a name that has these addresses is listened at."""

    def look_up(_host: str, port: int) -> Addresses:
        return [(family, socket.SOCK_STREAM, 0, "", (address, port)) for family, address in of_name]

    return addresses(await listen("name", 0, look_up))


async def test_of_a_name_an_address_of_a_family_that_the_kernel_has_not_is_none() -> None:
    """As ``localhost`` where IPv6 is off: /etc/hosts has ``::1`` all the same."""
    assert await _listening(OF_NO_KERNEL, LOOPBACK) == {"127.0.0.1"}
    assert await _listening(LOOPBACK_OF_IPV6, LOOPBACK) == {"127.0.0.1"} | ({"::1"} if has_ipv6() else set())


@pytest.mark.parametrize("of_name", [[OF_NO_KERNEL], [LOOPBACK, SOMEBODY_ELSES], []], ids=["family", "other", "none"])
async def test_a_name_without_an_address_of_ours_or_with_another_s_is_an_error(
    of_name: list[tuple[socket.AddressFamily, str]],
) -> None:
    with pytest.raises(OSError, match=r".+"):
        await _listening(*of_name)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "x" * 64 + ".invalid"])
async def test_a_name_that_nobody_has_or_can_have_is_an_error(host: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        await listen(host, 0)


async def test_an_address_that_is_taken_is_an_error_and_the_others_are_given_back() -> None:
    (taken,) = await listen("127.0.0.1", 0)
    with closing(taken):
        before = footprint(os.getpid()).files
        with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at
            await listen("", taken.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE
        assert footprint(os.getpid()).files == before


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_name_server_that_is_silent_does_not_keep_a_process_from_ending(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    answer, ended = threading.Event(), []

    def look_up(_host: str, _port: int) -> Addresses:
        ended.append(answer.wait(PATIENCE))
        return []

    async def end_while_it_looks() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listen("name", 0, look_up), 0.1)

    run(end_while_it_looks())
    assert ended == []
    answer.set()


async def test_the_thread_that_looked_a_name_up_ends() -> None:
    before = set(threading.enumerate())
    assert await _listening(LOOPBACK)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def _threads() -> set[str]:
    """The ids of this process's threads."""
    return {path.name for path in Path("/proc/self/task").iterdir()}


async def _serve_for_a_moment() -> set[str]:
    """The threads that serving at an address starts."""
    before = _threads()
    async with await serve(FixedPages({"/": lambda: Answer("here\n")}), [("127.0.0.1", 0)], Traffic()):
        return _threads() - before


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_serving_at_an_address_takes_no_thread(run: Callable[[Coroutine[Any, Any, set[str]]], set[str]]) -> None:
    assert run(_serve_for_a_moment()) == set()
