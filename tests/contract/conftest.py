"""Machines for tests. Each module has one event loop, so that its tests can share what takes long to set up."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio

from contract.node import MakeNode, Node


@pytest_asyncio.fixture(loop_scope="module")
async def make_node() -> AsyncIterator[MakeNode]:
    """Makes machines on which nothing runs yet; they and everything on them end with the test."""
    async with AsyncExitStack() as stack:

        async def make(*arguments: object, **settings: object) -> Node:
            return await stack.enter_async_context(Node(*arguments, **settings))  # type: ignore[arg-type]  # passed on

        yield make
