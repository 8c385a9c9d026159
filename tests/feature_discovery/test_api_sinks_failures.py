"""What the sinks behind the API server say when it does not work: reason, words, and when to try again."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from npu_feature_discovery.labels import Labels
from npu_feature_discovery.publish.api import MAX_ANSWER
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.api_sink import ApiSink
from npu_feature_discovery.sinks.child import ApiAccess
from npu_feature_discovery.sinks.node_feature import NodeFeatureSink
from npu_feature_discovery.sinks.node_labels import NodeLabelsSink
from testkit.standins.apiserver import Authority, Fault, StandInApiServer
from testkit.standins.apiserver.store import NODE_FEATURES, Key

LABELS: Labels = {"beta.furiosa.ai/npu.count": "1"}
OTHER_LABELS: Labels = {"beta.furiosa.ai/npu.count": "2"}


@pytest.fixture
def access(service_account: Path) -> ApiAccess:
    return ApiAccess(None, str(service_account), 10.0)


@pytest.fixture
def node_feature(access: ApiAccess) -> NodeFeatureSink:
    return NodeFeatureSink(access, "node-1", "npu")


@pytest.fixture
def node_labels(access: ApiAccess) -> NodeLabelsSink:
    return NodeLabelsSink(access, "node-1")


def _failure(sink: ApiSink) -> SinkError:
    with pytest.raises(SinkError) as caught:
        sink.publish(LABELS)
    return caught.value


# Refusals


def test_a_verb_that_rbac_does_not_allow_is_named_with_its_resource(
    api_server: StandInApiServer, node_feature: NodeFeatureSink, node_labels: NodeLabelsSink
) -> None:
    api_server.allowed = {("get", "nodefeatures.nfd.k8s-sigs.io"), ("get", "nodes")}
    create, patch = _failure(node_feature), _failure(node_labels)
    assert (create.reason, patch.reason) == (FailureReason.FORBIDDEN, FailureReason.FORBIDDEN)
    assert "the verb create on nodefeatures.nfd.k8s-sigs.io" in create.message
    assert 'in namespace "npu"' in create.message
    assert "the verb patch on nodes" in patch.message


def test_without_nfds_definitions_it_says_so(api_server: StandInApiServer, node_feature: NodeFeatureSink) -> None:
    api_server.installed = False
    failure = _failure(node_feature)
    assert failure.reason is FailureReason.NOT_INSTALLED
    assert "NFD v0.12" in failure.message
    assert node_feature.remove() is Outcome.ABSENT


def test_a_namespace_that_is_not_there_is_a_matter_of_configuration(
    api_server: StandInApiServer, access: ApiAccess
) -> None:
    failure = _failure(NodeFeatureSink(access, "node-1", "elsewhere"))
    assert failure.reason is FailureReason.CONFIGURATION
    assert 'namespaces "elsewhere" not found' in failure.message
    assert [asked.status for asked in api_server.asked] == [404, 404]


def test_a_node_that_is_not_there_is_never_made(api_server: StandInApiServer, access: ApiAccess) -> None:
    failure = _failure(NodeLabelsSink(access, "node-2"))
    assert failure.reason is FailureReason.NO_NODE
    assert '"node-2"' in failure.message
    assert [asked.method for asked in api_server.asked] == ["GET"]


@pytest.mark.usefixtures("api_server")
def test_a_node_name_too_long_for_nfds_label_is_a_matter_of_configuration(access: ApiAccess) -> None:
    assert _failure(NodeFeatureSink(access, "n" * 64, "npu")).reason is FailureReason.CONFIGURATION


def test_a_conflict_that_does_not_end_is_told(api_server: StandInApiServer, node_feature: NodeFeatureSink) -> None:
    api_server.fail(Fault(method="POST", status=409, times=None))
    assert _failure(node_feature).reason is FailureReason.CONFLICT
    assert [asked.method for asked in api_server.asked].count("POST") == 3


def test_a_node_feature_that_is_being_deleted_is_not_taken_for_published(
    api_server: StandInApiServer, node_feature: NodeFeatureSink
) -> None:
    node_feature.publish(LABELS)
    key = Key(NODE_FEATURES, "npu", "furiosa-npu-features-for-node-1")
    with api_server.lock:
        api_server.store.merge(key, {"metadata": {"finalizers": ["example.com/hold"]}}, "somebody")
        api_server.store.delete(key)
    node_feature.forget()
    failure = _failure(node_feature)
    assert failure.reason is FailureReason.CONFLICT
    assert "being deleted" in failure.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (410, FailureReason.GONE),
        (422, FailureReason.REFUSED),
        (500, FailureReason.SERVER_ERROR),
        (503, FailureReason.SERVER_ERROR),
    ],
)
def test_a_status_has_its_reason_and_the_servers_words(
    api_server: StandInApiServer, node_labels: NodeLabelsSink, status: int, reason: FailureReason
) -> None:
    api_server.fail(Fault(method="PATCH", status=status))
    failure = _failure(node_labels)
    assert failure.reason is reason
    assert f"{status} injected {status}" in failure.message
    assert failure.retry_after is None


@pytest.mark.parametrize(("status", "reason"), [(429, FailureReason.THROTTLED), (503, FailureReason.SERVER_ERROR)])
def test_when_to_come_back_is_told_and_the_client_does_not_try_again_by_itself(
    api_server: StandInApiServer, node_labels: NodeLabelsSink, status: int, reason: FailureReason
) -> None:
    api_server.fail(Fault(status=status, headers={"Retry-After": "7"}, times=None))
    failure = _failure(node_labels)
    assert (failure.reason, failure.retry_after) == (reason, 7.0)
    assert len(api_server.asked) == 1


def test_a_date_to_come_back_at_is_as_good_as_none(api_server: StandInApiServer, node_labels: NodeLabelsSink) -> None:
    api_server.fail(Fault(status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}))
    assert _failure(node_labels).retry_after is None


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"[]", b'{"ok": true}'])
def test_an_answer_that_is_no_object_is_the_servers_error(
    api_server: StandInApiServer, node_labels: NodeLabelsSink, body: bytes
) -> None:
    api_server.fail(Fault(status=200, body=body))
    assert _failure(node_labels).reason is FailureReason.SERVER_ERROR


DEEP = b"[" * 100_000
OURS = {"manager": "npu-feature-discovery", "operation": "Apply"}


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({}, "uid"),
        ({"uid": 7}, "uid"),
        ({"uid": "u", "labels": ["a"]}, "labels"),
        ({"uid": "u", "labels": "a"}, "labels"),
        ({"uid": "u", "managedFields": {"a": 1}}, "managedFields"),
        ({"uid": "u", "managedFields": ["a", None]}, "managedFields"),
        ({"uid": "u", "managedFields": [{**OURS, "fieldsV1": []}]}, "fieldsV1"),
        ({"uid": "u", "managedFields": [{**OURS, "fieldsV1": {"f:metadata": 1}}]}, "f:metadata"),
        (
            {"uid": "u", "managedFields": [{**OURS, "fieldsV1": {"f:metadata": {"f:labels": 1}}}]},
            "f:labels",
        ),
    ],
)
def test_metadata_of_another_form_is_the_servers_error_and_is_named(
    api_server: StandInApiServer,
    node_labels: NodeLabelsSink,
    metadata: object,
    named: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    api_server.fail(Fault(method="GET", status=200, body=json.dumps({"metadata": metadata}).encode()))
    failure = _failure(node_labels)
    assert failure.reason is FailureReason.SERVER_ERROR
    assert f"answer has {named} " in failure.message
    assert caplog.records == []


@pytest.mark.parametrize("body", [b'{"metadata": {"uid": "u", "labels": ' + DEEP, b'{"metadata": ' + DEEP])
def test_an_answer_that_is_nested_too_deeply_is_the_servers_error(
    api_server: StandInApiServer, node_labels: NodeLabelsSink, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    api_server.fail(Fault(status=200, body=body))
    assert _failure(node_labels).reason is FailureReason.SERVER_ERROR
    assert caplog.records == []


@pytest.mark.parametrize("labels", [[], "a", {"a": {}}])
def test_a_node_feature_with_odd_labels_leaves_no_traceback(
    api_server: StandInApiServer, node_feature: NodeFeatureSink, labels: object, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"metadata": {"name": "x", "labels": labels}}).encode()
    api_server.fail(Fault(method="GET", status=200, body=body, times=None))
    assert _failure(node_feature).reason in {FailureReason.SERVER_ERROR, FailureReason.REFUSED, FailureReason.CONFLICT}
    assert caplog.records == []


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_is_longer_than_any_object_is_not_read_to_its_end(
    api_server: StandInApiServer, node_labels: NodeLabelsSink, status: int
) -> None:
    api_server.fail(Fault(status=status, body=b" " * (MAX_ANSWER + 1)))
    failure = _failure(node_labels)
    assert failure.reason is FailureReason.SERVER_ERROR
    assert f"more than {MAX_ANSWER} bytes" in failure.message


def test_a_time_to_come_back_that_no_clock_reaches_is_as_good_as_none(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    api_server.fail(Fault(status=429, headers={"Retry-After": "9" * 400}))
    assert _failure(node_labels).retry_after is None


def test_after_a_failure_the_next_publication_asks_again(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    node_labels.publish(LABELS)
    api_server.fail(Fault(status=500))
    with pytest.raises(SinkError):
        node_labels.publish(OTHER_LABELS)
    assert node_labels.publish(OTHER_LABELS) is Outcome.UPDATED


def test_after_a_failure_that_may_have_been_none_the_labels_of_before_are_not_trusted(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    node_labels.publish(LABELS)
    api_server.fail(Fault(method="PATCH", drop=True))
    with pytest.raises(SinkError):
        node_labels.publish(OTHER_LABELS)
    assert node_labels.publish(LABELS) is Outcome.UPDATED


# The way there


def test_an_answer_that_does_not_come_is_a_timeout(api_server: StandInApiServer, service_account: Path) -> None:
    sink = NodeLabelsSink(ApiAccess(None, str(service_account), 0.5), "node-1")
    api_server.fail(Fault(delay=30))
    begin = time.monotonic()
    failure = _failure(sink)
    assert failure.reason is FailureReason.TIMEOUT
    assert f"no answer from {api_server.url} within 0.5 s" in failure.message
    assert time.monotonic() - begin < 5


def test_an_answer_that_trickles_in_is_a_timeout(api_server: StandInApiServer, service_account: Path) -> None:
    sink = NodeLabelsSink(ApiAccess(None, str(service_account), 0.5), "node-1")
    api_server.fail(Fault(trickle=0.1))
    begin = time.monotonic()
    assert _failure(sink).reason is FailureReason.TIMEOUT
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(truncate=True)])
def test_a_connection_that_breaks_is_told_from_a_refusal(
    api_server: StandInApiServer, node_labels: NodeLabelsSink, fault: Fault
) -> None:
    api_server.fail(fault)
    assert _failure(node_labels).reason is FailureReason.UNREACHABLE
    assert node_labels.publish(LABELS) is Outcome.CREATED


@pytest.fixture
def closed_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that nobody listens on, and nobody else gets, and which the environment points to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        yield port


def test_a_server_that_is_not_there_is_unreachable(node_labels: NodeLabelsSink, closed_port: int) -> None:
    failure = _failure(node_labels)
    assert failure.reason is FailureReason.UNREACHABLE
    assert f"127.0.0.1:{closed_port}" in failure.message


# Trust


def test_a_server_of_another_authority_gets_no_token(
    api_server: StandInApiServer,
    service_account: Path,
    node_labels: NodeLabelsSink,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    (service_account / "ca.crt").write_bytes(stranger.certificate.read_bytes())
    failure = _failure(node_labels)
    assert failure.reason is FailureReason.TLS
    assert "certificate verify failed" in failure.message.lower()
    assert api_server.asked == []


@pytest.mark.usefixtures("api_server")
def test_an_authority_that_is_no_certificate_is_a_matter_of_tls(
    service_account: Path, node_labels: NodeLabelsSink
) -> None:
    (service_account / "ca.crt").write_text("no certificate\n", encoding="ascii")
    assert _failure(node_labels).reason is FailureReason.TLS


def test_a_server_without_tls_is_a_matter_of_tls(node_labels: NodeLabelsSink, monkeypatch: pytest.MonkeyPatch) -> None:
    with StandInApiServer(None) as plain:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(plain.port))
        assert _failure(node_labels).reason is FailureReason.TLS


# Credentials


def test_a_token_is_taken_up_when_it_is_rotated(
    api_server: StandInApiServer, service_account: Path, node_labels: NodeLabelsSink
) -> None:
    node_labels.publish(LABELS)
    api_server.tokens = {"second-token"}
    with pytest.raises(SinkError) as caught:
        node_labels.publish(OTHER_LABELS)
    assert caught.value.reason is FailureReason.UNAUTHORIZED
    api_server.write_service_account(service_account, "second-token")
    assert node_labels.publish(OTHER_LABELS) is Outcome.UPDATED


def test_a_token_with_a_line_end_is_taken_without_it(service_account: Path, node_labels: NodeLabelsSink) -> None:
    (service_account / "token").write_text("first-token\n", encoding="ascii")
    assert node_labels.publish(LABELS) is Outcome.CREATED


@pytest.mark.parametrize("name", ["token", "ca.crt"])
@pytest.mark.parametrize("content", [None, ""])
@pytest.mark.usefixtures("api_server")
def test_a_service_account_that_lacks_something_is_a_matter_of_configuration(
    service_account: Path, node_labels: NodeLabelsSink, name: str, content: str | None
) -> None:
    (service_account / name).unlink()
    if content is not None:
        (service_account / name).write_text(content, encoding="ascii")
    failure = _failure(node_labels)
    assert failure.reason is FailureReason.CONFIGURATION
    assert str(service_account) in failure.message


@pytest.mark.parametrize("token", [b"sec\nret", b"secr\xc3\xa9t", b"sec\xffret"])
@pytest.mark.usefixtures("api_server")
def test_a_token_that_fits_no_header_is_not_shown(
    service_account: Path, node_labels: NodeLabelsSink, token: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (service_account / "token").write_bytes(token)
    failure = _failure(node_labels)
    assert failure.reason is FailureReason.CONFIGURATION
    assert "sec" not in failure.message.replace(str(service_account), "")
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("api_server")
def test_outside_of_a_pod_without_a_kubeconfig_is_a_matter_of_configuration(
    node_labels: NodeLabelsSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    failure = _failure(node_labels)
    assert failure.reason is FailureReason.CONFIGURATION
    assert "Service host/port is not set" in failure.message


def _kubeconfig(server: StandInApiServer, authority: Authority, token: str) -> str:
    return f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{server.url}", certificate-authority: "{authority.certificate}"}}}}]
users: [{{name: u, user: {{token: {token}}}}}]
"""


def test_a_kubeconfig_says_where_and_who(
    api_server: StandInApiServer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    config = tmp_path / "config"
    config.write_text(_kubeconfig(api_server, authority, "first-token"), encoding="utf-8")
    sink = NodeLabelsSink(ApiAccess(str(config), "", 10.0), "node-1")
    assert sink.publish(LABELS) is Outcome.CREATED
    api_server.tokens = {"another"}
    sink.forget()
    assert _failure(sink).reason is FailureReason.UNAUTHORIZED


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
    config = tmp_path / "config"
    if text is not None:
        config.write_text(text, encoding="utf-8")
    failure = _failure(NodeLabelsSink(ApiAccess(str(config), "", 10.0), "node-1"))
    assert failure.reason is FailureReason.CONFIGURATION
    assert str(config) in failure.message
