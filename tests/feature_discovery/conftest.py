from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from npu_feature_discovery.sinks.child import ApiAccess
from testkit.standins.apiserver import Authority, StandInApiServer
from testkit.waiting import PATIENCE


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the API server's certificate."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def api_server(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInApiServer]:
    """An API server with the node ``node-1`` and the namespace ``npu``, which the environment points to."""
    with StandInApiServer(authority) as server:
        server.add_node("node-1", {"kubernetes.io/hostname": "node-1"})
        server.store.namespaces.add("npu")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        yield server


@pytest.fixture
def service_account(api_server: StandInApiServer, tmp_path: Path) -> Path:
    """The directory with a token that the API server takes, and its authority's certificate."""
    directory = tmp_path / "serviceaccount"
    api_server.write_service_account(directory)
    return directory


@pytest.fixture
def access(service_account: Path) -> ApiAccess:
    """How a pod reaches the API server."""
    return ApiAccess(None, str(service_account), PATIENCE)
