"""What the two sinks behind the API server publish: from the sink through its child and the real client to a server."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_feature_discovery.labels import Labels
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.api_sink import TRUSTED_FOR, ApiSink, trusted_for
from npu_feature_discovery.sinks.child import ApiAccess, Target
from npu_feature_discovery.sinks.node_feature import NodeFeatureSink
from npu_feature_discovery.sinks.node_labels import NodeLabelsSink
from testkit.standins.apiserver import Fault, StandInApiServer
from testkit.standins.apiserver.store import NODE_FEATURES, NODES, Key

FEATURE = "furiosa-npu-features-for-node-1"
COUNT, PRODUCT = "beta.furiosa.ai/npu.count", "beta.furiosa.ai/npu.product"
ONE: Labels = {COUNT: "1", PRODUCT: "warboy"}
NONE: Labels = {COUNT: "0"}
OTHERS = {"kubernetes.io/hostname": "node-1"}


@pytest.fixture
def access(service_account: Path) -> ApiAccess:
    return ApiAccess(None, str(service_account), 10.0)


@pytest.fixture
def node_feature(access: ApiAccess) -> NodeFeatureSink:
    return NodeFeatureSink(access, "node-1", "npu")


@pytest.fixture
def node_labels(access: ApiAccess) -> NodeLabelsSink:
    return NodeLabelsSink(access, "node-1")


@pytest.fixture(params=["node-feature", "node-labels"])
def sink(request: pytest.FixtureRequest, node_feature: NodeFeatureSink, node_labels: NodeLabelsSink) -> ApiSink:
    return node_feature if request.param == "node-feature" else node_labels


def _published(server: StandInApiServer, sink: ApiSink) -> dict[str, str]:
    """The labels of ours that nfd-master or the scheduler finds."""
    if sink.name == "node-labels":
        return {key: value for key, value in server.node_labels("node-1").items() if key not in OTHERS}
    found = server.node_feature("npu", FEATURE)
    labels: dict[str, str] = {} if found is None else found["spec"]["labels"]
    return labels


def _methods(server: StandInApiServer) -> list[str]:
    return [asked.method for asked in server.asked]


# Both sinks


def test_labels_are_published_changed_and_taken_away(api_server: StandInApiServer, sink: ApiSink) -> None:
    assert sink.publish(ONE) is Outcome.CREATED
    assert _published(api_server, sink) == ONE
    assert sink.publish(NONE) is Outcome.UPDATED
    assert _published(api_server, sink) == NONE
    assert sink.remove() is Outcome.REMOVED
    assert _published(api_server, sink) == {}
    assert sink.remove() is Outcome.ABSENT
    assert api_server.node_labels("node-1") == OTHERS


def test_while_nothing_changes_nothing_is_asked(api_server: StandInApiServer, sink: ApiSink) -> None:
    sink.publish(ONE)
    before = len(api_server.asked)
    assert sink.publish(dict(ONE)) is Outcome.UNCHANGED
    assert len(api_server.asked) == before


def test_after_forgetting_the_next_publication_looks_and_writes_nothing_that_is_there(
    api_server: StandInApiServer, sink: ApiSink
) -> None:
    sink.publish(ONE)
    sink.forget()
    api_server.asked.clear()
    assert sink.publish(ONE) is Outcome.UNCHANGED
    assert _methods(api_server) == ["GET"]


def test_a_new_instance_finds_what_the_last_one_published(
    api_server: StandInApiServer, access: ApiAccess, sink: ApiSink
) -> None:
    sink.publish(ONE)
    api_server.asked.clear()
    target = Target(sink.name, "node-1", "npu" if sink.name == "node-feature" else None)
    assert ApiSink(access, target).publish(ONE) is Outcome.UNCHANGED
    assert _methods(api_server) == ["GET"]


def test_what_somebody_took_away_comes_back_once_it_is_not_trusted_any_more(
    api_server: StandInApiServer, access: ApiAccess
) -> None:
    now = [0.0]
    sink = ApiSink(access, Target("node-feature", "node-1", "npu"), lambda: now[0])
    assert sink.doubts_in() > 0
    sink.publish(ONE)
    with api_server.lock:
        api_server.store.delete(Key(NODE_FEATURES, "npu", FEATURE))
    now[0] = TRUSTED_FOR / 2 - 1
    assert sink.doubts_in() > 0
    assert sink.publish(ONE) is Outcome.UNCHANGED
    now[0] = TRUSTED_FOR
    assert sink.doubts_in() <= 0
    assert sink.publish(ONE) is Outcome.CREATED
    assert sink.doubts_in() > 0
    assert _published(api_server, sink) == ONE


@given(st.floats(0, 1))
def test_what_was_published_is_trusted_for_five_to_ten_minutes(luck: float) -> None:
    assert TRUSTED_FOR / 2 == trusted_for(0) <= trusted_for(luck) <= trusted_for(1) == TRUSTED_FOR


def test_removing_makes_the_next_publication_write_again(api_server: StandInApiServer, sink: ApiSink) -> None:
    sink.publish(ONE)
    sink.remove()
    assert sink.publish(ONE) is Outcome.CREATED
    assert _published(api_server, sink) == ONE


def test_requests_say_who_asks(api_server: StandInApiServer, sink: ApiSink) -> None:
    sink.publish(ONE)
    agents = {asked.headers["user-agent"].split("/")[0] for asked in api_server.asked}
    assert agents == {"npu-feature-discovery"}


# The NodeFeature


def test_the_node_feature_is_what_nfd_master_reads(api_server: StandInApiServer, node_feature: NodeFeatureSink) -> None:
    node_feature.publish(ONE)
    found = api_server.node_feature("npu", FEATURE)
    assert found is not None
    assert (found["apiVersion"], found["kind"]) == ("nfd.k8s-sigs.io/v1alpha1", "NodeFeature")
    assert found["metadata"]["labels"] == {"nfd.node.kubernetes.io/node-name": "node-1"}
    assert "ownerReferences" not in found["metadata"]
    assert found["spec"] == {"features": {"flags": {}, "attributes": {}, "instances": {}}, "labels": ONE}


def test_a_node_feature_needs_get_create_update_and_delete_and_no_more(
    api_server: StandInApiServer, node_feature: NodeFeatureSink
) -> None:
    resource = "nodefeatures.nfd.k8s-sigs.io"
    api_server.allowed = {(verb, resource) for verb in ("get", "create", "update", "delete")}
    assert node_feature.publish(ONE) is Outcome.CREATED
    assert node_feature.publish(NONE) is Outcome.UPDATED
    assert node_feature.remove() is Outcome.REMOVED


def test_a_node_feature_in_the_namespace_of_an_earlier_setting_is_removed(
    api_server: StandInApiServer, access: ApiAccess
) -> None:
    """NFD merges all NodeFeatures of a node, whatever namespace they are in."""
    api_server.store.namespaces |= {"new"}
    NodeFeatureSink(access, "node-1", "npu").publish(ONE)
    NodeFeatureSink(access, "node-2", "npu").publish(ONE)
    assert NodeFeatureSink(access, "node-1", "new").publish(NONE) is Outcome.CREATED
    assert api_server.node_feature("npu", FEATURE) is None
    assert api_server.node_feature("npu", "furiosa-npu-features-for-node-2") is not None
    found = api_server.node_feature("new", FEATURE)
    assert found is not None
    assert found["spec"]["labels"] == NONE


@pytest.mark.parametrize("missing", ["list", "delete"])
def test_a_node_feature_that_may_not_be_removed_is_told_of(
    api_server: StandInApiServer, access: ApiAccess, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    resource = "nodefeatures.nfd.k8s-sigs.io"
    api_server.store.namespaces |= {"new"}
    NodeFeatureSink(access, "node-1", "npu").publish(ONE)
    api_server.allowed = {(verb, resource) for verb in {"get", "create", "update", "list", "delete"} - {missing}}
    caplog.clear()
    caplog.set_level(logging.INFO)
    assert NodeFeatureSink(access, "node-1", "new").publish(NONE) is Outcome.CREATED
    assert api_server.node_feature("npu", FEATURE) is not None
    (said,) = caplog.records
    assert said.levelno == (logging.WARNING if missing == "delete" else logging.INFO)
    assert FEATURE in said.npu_fields["detail"]  # type: ignore[attr-defined]


def test_other_namespaces_are_looked_into_only_where_an_object_was_created(
    api_server: StandInApiServer, node_feature: NodeFeatureSink
) -> None:
    node_feature.publish(ONE)
    api_server.asked.clear()
    node_feature.publish(NONE)
    node_feature.forget()
    node_feature.publish(NONE)
    assert not [asked for asked in api_server.asked if asked.path.endswith("/nodefeatures")]


def test_what_others_wrote_into_our_node_feature_goes_and_their_metadata_stays(
    api_server: StandInApiServer, node_feature: NodeFeatureSink
) -> None:
    node_feature.publish(ONE)
    patch = {
        "metadata": {"labels": {"team": "x", "nfd.node.kubernetes.io/node-name": None}, "annotations": {"a": "b"}},
        "spec": {"labels": {"beta.furiosa.ai/stray": "1"}},
    }
    with api_server.lock:
        api_server.store.merge(Key(NODE_FEATURES, "npu", FEATURE), patch, "kubectl-edit")
    node_feature.forget()
    assert node_feature.publish(ONE) is Outcome.UPDATED
    found = api_server.node_feature("npu", FEATURE)
    assert found is not None
    assert found["spec"]["labels"] == ONE
    assert found["metadata"]["labels"] == {"team": "x", "nfd.node.kubernetes.io/node-name": "node-1"}
    assert found["metadata"]["annotations"] == {"a": "b"}


@pytest.mark.parametrize("times", [1, 2])
def test_a_conflict_makes_it_read_again(
    api_server: StandInApiServer, node_feature: NodeFeatureSink, times: int
) -> None:
    node_feature.publish(ONE)
    api_server.asked.clear()
    api_server.fail(Fault(method="PUT", status=409, times=times))
    assert node_feature.publish(NONE) is Outcome.UPDATED
    assert _methods(api_server) == ["GET", "PUT"] * (times + 1)
    assert _published(api_server, node_feature) == NONE


def test_somebody_creating_it_meanwhile_makes_it_read_again(
    api_server: StandInApiServer, node_feature: NodeFeatureSink
) -> None:
    api_server.fail(Fault(method="POST", status=409))
    assert node_feature.publish(ONE) is Outcome.CREATED
    assert _methods(api_server) == ["GET", "POST", "GET", "POST", "GET"]


def test_an_answer_lost_on_its_way_is_found_done_the_next_time(
    api_server: StandInApiServer, node_feature: NodeFeatureSink
) -> None:
    api_server.fail(Fault(method="POST", drop=True))
    with pytest.raises(SinkError, match="cannot reach"):
        node_feature.publish(ONE)
    assert node_feature.publish(ONE) is Outcome.UNCHANGED
    assert _published(api_server, node_feature) == ONE


# The node's own labels


def test_labels_of_a_node_need_get_and_patch_and_no_more(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    api_server.allowed = {("get", "nodes"), ("patch", "nodes")}
    assert node_labels.publish(ONE) is Outcome.CREATED
    assert node_labels.remove() is Outcome.REMOVED


def test_labels_of_others_are_not_touched_even_where_they_look_like_ours(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    with api_server.lock:
        patch = {"metadata": {"labels": {"beta.furiosa.ai/rack": "7", "team": "x"}}}
        api_server.store.merge(Key(NODES, "", "node-1"), patch, "kubectl-label")
    theirs = {**OTHERS, "beta.furiosa.ai/rack": "7", "team": "x"}
    node_labels.publish(ONE)
    assert api_server.node_labels("node-1") == {**theirs, **ONE}
    node_labels.publish(NONE)
    assert api_server.node_labels("node-1") == {**theirs, **NONE}
    node_labels.remove()
    assert api_server.node_labels("node-1") == theirs


def test_a_value_that_somebody_typed_over_ours_is_ours_again_and_goes_with_us(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    node_labels.publish(ONE)
    with api_server.lock:
        patch = {"metadata": {"labels": {COUNT: "99"}}}
        api_server.store.merge(Key(NODES, "", "node-1"), patch, "kubectl-label")
    node_labels.forget()
    assert node_labels.publish(ONE) is Outcome.UPDATED
    assert api_server.node_labels("node-1") == {**OTHERS, **ONE}
    node_labels.remove()
    assert api_server.node_labels("node-1") == OTHERS


def test_labels_that_nfd_put_there_are_taken_on_and_stay_with_nfd_when_we_go(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    with api_server.lock:
        api_server.store.merge(Key(NODES, "", "node-1"), {"metadata": {"labels": dict(ONE)}}, "nfd-master")
    assert node_labels.publish(ONE) is Outcome.CREATED
    assert node_labels.remove() is Outcome.REMOVED
    assert api_server.node_labels("node-1") == {**OTHERS, **ONE}


def test_a_node_is_asked_for_its_metadata_alone_and_patched_by_its_uid(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    node_labels.publish(ONE)
    read, applied = api_server.asked
    assert "as=PartialObjectMetadata" in read.headers["accept"]
    assert applied.headers["content-type"] == "application/apply-patch+yaml"
    assert applied.query == {"fieldManager": "npu-feature-discovery", "force": "true"}
    stored = api_server.store.get(Key(NODES, "", "node-1"))
    assert json.loads(applied.body)["metadata"]["uid"] == stored.content["metadata"]["uid"]


def test_a_node_that_goes_while_it_is_labelled_does_not_come_back(
    api_server: StandInApiServer, node_labels: NodeLabelsSink
) -> None:
    key = Key(NODES, "", "node-1")
    api_server.fail(Fault(method="PATCH", delay=0.5))
    with ThreadPoolExecutor() as pool:
        publication = pool.submit(node_labels.publish, ONE)
        while "PATCH" not in _methods(api_server) and not publication.done():
            time.sleep(0.01)
        with api_server.lock:
            api_server.store.delete(key)
        with pytest.raises(SinkError, match="uid mismatch") as caught:
            publication.result()
    assert caught.value.reason is FailureReason.CONFLICT
    assert api_server.store.find(key) is None
