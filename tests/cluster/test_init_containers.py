"""Cards that only an init container holds, which the kubelet's PodResources API does not name."""

import time
from collections.abc import Callable

import pytest

from testkit.waiting import until
from tools.cluster.held import overlaps
from tools.cluster.node import Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

WITHOUT_API_SERVER = 60.0
"""Seconds."""


def _restart_plugin(node: Node) -> None:
    node.restart_plugin()


def _restart_kubelet(node: Node) -> None:
    node.restart_kubelet()
    node.await_kubelet()


def _restart_kubelet_without_api_server(node: Node) -> None:
    node.stop_api_server()
    node.restart_kubelet()
    ends = time.monotonic() + WITHOUT_API_SERVER
    while time.monotonic() < ends:
        time.sleep(1)
        assert node.kubelet_lives
    node.start_api_server()
    node.await_kubelet()


def _nothing(node: Node) -> None:
    assert node.kubelet_lives


@pytest.mark.parametrize("event", [_nothing, _restart_plugin, _restart_kubelet, _restart_kubelet_without_api_server])
def test_no_core_of_a_card_that_an_init_container_holds_is_offered(node: Node, event: Callable[[Node], None]) -> None:
    node.run_pod("prepares", 0, init=2)
    cards = {card for card, _ in node.held()[0].cores}
    node.configure(defaultPe="Single")
    # The two free cards are cut into single cores, the held ones are not: 2 * 2 single cores and 2 whole cards.
    node.await_units(6, 6, "with the free cards cut, and no other")
    event(node)
    node.await_units(6, 6, "still")
    node.run_pod("other", 4)
    assert overlaps(node.held()) == []
    assert {card for each in node.held() if each.pod == "other" for card, _ in each.cores}.isdisjoint(cards)
    node.run_pod("third", 1, wait=False)
    until(lambda: "Insufficient" in str(node.pods()["third"]["status"]), "nobody else gets a core")
    node.finish("prepares", "init")
    node.await_running("prepares")
    node.delete("prepares", "third")
    node.await_units(8, 8, "after the pod ended")
