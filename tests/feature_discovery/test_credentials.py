"""How the API server is reached: through a proxy or past it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from npu_feature_discovery.publish.credentials import configuration
from npu_feature_discovery.sinks import FailureReason, SinkError
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
        ("fd00::1", "[FD00::]/8", True),
        ("fd00::1", "[fd00::1]:6443", True),
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


def giant(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("name", ["token", "ca.crt", "kubeconfig"])
@pytest.mark.parametrize("make", [os.mkfifo, giant])
def test_a_pipe_or_a_giant_in_the_place_of_a_file_is_refused_by_its_path(
    service_account: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], object]
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    path = service_account / name
    path.unlink(missing_ok=True)
    make(path)
    with pytest.raises(SinkError) as caught:
        configuration(ApiAccess(str(path) if name == "kubeconfig" else None, str(service_account), 1.0))
    assert caught.value.reason is FailureReason.CONFIGURATION
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("user", "tokenFile"),
        ("user", "client-certificate"),
        ("user", "client-key"),
        ("cluster", "certificate-authority"),
    ],
)
def test_a_pipe_that_a_kubeconfig_names_is_refused_by_its_path(tmp_path: Path, part: str, key: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    parts = {"cluster": {"server": "https://here"}, "user": {"token": "t"}}
    parts[part][key] = "pipe"
    named = {name: [{"name": "c", each: parts[each]}] for name, each in (("users", "user"), ("clusters", "cluster"))}
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps({"current-context": "c", "contexts": [context], **named}))
    with pytest.raises(SinkError) as refused:
        configuration(ApiAccess(str(kubeconfig), "", 1.0))
    assert refused.value.reason is FailureReason.CONFIGURATION
    assert str(pipe) in refused.value.message
