"""Node Feature Discovery between the feature discovery's file and the node, and both ways to the selected label."""

import json
from collections.abc import Iterator

import pytest
import yaml

from testkit.waiting import until
from tools.cluster.node import DEPLOYMENTS, NFD_INTERVAL, SELECTOR, Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

COUNT = "beta.furiosa.ai/npu.count"
RULE = DEPLOYMENTS / "nfd/node-feature-rule.yaml"
NAMESPACE = "--namespace=node-feature-discovery"


def _count_follows(node: Node) -> None:
    """A card vanishes and comes back; the label on the node goes along."""
    until(lambda: node.labels().get(COUNT) == "4", "all cards are counted", instead=node.labels)
    node.card(3).disappear()
    until(lambda: node.labels().get(COUNT) == "3", "one card less is counted", instead=node.labels)
    node.card(3).reappear()
    until(lambda: node.labels().get(COUNT) == "4", "all cards are counted again", instead=node.labels)


def _of_worker(node: Node) -> dict[str, str]:
    """The labels that nfd-worker asks for by itself, without any rule."""
    feature = node.json("get", "nodefeature", node.name, NAMESPACE)
    return dict(feature["spec"].get("labels", {}))


def test_a_value_that_changes_on_the_host_changes_on_the_node(node: Node) -> None:
    assert SELECTOR not in _of_worker(node)
    assert node.labels()[SELECTOR] == "true"
    _count_follows(node)


@pytest.fixture
def worker_configured(node: Node) -> Iterator[Node]:
    """The node, with the documented configuration of nfd-worker in the place of the rule."""
    [before] = [
        item["data"]
        for item in node.json("get", "configmap", NAMESPACE)["items"]
        if item["metadata"]["name"].startswith("nfd-worker-conf")
    ]
    try:
        _configure_worker(node, _documented())
        until(lambda: _of_worker(node).get(SELECTOR) == "true", "the worker publishes the label")
        node.kubectl("delete", f"--filename={RULE}")
        yield node
    finally:
        node.apply(RULE)
        _configure_worker(node, next(iter(before.values())))
        until(lambda: SELECTOR not in _of_worker(node), "the worker publishes the label no more")
        assert node.labels()[SELECTOR] == "true"


def _documented() -> str:
    """The shipped configuration, with the interval of tests for nfd-worker."""
    shipped = yaml.safe_load((DEPLOYMENTS / "nfd/nfd-worker.conf").read_text(encoding="utf-8"))
    return yaml.safe_dump({**shipped, "core": {"sleepInterval": NFD_INTERVAL}})


def _configure_worker(node: Node, text: str) -> None:
    [name] = [
        item["metadata"]["name"]
        for item in node.json("get", "configmap", NAMESPACE)["items"]
        if item["metadata"]["name"].startswith("nfd-worker-conf")
    ]
    patch = json.dumps({"data": {"nfd-worker.conf": text}})
    node.kubectl("patch", "configmap", NAMESPACE, name, f"--patch={patch}")
    node.kubectl("rollout", "restart", NAMESPACE, "daemonset/nfd-worker")
    node.kubectl("rollout", "status", NAMESPACE, "daemonset/nfd-worker", "--timeout=120s")


def test_the_worker_s_own_configuration_gives_the_selected_label_without_the_rule(worker_configured: Node) -> None:
    # Each change of the count shows that nfd-master wrote the node's labels again, without the rule.
    _count_follows(worker_configured)
    assert worker_configured.labels()[SELECTOR] == "true"
