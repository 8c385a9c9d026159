"""A server as a fixture."""

from collections.abc import AsyncIterator

import pytest

from npu_core.service.http.server import Server
from tests.core.service.http_clients import ROUTES, served


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with await served(ROUTES) as server:
        yield server
