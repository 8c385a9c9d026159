"""What the sinks behind the API server make of failures: a reason, when to try again, and what is not trusted then.

The words are in tests/golden/npu-feature-discovery.txt.
"""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from npu_feature_discovery.labels.table import Labels
from npu_feature_discovery.publish.api import MAX_ANSWER
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.child import ApiAccess
from testkit.standins.apiserver import Authority, Fault, StandInApiServer
from testkit.waiting import PATIENCE
from tests.feature_discovery.rigs import DirectSink, failure, node_feature, node_labels

LABELS: Labels = {"beta.furiosa.ai/npu.count": "1"}
OTHER_LABELS: Labels = {"beta.furiosa.ai/npu.count": "2"}
DEEP = b"[" * 100_000


@pytest.fixture
def feature(access: ApiAccess) -> DirectSink:
    return node_feature(access)


@pytest.fixture
def labels(access: ApiAccess) -> DirectSink:
    return node_labels(access)


# -- what the API server answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=410), (FailureReason.GONE, None)),
        (Fault(status=422), (FailureReason.REFUSED, None)),
        (Fault(status=500), (FailureReason.SERVER_ERROR, None)),
        (Fault(status=503, headers={"Retry-After": "7"}), (FailureReason.SERVER_ERROR, 7.0)),
        (Fault(status=429, headers={"Retry-After": "7"}), (FailureReason.THROTTLED, 7.0)),
        (
            Fault(status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
            (FailureReason.THROTTLED, None),
        ),
        (Fault(status=429, headers={"Retry-After": "9" * 400}), (FailureReason.THROTTLED, None)),
        (Fault(status=200, body=b"<html>sign in</html>"), (FailureReason.SERVER_ERROR, None)),
        (Fault(status=200, body=b"[]"), (FailureReason.SERVER_ERROR, None)),
        (Fault(status=200, body=b'{"ok": true}'), (FailureReason.SERVER_ERROR, None)),
        (Fault(status=200, body=b'{"metadata": ' + DEEP), (FailureReason.SERVER_ERROR, None)),
        (Fault(status=200, body=b'{"metadata": {"uid": "u", "labels": ' + DEEP), (FailureReason.SERVER_ERROR, None)),
        (Fault(status=200, body=b" " * (MAX_ANSWER + 1)), (FailureReason.SERVER_ERROR, None)),
        (Fault(status=500, body=b" " * (MAX_ANSWER + 1)), (FailureReason.SERVER_ERROR, None)),
        (Fault(drop=True), (FailureReason.UNREACHABLE, None)),
        (Fault(truncate=True), (FailureReason.UNREACHABLE, None)),
    ],
    ids=lambda value: str(value)[:70],
)
def test_whatever_the_server_does_wrong_has_a_reason_and_the_client_leaves_the_next_attempt_to_the_service(
    api_server: StandInApiServer,
    labels: DirectSink,
    fault: Fault,
    expected: tuple[FailureReason, float | None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    api_server.fail(replace(fault, times=None))
    found = failure(labels)
    assert (found.reason, found.retry_after) == expected
    assert len(api_server.asked) == 1
    assert caplog.records == []
    api_server.heal()
    assert labels.publish(LABELS) is Outcome.CREATED


OURS = {"manager": "npu-feature-discovery", "operation": "Apply"}


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({}, "uid"),
        ({"uid": 7}, "uid"),
        ({"uid": "u", "labels": ["a"]}, "labels"),
        ({"uid": "u", "managedFields": {"a": 1}}, "managedFields"),
        ({"uid": "u", "managedFields": ["a", None]}, "managedFields"),
        ({"uid": "u", "managedFields": [{**OURS, "fieldsV1": []}]}, "fieldsV1"),
        ({"uid": "u", "managedFields": [{**OURS, "fieldsV1": {"f:metadata": 1}}]}, "f:metadata"),
        ({"uid": "u", "managedFields": [{**OURS, "fieldsV1": {"f:metadata": {"f:labels": 1}}}]}, "f:labels"),
    ],
)
def test_metadata_of_another_form_is_the_servers_error_and_is_named(
    api_server: StandInApiServer, labels: DirectSink, metadata: object, named: str
) -> None:
    api_server.fail(Fault(method="GET", status=200, body=json.dumps({"metadata": metadata}).encode()))
    found = failure(labels)
    assert found.reason is FailureReason.SERVER_ERROR
    assert f" {named} " in found.message


@pytest.mark.parametrize("odd", [[], "a", {"a": {}}])
def test_a_node_feature_with_odd_labels_is_a_failure_with_a_reason(
    api_server: StandInApiServer, feature: DirectSink, odd: object
) -> None:
    body = json.dumps({"metadata": {"name": "x", "labels": odd}}).encode()
    api_server.fail(Fault(method="GET", status=200, body=body, times=None))
    assert failure(feature).reason in {FailureReason.SERVER_ERROR, FailureReason.REFUSED, FailureReason.CONFLICT}


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(method="PATCH", drop=True)])
@pytest.mark.parametrize("then", [LABELS, OTHER_LABELS])
def test_after_a_failure_that_may_have_been_none_nothing_is_trusted(
    api_server: StandInApiServer, labels: DirectSink, fault: Fault, then: Labels
) -> None:
    labels.publish(LABELS)
    api_server.fail(fault)
    failure(labels, OTHER_LABELS)
    assert labels.known() == {}
    labels.publish(then)
    assert api_server.node_labels("node-1").items() >= then.items()


def test_an_answer_lost_on_its_way_is_found_done_the_next_time(
    api_server: StandInApiServer, feature: DirectSink
) -> None:
    api_server.fail(Fault(method="POST", drop=True))
    assert failure(feature).reason is FailureReason.UNREACHABLE
    assert feature.publish(LABELS) is Outcome.UNCHANGED


# -- what is not there or not allowed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "allowed", "lacking"),
    [
        (node_feature, ("get", "nodefeatures.nfd.k8s-sigs.io"), "create on nodefeatures.nfd.k8s-sigs.io"),
        (node_labels, ("get", "nodes"), "patch on nodes"),
    ],
)
def test_a_verb_that_rbac_does_not_allow_is_named_with_its_resource(
    api_server: StandInApiServer,
    access: ApiAccess,
    make: Callable[[ApiAccess], DirectSink],
    allowed: tuple[str, str],
    lacking: str,
) -> None:
    api_server.allowed = {allowed}
    found = failure(make(access))
    assert found.reason is FailureReason.FORBIDDEN
    assert lacking in found.message


def test_a_removal_that_rbac_does_not_allow_names_its_verb(api_server: StandInApiServer, feature: DirectSink) -> None:
    feature.publish(LABELS)
    api_server.allowed = set()
    with pytest.raises(SinkError) as caught:
        feature.remove()
    assert caught.value.reason is FailureReason.FORBIDDEN
    assert "delete on nodefeatures.nfd.k8s-sigs.io" in caught.value.message


def test_without_nfds_definitions_nothing_is_installed_and_nothing_to_remove(
    api_server: StandInApiServer, feature: DirectSink
) -> None:
    api_server.installed = False
    assert failure(feature).reason is FailureReason.NOT_INSTALLED
    assert feature.remove() is Outcome.ABSENT


def test_a_node_that_is_not_there_is_never_made(api_server: StandInApiServer, access: ApiAccess) -> None:
    found = failure(node_labels(access, "node-2"))
    assert found.reason is FailureReason.NO_NODE
    assert '"node-2"' in found.message
    assert [asked.method for asked in api_server.asked] == ["GET"]


@pytest.mark.usefixtures("api_server")
@pytest.mark.parametrize(("node", "namespace"), [("node-1", "elsewhere"), ("n" * 64, "npu")])
def test_a_namespace_that_is_not_there_or_a_name_that_is_too_long_is_a_matter_of_configuration(
    access: ApiAccess, node: str, namespace: str
) -> None:
    assert failure(node_feature(access, node, namespace)).reason is FailureReason.CONFIGURATION
    assert node_feature(access, node[:63], "npu").publish(LABELS) is Outcome.CREATED


# -- the way there ----------------------------------------------------------------------------------------------------


def test_an_answer_that_does_not_come_is_a_timeout(api_server: StandInApiServer, access: ApiAccess) -> None:
    api_server.fail(Fault(delay=2 * PATIENCE))
    assert failure(node_labels(replace(access, timeout=0.5))).reason is FailureReason.TIMEOUT


def test_a_server_that_is_not_there_is_unreachable(labels: DirectSink, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:  # bound and not listening: nobody else gets the port
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        found = failure(labels)
    assert found.reason is FailureReason.UNREACHABLE
    assert f"127.0.0.1:{port}" in found.message


@pytest.mark.usefixtures("api_server")
def test_an_authority_that_is_no_certificate_is_a_matter_of_tls(service_account: Path, labels: DirectSink) -> None:
    (service_account / "ca.crt").write_text("no certificate\n", encoding="ascii")
    assert failure(labels).reason is FailureReason.TLS


def test_a_server_without_tls_is_a_matter_of_tls(labels: DirectSink, monkeypatch: pytest.MonkeyPatch) -> None:
    with StandInApiServer(None) as plain:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(plain.port))
        assert failure(labels).reason is FailureReason.TLS


# -- credentials ------------------------------------------------------------------------------------------------------


def test_a_token_is_taken_up_when_it_is_rotated(
    api_server: StandInApiServer, service_account: Path, labels: DirectSink
) -> None:
    labels.publish(LABELS)
    api_server.tokens = {"second-token"}
    found = failure(labels, OTHER_LABELS)
    assert found.reason is FailureReason.UNAUTHORIZED, found.message
    api_server.write_service_account(service_account, "second-token")
    assert labels.publish(OTHER_LABELS) is Outcome.UPDATED


def test_a_token_with_a_line_end_is_taken_without_it(service_account: Path, labels: DirectSink) -> None:
    (service_account / "token").write_text("first-token\n", encoding="ascii")
    assert labels.publish(LABELS) is Outcome.CREATED


@pytest.mark.parametrize("name", ["token", "ca.crt"])
@pytest.mark.parametrize("content", [None, ""])
@pytest.mark.usefixtures("api_server")
def test_a_service_account_that_lacks_something_is_a_matter_of_configuration(
    service_account: Path, labels: DirectSink, name: str, content: str | None
) -> None:
    (service_account / name).unlink()
    if content is not None:
        (service_account / name).write_text(content, encoding="ascii")
    found = failure(labels)
    assert found.reason is FailureReason.CONFIGURATION
    assert str(service_account) in found.message


@pytest.mark.parametrize("token", [b"sec\nret", b"secr\xc3\xa9t", b"sec\xffret"])
@pytest.mark.usefixtures("api_server")
def test_a_token_that_fits_no_header_is_not_shown(
    service_account: Path, labels: DirectSink, token: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (service_account / "token").write_bytes(token)
    found = failure(labels)
    assert found.reason is FailureReason.CONFIGURATION
    assert "sec" not in found.message.replace(str(service_account), "")
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("api_server")
def test_outside_of_a_pod_without_a_kubeconfig_is_a_matter_of_configuration(
    labels: DirectSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert failure(labels).reason is FailureReason.CONFIGURATION


def test_a_kubeconfig_says_where_and_who(
    api_server: StandInApiServer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    sink = node_labels(_access_by(tmp_path, _kubeconfig(api_server, authority)))
    assert sink.publish(LABELS) is Outcome.CREATED
    api_server.tokens = {"another"}
    assert failure(sink, OTHER_LABELS).reason is FailureReason.UNAUTHORIZED


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[1, 2]",
        "just words",
        "{unclosed: [",
        "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\ncontexts: []\nclusters: []\nusers: []\n",
    ],
)
def test_a_bad_kubeconfig_is_a_matter_of_configuration(tmp_path: Path, text: str | None) -> None:
    found = failure(node_labels(_access_by(tmp_path, text)))
    assert found.reason is FailureReason.CONFIGURATION
    assert str(tmp_path / "config") in found.message


def _access_by(directory: Path, text: str | None) -> ApiAccess:
    config = directory / "config"
    if text is not None:
        config.write_text(text, encoding="utf-8")
    return ApiAccess(str(config), "", PATIENCE)


def _kubeconfig(server: StandInApiServer, authority: Authority) -> str:
    return f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{server.url}", certificate-authority: "{authority.certificate}"}}}}]
users: [{{name: u, user: {{token: first-token}}}}]
"""
