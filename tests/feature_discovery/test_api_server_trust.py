"""Which certificates of an API server the API sinks accept: those that kubectl and the other Go clients accept.

Python 3.13 and newer check certificates more strictly by default (``ssl.VERIFY_X509_STRICT``) than Go does. The images
have such a Python. So every test here makes that check the default, on whichever Python it runs.
"""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Self

import pytest
import urllib3
from urllib3.util.ssl_ import create_urllib3_context

from npu_feature_discovery.publish.credentials import configuration, tls_context
from npu_feature_discovery.sinks import FailureReason, Outcome
from npu_feature_discovery.sinks.child import ApiAccess
from testkit.standins.apiserver import Authority, StandInApiServer
from testkit.standins.apiserver.certificates import OF_AUTHORITY, OF_SERVER
from testkit.waiting import PATIENCE
from tests.feature_discovery.rigs import failure, node_labels

LABELS = {"beta.furiosa.ai/npu.count": "1"}

IN_USE = {
    "an authority without keyUsage": (OF_AUTHORITY[:1], OF_SERVER),
    "a server's certificate without authority key identifier": (
        OF_AUTHORITY,
        (*OF_SERVER, "authorityKeyIdentifier=none"),
    ),
    "both": (OF_AUTHORITY[:1], (*OF_SERVER, "authorityKeyIdentifier=none")),
    "an authority whose basicConstraints are not critical": (("basicConstraints=CA:TRUE", OF_AUTHORITY[1]), OF_SERVER),
}
"""Extensions of authority and server that clusters have, that Go accepts, and that the strict check refuses."""


class _Strict(ssl.SSLContext):
    """A context of TLS as Python 3.13 and newer make them by default."""

    def __new__(cls, protocol: int) -> Self:
        made = super().__new__(cls, protocol)
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        return made


@pytest.fixture(autouse=True)
def strict_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib3.util.ssl_.SSLContext", _Strict)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


def _server(authority: Authority) -> StandInApiServer:
    server = StandInApiServer(authority)
    server.add_node("node-1")
    return server


def _in_pod(server: StandInApiServer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> ApiAccess:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.write_service_account(directory)
    return ApiAccess(None, str(directory), PATIENCE)


def _by_kubeconfig(server: StandInApiServer, directory: Path, cluster: str) -> ApiAccess:
    config = directory / "config"
    config.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{server.url}"{cluster}}}}}]
users: [{{name: u, user: {{token: first-token}}}}]
""",
        encoding="utf-8",
    )
    return ApiAccess(str(config), "", PATIENCE)


@pytest.fixture(params=IN_USE)
def in_use(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    of_authority, of_server = IN_USE[request.param]
    return Authority(tmp_path, of_authority=of_authority, of_server=of_server)


def test_a_pod_trusts_certificates_that_clusters_have_and_the_strict_check_refuses(
    in_use: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _server(in_use) as server:
        with pytest.raises(urllib3.exceptions.MaxRetryError, match="verify failed"):
            urllib3.PoolManager(ca_certs=str(in_use.certificate), retries=0).request("GET", server.url)
        assert node_labels(_in_pod(server, tmp_path / "account", monkeypatch)).publish(LABELS) is Outcome.CREATED


# What the transport says of the last way.
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("by", ["file", "data", "the system's authorities", "nothing, and no check"])
def test_a_kubeconfig_names_the_authority_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    of_authority, of_server = IN_USE["both"]
    authority = Authority(tmp_path, of_authority=of_authority, of_server=of_server)
    if by == "the system's authorities":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    cluster = {
        "file": f', certificate-authority: "{authority.certificate}"',
        "data": f", certificate-authority-data: {base64.b64encode(authority.certificate.read_bytes()).decode()}",
        "the system's authorities": "",
        "nothing, and no check": ", insecure-skip-tls-verify: true",
    }[by]
    with _server(authority) as server:
        assert node_labels(_by_kubeconfig(server, tmp_path, cluster)).publish(LABELS) is Outcome.CREATED


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_chain_and_name_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    (tmp_path / "stranger").mkdir()
    elsewhere = (OF_SERVER[0], "subjectAltName=IP:127.0.0.2,DNS:elsewhere", "authorityKeyIdentifier=none")
    authority = Authority(
        tmp_path, of_authority=OF_AUTHORITY[:1], of_server=elsewhere if wrong == "name" else OF_SERVER
    )
    with _server(authority) as server:
        access = _in_pod(server, tmp_path / "account", monkeypatch)
        if wrong == "authority":
            stranger = Authority(tmp_path / "stranger", of_authority=OF_AUTHORITY[:1])
            (tmp_path / "account/ca.crt").write_bytes(stranger.certificate.read_bytes())
        assert failure(node_labels(access)).reason is FailureReason.TLS
    assert server.asked == []


def test_nothing_but_the_strict_check_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _server(Authority(tmp_path)) as server:
        context = tls_context(configuration(_in_pod(server, tmp_path / "account", monkeypatch)))
    default = create_urllib3_context()
    assert default.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags == default.verify_flags & ~ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is default.minimum_version
