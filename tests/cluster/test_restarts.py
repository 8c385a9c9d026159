"""Restarts of every program of a node, and of the node, while a pod holds a card."""

import signal

import pytest

from testkit.waiting import until
from tools.cluster.node import Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def units(node: Node) -> str:
    """A pod called ``holds`` with one card; which one."""
    node.run_pod("holds", 1)
    return node.units_of("holds")


def _is_well(node: Node, units: str) -> None:
    """Three cards are for others, and the fourth is where it was."""
    until(lambda: node.condition("Ready") == "True" and node.allocatable() == 4, "the node offers all units")
    node.run_pod("others", 3)
    assert node.units_of("holds") == units
    assert units not in node.units_of("others")
    assert len({each for one in node.held() for each in one.cores}) == 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_pod_keeps_its_card_over_a_restart_of_the_kubelet(node: Node, units: str, number: signal.Signals) -> None:
    node.restart_kubelet(number)
    node.await_kubelet()
    _is_well(node, units)


def test_a_pod_keeps_its_card_over_a_restart_of_containerd(node: Node, units: str) -> None:
    node.restart_containerd()
    _is_well(node, units)


def test_a_pod_keeps_its_card_over_a_restart_of_the_plugin(node: Node, units: str) -> None:
    node.restart_plugin()
    _is_well(node, units)


def test_after_a_reboot_a_pod_with_a_card_runs_or_is_rejected_and_new_pods_get_cards(node: Node, units: str) -> None:
    assert units
    node.reboot()

    def end() -> str:
        status = node.pods()["holds"]["status"]
        if status["phase"] == "Failed":
            return str(status["reason"])
        # The status of before the reboot says Running until the kubelet has looked.
        return "Running" if node.units_of("holds") else ""

    assert until(end, "the pod runs or is rejected") in {"Running", "UnexpectedAdmissionError"}
    until(lambda: node.allocatable() == 4, "the node offers all units")
    node.delete("holds")
    node.run_pod("new", 4)
    assert len({each for one in node.held() for each in one.cores}) == 8
