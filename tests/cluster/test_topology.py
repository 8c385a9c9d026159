"""A kubelet that aligns cards and processors: topology manager `single-numa-node`, CPU manager `static`.

Of the node's cards, two are on each of two NUMA nodes, over which the machine's processors are spread.
"""

import os
from collections.abc import Iterator

import pytest

from tools.cluster.held import cores_of
from tools.cluster.node import Node
from tools.cluster.pods import Container, manifest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.usefixtures("aligning")]

_PAIRS = [{0, 1}, {2, 3}]
"""The cards of each NUMA node."""


@pytest.fixture(scope="module")
def aligning(whole_node: Node) -> Iterator[None]:
    """The kubelet of the node with these policies."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one processor cannot be on two NUMA nodes")
    with whole_node.reconfigured_kubelet(
        topologyManagerPolicy="single-numa-node",
        cpuManagerPolicy="static",
        # The kubelet reserves this amount, rounded up to whole processors for itself, and subtracts only the amount
        # itself from what pods may ask for.
        systemReserved={"cpu": "100m"},
        cpuManagerReconcilePeriod="1s",
    ):
        yield


def _cards(node: Node, pod: str) -> set[int]:
    return {card for card, _ in cores_of(node.units_of(pod))}


def _processors(node: Node, pod: str) -> str:
    """Which processors the container may use, as the kernel writes it."""
    return node.kubectl("exec", pod, "--", "sh", "-c", "grep Cpus_allowed_list /proc/self/status").split()[1]


def test_two_cards_for_one_pod_are_of_one_numa_node(node: Node) -> None:
    for name in ("first", "second"):
        node.run_pod(name, 2)
    cards = [_cards(node, name) for name in ("first", "second")]
    assert sorted(cards, key=min) == _PAIRS


def test_a_pod_whose_cards_cannot_be_of_one_numa_node_is_refused(node: Node) -> None:
    node.run_pod("three", 3, wait=False)
    assert node.await_end("three")["reason"] == "TopologyAffinityError"
    singles = [node.run_pod(f"single-{number}", 1) for number in range(3)]
    [pair] = [pair for pair in _PAIRS if sum(_cards(node, name) <= pair for name in singles) == 2]
    of_pair = [name for name in singles if _cards(node, name) <= pair]
    # Now one card of each NUMA node is free.
    node.delete(of_pair.pop())
    node.run_pod("apart", 2, wait=False)
    assert node.await_end("apart")["reason"] == "TopologyAffinityError"
    node.delete(*of_pair)
    node.run_pod("together", 2)
    assert _cards(node, "together") == pair


def test_a_pod_with_a_processor_of_its_own_has_cards_of_the_same_numa_node(node: Node) -> None:
    count = os.cpu_count() or 1
    for cards in (1, 2):
        node.apply_objects(manifest("exclusive", Container(cards, processors=1)))
        node.await_running("exclusive")
        processor, held = _processors(node, "exclusive"), _cards(node, "exclusive")
        assert len(held) == cards
        assert held <= _PAIRS[int(processor) * 2 // count]
        node.restart_kubelet()
        node.await_kubelet()
        assert (_processors(node, "exclusive"), _cards(node, "exclusive")) == (processor, held)
        node.delete("exclusive")
