"""What the two sinks behind the API server publish: from the sink through the real client to a server.

What the child process adds is in test_api_sinks_child.py.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_feature_discovery.labels.table import Labels
from npu_feature_discovery.publish.answer import Answer
from npu_feature_discovery.publish.api import Api, Exchange
from npu_feature_discovery.sinks import FailureReason, Outcome
from npu_feature_discovery.sinks.api_sink import TRUSTED_FOR, ApiSink, trusted_for
from npu_feature_discovery.sinks.child import ApiAccess
from testkit.standins.apiserver import Fault, StandInApiServer
from testkit.standins.apiserver.store import NODE_FEATURES, NODES, Key
from tests.feature_discovery.rigs import Clock, DirectSink, failure, node_feature, node_labels

FEATURE = "furiosa-npu-features-for-node-1"
OBJECT, NODE = Key(NODE_FEATURES, "npu", FEATURE), Key(NODES, "", "node-1")
RESOURCE = "nodefeatures.nfd.k8s-sigs.io"
COUNT, PRODUCT = "beta.furiosa.ai/npu.count", "beta.furiosa.ai/npu.product"
ONE: Labels = {COUNT: "1", PRODUCT: "warboy"}
NONE: Labels = {COUNT: "0"}
OTHERS = {"kubernetes.io/hostname": "node-1"}


@pytest.fixture(params=[node_feature, node_labels], ids=["node-feature", "node-labels"])
def sink(request: pytest.FixtureRequest, access: ApiAccess) -> DirectSink:
    make: Callable[[ApiAccess], DirectSink] = request.param
    return make(access)


@pytest.fixture
def feature(access: ApiAccess) -> DirectSink:
    return node_feature(access)


@pytest.fixture
def labels(access: ApiAccess) -> DirectSink:
    return node_labels(access)


def published(server: StandInApiServer, sink: ApiSink) -> dict[str, str]:
    """The labels of ours that nfd-master or the scheduler finds."""
    if sink.name == "node-labels":
        return {key: value for key, value in server.node_labels("node-1").items() if key not in OTHERS}
    found = server.node_feature("npu", FEATURE)
    labels: dict[str, str] = {} if found is None else found["spec"]["labels"]
    return labels


def methods(server: StandInApiServer) -> list[str]:
    return [asked.method for asked in server.asked]


def changed_by(server: StandInApiServer, manager: str, key: Key, **change: object) -> None:
    """Somebody else changes an object."""
    with server.lock:
        server.store.merge(key, change, manager)


def stored(server: StandInApiServer, namespace: str = "npu") -> dict[str, Any]:
    found = server.node_feature(namespace, FEATURE)
    assert found is not None
    return found


# Both sinks


def test_labels_are_published_changed_and_taken_away(api_server: StandInApiServer, sink: DirectSink) -> None:
    for outcome, labels in ((Outcome.CREATED, ONE), (Outcome.UPDATED, NONE)):
        assert sink.publish(labels) is outcome
        assert sink.known() == published(api_server, sink) == labels
    assert (sink.remove(), sink.remove()) == (Outcome.REMOVED, Outcome.ABSENT)
    assert published(api_server, sink) == {}
    assert api_server.node_labels("node-1") == OTHERS
    assert sink.publish(NONE) is Outcome.CREATED
    assert {asked.headers["user-agent"].split("/")[0] for asked in api_server.asked} == {"npu-feature-discovery"}


def test_while_nothing_changes_nothing_is_asked_and_in_doubt_it_looks_and_writes_nothing_that_is_there(
    api_server: StandInApiServer, access: ApiAccess, sink: DirectSink
) -> None:
    sink.publish(ONE)
    api_server.asked.clear()
    assert sink.publish(dict(ONE)) is Outcome.UNCHANGED
    assert api_server.asked == []
    sink.forget()
    for each in (sink, DirectSink(access, sink._target)):
        assert each.publish(ONE) is Outcome.UNCHANGED
    assert methods(api_server) == ["GET"] * 2


def test_what_somebody_took_away_comes_back_once_it_is_not_trusted_any_more(
    api_server: StandInApiServer, access: ApiAccess, feature: DirectSink
) -> None:
    clock = Clock(0.0)
    sink = DirectSink(access, feature._target, clock)
    assert sink.doubts_in() > 0
    sink.publish(ONE)
    with api_server.lock:
        api_server.store.delete(OBJECT)
    clock.pass_(TRUSTED_FOR / 2 - 1)
    assert sink.doubts_in() > 0
    assert sink.publish(ONE) is Outcome.UNCHANGED
    clock.pass_(TRUSTED_FOR / 2 + 1)
    assert sink.doubts_in() <= 0
    assert sink.publish(ONE) is Outcome.CREATED
    assert sink.doubts_in() > 0


@given(st.floats(0, 1))
def test_what_was_published_is_trusted_for_five_to_ten_minutes(luck: float) -> None:
    assert TRUSTED_FOR / 2 == trusted_for(0) <= trusted_for(luck) <= trusted_for(1) == TRUSTED_FOR == 600


@pytest.mark.parametrize(
    ("make", "verbs", "resource"),
    [
        (node_feature, ("get", "create", "update", "delete"), RESOURCE),
        (node_labels, ("get", "patch"), "nodes"),
    ],
)
def test_no_more_is_needed_than_the_documented_rights(
    api_server: StandInApiServer,
    access: ApiAccess,
    make: Callable[[ApiAccess], DirectSink],
    verbs: tuple[str, ...],
    resource: str,
) -> None:
    api_server.allowed = {(verb, resource) for verb in verbs}
    sink = make(access)
    did = [sink.publish(ONE), sink.publish(NONE), sink.remove()]
    assert did == [Outcome.CREATED, Outcome.UPDATED, Outcome.REMOVED]


# The NodeFeature


def test_the_node_feature_is_what_nfd_master_reads(api_server: StandInApiServer, feature: DirectSink) -> None:
    feature.publish(ONE)
    found = stored(api_server)
    assert (found["apiVersion"], found["kind"]) == ("nfd.k8s-sigs.io/v1alpha1", "NodeFeature")
    assert found["metadata"]["labels"] == {"nfd.node.kubernetes.io/node-name": "node-1"}
    assert "ownerReferences" not in found["metadata"]
    assert found["spec"] == {"features": {"flags": {}, "attributes": {}, "instances": {}}, "labels": ONE}


def test_a_node_feature_in_the_namespace_of_an_earlier_setting_is_removed(
    api_server: StandInApiServer, access: ApiAccess, feature: DirectSink
) -> None:
    """NFD merges all NodeFeatures of a node, whatever namespace they are in."""
    api_server.store.namespaces |= {"new"}
    feature.publish(ONE)
    node_feature(access, "node-2").publish(ONE)
    sink = node_feature(access, namespace="new")
    assert sink.publish(NONE) is Outcome.CREATED
    assert api_server.node_feature("npu", FEATURE) is None
    assert api_server.node_feature("npu", "furiosa-npu-features-for-node-2") is not None
    assert stored(api_server, "new")["spec"]["labels"] == NONE
    assert [note.is_warning for note in sink.notes] == [False]
    api_server.asked.clear()
    sink.publish(ONE)
    assert [asked for asked in api_server.asked if asked.path.endswith("/nodefeatures")] == []  # only after a creation


@pytest.mark.parametrize(("missing", "is_warning"), [("list", False), ("delete", True)])
def test_a_node_feature_that_may_not_be_removed_is_told_of(
    api_server: StandInApiServer, access: ApiAccess, feature: DirectSink, missing: str, *, is_warning: bool
) -> None:
    api_server.store.namespaces |= {"new"}
    feature.publish(ONE)
    api_server.allowed = {(verb, RESOURCE) for verb in {"get", "create", "update", "list", "delete"} - {missing}}
    sink = node_feature(access, namespace="new")
    assert sink.publish(NONE) is Outcome.CREATED
    assert stored(api_server)
    (note,) = sink.notes
    assert note.is_warning is is_warning
    assert FEATURE in note.text


def test_what_others_wrote_into_our_node_feature_goes_and_their_metadata_stays(
    api_server: StandInApiServer, feature: DirectSink
) -> None:
    feature.publish(ONE)
    metadata = {"labels": {"team": "x", "nfd.node.kubernetes.io/node-name": None}, "annotations": {"a": "b"}}
    changed_by(api_server, "kubectl-edit", OBJECT, metadata=metadata, spec={"labels": {"beta.furiosa.ai/stray": "1"}})
    feature.forget()
    assert feature.publish(ONE) is Outcome.UPDATED
    found = stored(api_server)
    assert found["spec"]["labels"] == ONE
    assert found["metadata"]["labels"] == {"team": "x", "nfd.node.kubernetes.io/node-name": "node-1"}
    assert found["metadata"]["annotations"] == {"a": "b"}


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_conflict_makes_it_read_again_three_times_at_most(
    api_server: StandInApiServer, feature: DirectSink, times: int
) -> None:
    feature.publish(ONE)
    api_server.asked.clear()
    api_server.fail(Fault(method="PUT", status=409, times=times))
    if times < 3:
        assert feature.publish(NONE) is Outcome.UPDATED
        assert published(api_server, feature) == NONE
    else:
        assert failure(feature, NONE).reason is FailureReason.CONFLICT
    assert methods(api_server) == ["GET", "PUT"] * min(times + 1, 3)


def test_somebody_creating_it_meanwhile_makes_it_read_again(api_server: StandInApiServer, feature: DirectSink) -> None:
    api_server.fail(Fault(method="POST", status=409))
    assert feature.publish(ONE) is Outcome.CREATED
    assert methods(api_server) == ["GET", "POST", "GET", "POST", "GET"]


def test_a_node_feature_that_is_being_deleted_is_not_taken_for_published(
    api_server: StandInApiServer, feature: DirectSink
) -> None:
    feature.publish(ONE)
    changed_by(api_server, "somebody", OBJECT, metadata={"finalizers": ["example.com/hold"]})
    with api_server.lock:
        api_server.store.delete(OBJECT)
    feature.forget()
    assert failure(feature, ONE).reason is FailureReason.CONFLICT


# The node's own labels


def test_labels_of_others_are_not_touched_even_where_they_look_like_ours(
    api_server: StandInApiServer, labels: DirectSink
) -> None:
    theirs = {"beta.furiosa.ai/rack": "7", "team": "x"}
    changed_by(api_server, "kubectl-label", NODE, metadata={"labels": theirs})
    for ours in (ONE, NONE):
        labels.publish(ours)
        assert api_server.node_labels("node-1") == {**OTHERS, **theirs, **ours}
    labels.remove()
    assert api_server.node_labels("node-1") == {**OTHERS, **theirs}


def test_a_value_that_somebody_typed_over_ours_is_ours_again_and_goes_with_us(
    api_server: StandInApiServer, labels: DirectSink
) -> None:
    labels.publish(ONE)
    changed_by(api_server, "kubectl-label", NODE, metadata={"labels": {COUNT: "99"}})
    labels.forget()
    assert labels.publish(ONE) is Outcome.UPDATED
    assert api_server.node_labels("node-1") == {**OTHERS, **ONE}
    labels.remove()
    assert api_server.node_labels("node-1") == OTHERS


def test_labels_that_nfd_put_there_are_taken_on_and_stay_with_nfd_when_we_go(
    api_server: StandInApiServer, labels: DirectSink
) -> None:
    changed_by(api_server, "nfd-master", NODE, metadata={"labels": dict(ONE)})
    assert (labels.publish(ONE), labels.remove()) == (Outcome.CREATED, Outcome.REMOVED)
    assert api_server.node_labels("node-1") == {**OTHERS, **ONE}


def test_a_node_is_asked_for_its_metadata_alone_and_patched_by_its_uid(
    api_server: StandInApiServer, labels: DirectSink
) -> None:
    labels.publish(ONE)
    read, applied = api_server.asked
    assert "as=PartialObjectMetadata" in read.headers["accept"]
    assert applied.headers["content-type"] == "application/apply-patch+yaml"
    assert applied.query == {"fieldManager": "npu-feature-discovery", "force": "true"}
    assert json.loads(applied.body)["metadata"]["uid"] == api_server.store.get(NODE).content["metadata"]["uid"]


def test_a_node_that_goes_while_it_is_labelled_does_not_come_back(
    api_server: StandInApiServer, labels: DirectSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Api.send

    def once_it_has_gone(api: Api, exchange: Exchange) -> Answer:
        if exchange.method == "PATCH":
            api_server.store.delete(NODE)
        return send(api, exchange)

    monkeypatch.setattr(Api, "send", once_it_has_gone)
    assert failure(labels).reason is FailureReason.CONFLICT
    assert api_server.store.find(NODE) is None
