"""How the API server is reached: through a proxy or past it."""

from pathlib import Path

import pytest

from npu_feature_discovery.publish.credentials import configuration
from npu_feature_discovery.sinks.child import ApiAccess

PROXY = "http://proxy.example:3128"


def goes_past_the_proxy(directory: Path, host: str, port: str, no_proxy: str, patch: pytest.MonkeyPatch) -> bool:
    """Whether the real client leaves the proxy out."""
    from kubernetes.client import ApiClient  # noqa: PLC0415  # takes a while to load

    for name, value in (("HTTPS_PROXY", PROXY), ("NO_PROXY", no_proxy), ("HTTP_PROXY", "")):
        patch.setenv(name, value)
        patch.setenv(name.lower(), value)
    patch.setenv("KUBERNETES_SERVICE_HOST", host)
    patch.setenv("KUBERNETES_SERVICE_PORT", port)
    pool = ApiClient(configuration(ApiAccess(None, str(directory), 1.0))).rest_client.pool_manager
    return str(type(pool).__name__) != "ProxyManager"


@pytest.mark.parametrize(("no_proxy", "past"), [("[fd00::1]:443", True), ("[fd00::1]:80", False)])
def test_an_api_server_without_a_port_has_that_of_its_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: str, *, past: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    monkeypatch.setenv("no_proxy", no_proxy)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, users: [{name: u, user: {}}], "
        "contexts: [{name: c, context: {cluster: c, user: u}}], "
        'clusters: [{name: c, cluster: {server: "https://[fd00::1]"}}]}'
    )
    made = configuration(ApiAccess(str(kubeconfig), "", 1.0))
    assert (made.no_proxy == "fd00::1") is past


@pytest.mark.parametrize(
    ("host", "no_proxy", "past"),
    [
        ("::1", "[::1]", True),
        ("::1", "a.example, [::1] ,b.example", True),
        ("::1", "[0:0:0:0:0:0:0:1]", True),
        ("fd00::1", "[FD00::]/8", True),
        ("fd00::1", "[fd00::1]:6443", True),
        ("fd00::1", "[fd00:0::1]:6443", True),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "[fd00::1]:443", False),
        ("fd00::1", "[fd00::2]", False),
        ("fd00::1", "[fe80::]/10", False),
        ("fd00::1", "[fd00::1", False),
        ("10.0.0.1", "10.0.0.0/8", True),
        ("10.0.0.1", "[::1]", False),
        ("api.example", ".example", True),
        ("api.example", "", False),
    ],
)
def test_an_api_server_that_no_proxy_names_is_reached_directly(
    service_account: Path, monkeypatch: pytest.MonkeyPatch, host: str, no_proxy: str, *, past: bool
) -> None:
    assert goes_past_the_proxy(service_account, host, "6443", no_proxy, monkeypatch) is past
