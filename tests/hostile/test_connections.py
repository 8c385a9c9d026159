"""Thousands of clients that keep their connections: probes, scrapes and pods go on, and memory is bounded."""

import asyncio

import pytest

from npu_core.arch import Arch
from npu_core.testing import rngd, warboy
from tests.hostile.node import FAILED_BY_MANY, StartNode, authorization, crowd

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

HALF = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
WHOLE = HALF + b"\r\n"
SCRAPE = HALF + b"Authorization: %b\r\n\r\n" % authorization()["Authorization"].encode()
"""A whole request with the password: its answer has all series of all cards."""
HEADERS = HALF + b"".join(b"%04x:\r\n" % number for number in range(2200))
"""As many headers as a request can have."""
MANY = 2000
LEFT_BEHIND = 5 << 20
"""Bytes of memory that an attack may leave behind, beside what the same attack has left behind before."""


@pytest.mark.parametrize("says", [b"", HALF, WHOLE, HEADERS], ids=["silent", "half", "whole", "headers"])
async def test_thousands_of_connections_cost_nobody_an_answer_and_bounded_memory(
    start_node: StartNode, says: bytes
) -> None:
    node = await start_node(warboy(0))
    async with node.works() as checks:
        for target in node.targets:
            async with crowd(target, MANY, says=says):
                await checks.rounds()
                peak = target.resident
            assert peak < target.limit
            # An allocator keeps what it once had: the first crowd may leave something behind, the second one may not.
            async with crowd(target, MANY, says=says):
                await checks.rounds()
                grown = target.resident - peak
                assert grown < LEFT_BEHIND, f"{target.name}: {grown} bytes more than after the first crowd"


@pytest.mark.parametrize(("addresses", "tolerated"), [(1, 0), (500, FAILED_BY_MANY)])
async def test_clients_that_come_again_as_soon_as_they_are_cut_off(
    start_node: StartNode, addresses: int, tolerated: int
) -> None:
    node = await start_node(warboy(0))
    # From one address they have that address's share. From many, a connection may lose its place before it has asked.
    async with node.works(tolerated) as checks:
        for target in node.targets:
            async with crowd(target, 400, says=HALF, again=True, addresses=addresses):
                await checks.rounds()


async def test_clients_that_take_their_answers_a_byte_a_second(start_node: StartNode) -> None:
    node = await start_node(*map(rngd, range(64)))
    async with node.works() as checks:
        for target in node.targets:
            async with crowd(target, 60, says=SCRAPE * 8, reads=1, again=True):
                await checks.rounds(10)


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
