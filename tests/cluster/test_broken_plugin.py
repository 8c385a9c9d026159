"""The watch of a node notices a device plugin that gives out a card that a container already holds."""

import json
from collections.abc import Iterator

import pytest

from testkit.waiting import until
from tools.cluster.node import DAEMONS, MANIFESTS, Node
from tools.cluster.watch import Watch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_TAKES_EVERY_CARD_FOR_FREE = """
from npu_core.allocations import Allocations
Allocations.held = Allocations.conflicts = lambda *_: frozenset()
from npu_device_plugin.entry import main
main()
"""


@pytest.fixture
def broken(node: Node) -> Iterator[Node]:
    """The node, whose device plugin does not know what is held."""
    container = {"name": "device-plugin", "command": ["python3", "-c", _TAKES_EVERY_CARD_FOR_FREE]}
    patch = json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}})
    node.kubectl("patch", "daemonset", "--namespace=kube-system", DAEMONS[0], f"--patch={patch}")
    node.await_daemon(DAEMONS[0])
    yield node
    node.apply(MANIFESTS[0])
    node.await_daemon(DAEMONS[0])


def test_a_core_in_two_containers_is_noticed_and_the_containers_are_named(broken: Node) -> None:
    broken.run_pod("prepares", 0, init=4)
    with Watch(broken) as watch:
        broken.configure(defaultPe="Single")
        broken.run_pod("robs", 1)
        problem = until(watch.problem, "the watch says what is wrong")
    assert "prepares" in problem
    assert "robs" in problem
