"""Strangers who guess passwords, from one address and from many: who has the right one gets in."""

from http import HTTPStatus

import bcrypt
import pytest

from npu_core.testing import warboy
from tests.hostile.node import HASH, ROUNDS, USER, StartNode, authorization, crowd

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

GUESSERS = 40
OTHERS = {f"user{number}": f"secret {number}" for number in range(8)}
"""Users who ask for the first time while others guess: the exporter has not seen their passwords yet."""
REFUSALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


@pytest.mark.parametrize("user", [USER, "nobody"])
@pytest.mark.parametrize("addresses", [1, GUESSERS])
async def test_the_right_password_gets_through_a_flood_of_wrong_ones(
    start_node: StartNode, user: str, addresses: int
) -> None:
    hashes = {name: bcrypt.hashpw(password.encode(), bcrypt.gensalt(6)).decode() for name, password in OTHERS.items()}
    node = await start_node(warboy(0), web={"basic_auth_users": {USER: HASH, **hashes}})
    # The guesses are there before the first right password is.
    async with (
        crowd(node.exporter, GUESSERS, guesses=user, addresses=addresses, again=True) as strangers,
        node.works() as checks,
    ):
        for name, password in OTHERS.items():
            assert await node.asks(node.exporter, "/metrics", authorization(password, name)) == HTTPStatus.OK
        await checks.rounds(2 * ROUNDS)
    assert strangers.answers[HTTPStatus.UNAUTHORIZED]
    assert set(strangers.answers) <= REFUSALS


async def test_strangers_take_nothing_of_the_rate_that_is_granted(start_node: StartNode) -> None:
    # So slow a rate that strangers who took their part of it would leave none.
    node = await start_node(warboy(0), web={"rate_limit": {"interval": "20ms", "burst": 5}})
    ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with crowd(node.exporter, 50, says=ask, again=True) as strangers, node.works() as checks:
        await checks.rounds(4 * ROUNDS)
    assert strangers.answers[HTTPStatus.TOO_MANY_REQUESTS]
    assert set(strangers.answers) <= REFUSALS
