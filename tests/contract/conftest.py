"""Machines for tests. Each module has one event loop, so that its tests can share what takes long to set up."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from testkit.services.node import MakeNode, Node


@pytest_asyncio.fixture(loop_scope="module")
async def make_node() -> AsyncIterator[MakeNode]:
    """Makes machines on which nothing runs yet; they and everything on them end with the test."""
    async with AsyncExitStack() as stack:

        async def make(*arguments: object, **settings: object) -> Node:
            return await stack.enter_async_context(Node(*arguments, **settings))  # type: ignore[arg-type]  # passed on

        yield make


@pytest.fixture
def pod_resources_dir() -> Iterator[Path]:
    """A place for the kubelet's PodResources socket, with a path that is short enough."""
    path = Path(tempfile.mkdtemp(prefix="r-"))
    yield path / "pods"
    shutil.rmtree(path)
