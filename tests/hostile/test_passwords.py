"""Strangers who guess passwords, from one address and from many: who has the right one gets in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import count

import pytest

from hostile.node import ROUNDS, USER, AttackedNode, StartNode, authorization, crowd
from npu_core.testing import warboy

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

GUESSERS = 40


@asynccontextmanager
async def _guessing(node: AttackedNode, user: str, addresses: int) -> AsyncIterator[None]:
    """Forty clients that try one wrong password after another."""
    number = count()
    first = asyncio.Event()

    async def guess(client: int) -> None:
        source = f"127.0.1.{1 + client % addresses}"
        while True:
            given = authorization(f"wrong {next(number)}", user)
            status = await asyncio.to_thread(node.status, node.exporter, "/metrics", given, source)
            assert status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, 0}
            first.set()

    tasks = [asyncio.create_task(guess(client)) for client in range(GUESSERS)]
    await first.wait()
    yield
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("user", [USER, "nobody"])
@pytest.mark.parametrize("addresses", [1, GUESSERS])
async def test_the_right_password_gets_through_a_flood_of_wrong_ones(
    start_node: StartNode, user: str, addresses: int
) -> None:
    node = await start_node(warboy(0))
    async with _guessing(node, user, addresses), node.works() as checks:
        await checks.rounds(2 * ROUNDS)


async def test_strangers_take_nothing_of_the_rate_that_is_granted(start_node: StartNode) -> None:
    node = await start_node(warboy(0), web={"rate_limit": {"interval": "20ms", "burst": 5}})
    ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with node.works() as checks, crowd(node.exporter, 50, says=ask, again=True):
        await checks.rounds(2 * ROUNDS)
