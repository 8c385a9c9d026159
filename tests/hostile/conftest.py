"""Nodes that are attacked."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.hostile.node import AttackedNode, StartNode


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip an attack that nobody asked for."""
    if "hostile" not in item.config.option.markexpr:
        pytest.skip("only make test-hostile attacks the services")


@pytest_asyncio.fixture
async def start_node() -> AsyncIterator[StartNode]:
    """Starts nodes; they and everything on them end with the test."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: object, **options: object) -> AttackedNode:
            context = options.pop("context", None)
            node = AttackedNode(*arguments, context=context)  # type: ignore[arg-type]  # passed on
            return await (await stack.enter_async_context(node)).up(**options)  # type: ignore[arg-type]  # passed on

        yield start
