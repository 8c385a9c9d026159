"""Thousands of clients that keep their connections: probes, scrapes and pods go on, and the memory comes back."""

import asyncio
from functools import partial

import pytest

from hostile.node import StartNode, Target, crowd
from npu_core.arch import Arch
from npu_core.testing import rngd, warboy

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

HALF = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
WHOLE = HALF + b"\r\n"
BACK = 5 << 20
"""Bytes of memory that an attack may leave behind."""


@pytest.mark.parametrize("says", [b"", HALF, WHOLE], ids=["silent", "half a request", "a whole one"])
async def test_sixteen_thousand_connections_cost_nobody_an_answer_and_no_memory(
    start_node: StartNode, says: bytes
) -> None:
    node = await start_node(warboy(0))
    before = {target: target.resident for target in node.targets}
    logged = {target: target.logged_bytes for target in node.targets}
    peak: dict[Target, int] = {}
    async with node.works() as checks:
        for target in node.targets:
            async with crowd(target, 16_000, says=says):
                peak[target] = target.resident
                await checks.rounds()
                peak[target] = max(peak[target], target.resident)
    for target in node.targets:
        assert peak[target] < target.limit
        bound = before[target] + BACK
        await node.eventually(partial(_has_at_most, target, bound), "the memory is back")
        assert target.logged_bytes - logged[target] < 20_000


def _has_at_most(target: Target, resident: int) -> bool:
    return target.resident < resident


@pytest.mark.parametrize("addresses", [1, 500])
async def test_clients_that_come_again_as_soon_as_they_are_cut_off(start_node: StartNode, addresses: int) -> None:
    node = await start_node(warboy(0))
    async with node.works() as checks:
        for target in node.targets:
            async with crowd(target, 400, says=HALF, again=True, addresses=addresses):
                await checks.rounds()


async def test_seventeen_silent_clients_are_enough_for_nothing(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    async with node.works() as checks:
        for target in node.targets:
            async with crowd(target, 17, again=True):
                await checks.rounds()


async def test_clients_that_take_their_answers_a_byte_a_second(start_node: StartNode) -> None:
    node = await start_node(*map(rngd, range(64)))
    async with node.works() as checks:
        for target in node.targets:
            async with crowd(target, 60, says=WHOLE * 8, reads=1, again=True):
                await checks.rounds(20)


async def test_clients_that_ask_a_byte_a_second(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    async with node.works() as checks:
        for target in node.targets:
            async with crowd(target, 300, says=b"GET /", drips=b"x", again=True):
                await asyncio.sleep(2)
                await checks.rounds()


async def test_a_process_of_few_descriptors_still_lists_cards(start_node: StartNode) -> None:
    few = ("prlimit", "--nofile=256:256")
    node = await start_node(warboy(0), warboy(1), before=few)
    async with node.works() as checks:
        for target in node.targets:
            async with crowd(target, 3000, again=True):
                await checks.rounds()
        async with crowd(node.plugin, 3000, again=True), crowd(node.discovery, 3000, again=True):
            card = node.node.host.card(Arch.WARBOY, 1)
            card.die()
            await node.node.offers("npu0pe0-1")
            card.revive()
            await node.node.offers("npu0pe0-1", "npu1pe0-1")
