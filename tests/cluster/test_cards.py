"""Cards that die, are lost or are disabled under a real kubelet."""

import pytest

from testkit.waiting import until
from tools.cluster.node import Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def _place(node: Node, pod: str, container: str = "main") -> int:
    """The number of the card that a container holds."""
    [index] = {card for each in node.held() if (each.pod, each.container) == (pod, container) for card, _ in each.cores}
    return index


def test_a_card_that_dies_is_not_allocatable_until_it_lives_again(node: Node) -> None:
    node.card(2).die()
    node.await_units(3, 4, "while a card is dead")
    node.card(2).revive()
    until(lambda: node.allocatable() == 4, "all are allocatable")


def test_the_status_of_a_pod_says_that_its_card_died(node: Node) -> None:
    def health() -> str:
        [status] = node.pods()["holds"]["status"]["containerStatuses"]
        resources = [each for group in status.get("allocatedResourcesStatus", []) for each in group["resources"]]
        return " ".join(each["health"] for each in resources)

    node.run_pod("holds", 1)
    if node.programs.kubernetes == "1.34":
        pytest.skip("the kubelet of 1.34 writes no health of devices by itself")
    card = node.card(_place(node, "holds"))
    until(lambda: health() == "Healthy", "the status names a healthy card")
    card.die()
    until(lambda: health() == "Unhealthy", "the status names an unhealthy card")
    card.revive()
    until(lambda: health() == "Healthy", "the status names a healthy card again")


def test_a_held_card_that_is_disabled_is_offered_to_nobody_and_leaves_the_list_with_its_pod(node: Node) -> None:
    node.run_pod("holds", 1)
    card = node.card(_place(node, "holds"))
    node.configure(disabledDevices=[{"devName": card.name}])
    node.await_units(3, 4, "while a held card is disabled")
    node.restart_kubelet()
    node.await_kubelet()
    node.await_units(3, 4, "after a restart of the kubelet")
    assert node.units_of("holds")
    node.delete("holds")
    node.await_units(3, 3, "after its pod ended")


def test_the_kubelet_lives_through_restarts_while_a_lost_card_is_held(node: Node) -> None:
    node.run_pod("holds", 1)
    index = _place(node, "holds")
    node.card(index).disappear()
    until(lambda: node.allocatable() == 3, "the lost card is not allocatable")
    node.restart_plugin()
    for _ in range(3):
        node.restart_kubelet()
        node.await_kubelet()
    assert (node.kubelet_lives, node.panics()) == (True, 0)
    node.await_units(3, 4, "while a lost card is held")
    # The scheduler takes the lost unit from the three that are well: two are left to give.
    node.run_pod("other", 2)
    assert {card for each in node.held() if each.pod == "other" for card, _ in each.cores} < {0, 1, 2, 3} - {index}
    node.delete("holds")
    node.await_units(3, 3, "after its pod ended")
