"""One real node for all tests: brought up with the first, and clean again after each.

Without what a node needs the tests are skipped, and say why; with `NPU_CLUSTER=required` they fail.
"""

import os
from collections.abc import Iterator

import pytest

from testkit.waiting import until
from tools.cluster.kind import KindNode, missing_for_kind
from tools.cluster.namespaces import NamespaceNode
from tools.cluster.node import Node
from tools.cluster.skipping import check

BY_KIND = os.environ.get("NPU_CLUSTER_NODE") == "kind"
WARBOYS = 4


def pytest_runtest_setup(item: pytest.Item) -> None:
    check(item, missing_for_kind if BY_KIND else None)


@pytest.fixture(scope="session")
def whole_node() -> Iterator[Node]:
    """A node with Node Feature Discovery and the three services."""
    made = KindNode if BY_KIND else NamespaceNode
    with made(warboys=WARBOYS, tell=lambda line: print(line, flush=True)) as node:  # noqa: T201  # shown by -s
        node.install()
        yield node


@pytest.fixture
def node(whole_node: Node) -> Iterator[Node]:
    """The node, with nothing on it but the services. After the test it is so again, and its kubelet is well."""
    yield whole_node
    panics, lives = whole_node.panics(), whole_node.kubelet_lives
    clean(whole_node)
    assert (panics, lives) == (0, True), f"kubelet: {panics} panics\n{whole_node.log_end('kubelet')}"


def clean(node: Node) -> None:
    """Take away what a test may have left."""
    node.revive_programs()
    node.remove_static_pods()
    for card in node.cards().all():
        card.restore()
    node.configure()
    node.kubectl("delete", "pods", "--all", "--namespace=default")
    until(lambda: not node.held(), "no container holds a card")
    node.await_units(WARBOYS, WARBOYS, "after everything was repaired")
