"""The manifests as they are, on a real node: labels, metrics."""

import pytest

from testkit.waiting import until
from tools.cluster.node import DAEMONS, SELECTOR, Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_the_three_manifests_become_ready_where_node_feature_discovery_sees_a_card(node: Node) -> None:
    assert node.labels()[SELECTOR] == "true"
    ready = {
        daemons["metadata"]["name"]: daemons["status"]["numberReady"]
        for daemons in node.json("get", "daemonsets", "--namespace=kube-system")["items"]
    }
    assert ready == dict.fromkeys(DAEMONS, 1)
    assert node.allocatable() == 4


def test_the_labels_of_the_cards_come_to_the_node_by_node_feature_discovery(node: Node) -> None:
    def labels() -> dict[str, str]:
        return {name: value for name, value in node.labels().items() if name.startswith("beta.furiosa.ai/")}

    found = until(labels, "labels of the cards")
    assert found["beta.furiosa.ai/npu.count"] == "4"
    assert len(found) == 10


def test_the_exporter_names_the_pod_while_only_its_init_container_holds_a_card(node: Node) -> None:
    node.run_pod("prepares", 0, init=1)
    line = until(
        lambda: [
            line
            for line in node.metrics().splitlines()
            if line.startswith("furiosa_npu_pod_info{") and 'pod="prepares"' in line
        ],
        "the exporter names the pod",
    )
    assert 'container="init"' in line[0]
    assert f'core="{node.units_of("prepares", "init").partition("pe")[2]}"' in line[0]
