"""The feature discovery that publishes through the API server: its labels, its rights, and how it is removed.

The certificates of the API server are of the sort that kubectl accepts and a strict check refuses (trust.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.documents import ROOT, blocks
from testkit.waiting import until
from tools.cluster.node import DAEMONS, DEPLOYMENTS, MANIFESTS, Node
from tools.cluster.services import NAMESPACE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

DISCOVERY = DAEMONS[1]
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{DISCOVERY}"
NOBODY = f"system:serviceaccount:{NAMESPACE}:nobody"
COUNT = "beta.furiosa.ai/npu.count"


@dataclass(frozen=True, slots=True)
class Sink:
    """One overlay.

    Attributes:
        name: of the sink and of its directory.
        rights: what its service account may do in its namespace and others may not: resource, and verbs.
        elsewhere: likewise in any other namespace.
    """

    name: str
    rights: dict[str, str]
    elsewhere: dict[str, str]

    @property
    def overlay(self) -> Path:
        return DEPLOYMENTS / "overlays" / self.name


SINKS = [
    Sink("node-feature", {"nodefeatures.nfd.k8s-sigs.io": "get create update delete"}, {}),
    Sink("node-labels", {"nodes": "get patch"}, {"nodes": "get patch"}),
]


@pytest.fixture(scope="module")
def without_file(whole_node: Node) -> Iterator[None]:
    """The feature discovery that writes a file is removed with its labels; after the module's tests it is back."""
    try:
        _run_documented(whole_node, "manifest")
        until(lambda: not _labels(whole_node), "no label of the cards", instead=lambda: _labels(whole_node))
        yield
    finally:
        whole_node.apply(MANIFESTS[1])
        whole_node.await_daemon(DISCOVERY)


@pytest.fixture(params=SINKS, ids=lambda sink: sink.name)
def sink(node: Node, without_file: None, request: pytest.FixtureRequest) -> Iterator[Sink]:  # noqa: ARG001
    """A feature discovery with this sink; afterwards there is none."""
    sink: Sink = request.param
    try:
        node.kubectl("apply", f"--kustomize={sink.overlay}")
        node.await_daemon(DISCOVERY)
        yield sink
    finally:
        node.kubectl("delete", f"--kustomize={sink.overlay}", "--ignore-not-found")


def _labels(node: Node) -> dict[str, str]:
    return {name: value for name, value in node.labels().items() if name.startswith("beta.furiosa.ai/")}


def _run_documented(node: Node, what: str) -> None:
    """Run the commands of docs/uninstall.md that clean up and delete the feature discovery.

    Args:
        node: where.
        what: ``manifest``, or the name of the overlay.
    """
    deletes = {"manifest": "delete -f deployments/npu-feature-discovery.yaml"}.get(
        what, "delete -k deployments/overlays/"
    )
    [block] = [
        block.text
        for block in blocks("docs/uninstall.md")
        if deletes in block.text and "NPU_CLEANUP_ON_EXIT" in block.text
    ]
    commands = block if what == "manifest" else block.replace("overlays/node-feature", f"overlays/{what}")
    node.run("sh", "-e", "-c", f"cd {ROOT}\n{commands}")


def _rights(node: Node, account: str, namespace: str) -> dict[str, str]:
    """What an account may do, by resource and name: the verbs."""
    listed = node.kubectl("auth", "can-i", "--list", "--no-headers", f"--as={account}", f"--namespace={namespace}")
    rows = [[cell.strip(" [") for cell in line.replace("]", "[").split("[")] for line in listed.splitlines()]
    return {" ".join(filter(None, row[:-2])): row[-2] for row in rows}


def _more(node: Node, namespace: str) -> dict[str, str]:
    """What the feature discovery's account may do and an account without any role may not."""
    nobody = _rights(node, NOBODY, namespace)
    return {what: verbs for what, verbs in _rights(node, ACCOUNT, namespace).items() if nobody.get(what) != verbs}


def test_labels_follow_the_cards_and_go_with_the_documented_removal(node: Node, sink: Sink) -> None:
    until(lambda: _labels(node).get(COUNT) == "4", "the labels are on the node", instead=lambda: _labels(node))
    assert len(_labels(node)) == 10
    assert list(node.path("/etc/kubernetes/node-feature-discovery/features.d").iterdir()) == []
    assert _more(node, NAMESPACE) == sink.rights
    assert _more(node, "default") == sink.elsewhere

    node.card(1).disappear()
    until(lambda: _labels(node).get(COUNT) == "3", "one card less", instead=lambda: _labels(node))
    node.card(1).reappear()
    until(lambda: _labels(node).get(COUNT) == "4", "the card is back", instead=lambda: _labels(node))

    _run_documented(node, sink.name)
    until(lambda: not _labels(node), "no label of the cards", instead=lambda: _labels(node))
    feature = f"furiosa-npu-features-for-{node.name}"
    assert node.kubectl("get", "nodefeature", "--namespace=kube-system", feature, "--ignore-not-found") == ""
    assert not [each for each in node.labels() if "furiosa" in each]
    kinds = "daemonset,pod,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding"
    selector = f"app.kubernetes.io/name={DISCOVERY}"
    assert node.json("get", kinds, "--namespace=kube-system", f"--selector={selector}")["items"] == []
