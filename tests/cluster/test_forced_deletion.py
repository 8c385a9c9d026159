"""Deletions of a pod whose processes ignore SIGTERM: the usual deletion, and a deletion by ``--force``."""

import logging

import pytest

from testkit.waiting import until
from tools.cluster.held import Held, overlaps
from tools.cluster.node import Node
from tools.cluster.pods import Container, manifest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_LOG = logging.getLogger(__name__)
_DEAF = "trap '' TERM; while :; do sleep 0.2; done"
GRACE = 4
"""Seconds that the kubelet gives the processes of the pod before it kills them."""


def _run_deaf(node: Node) -> str:
    """Start a pod that holds every card and ignores SIGTERM; its units."""
    pod = manifest("deaf", Container(4))
    pod["spec"]["terminationGracePeriodSeconds"] = GRACE
    pod["spec"]["containers"][0]["command"] = ["sh", "-c", _DEAF]
    node.apply_objects(pod)
    node.await_running("deaf")
    return node.units_of("deaf")


def _looks_until_next_alone_holds_cards(node: Node) -> list[list[Held]]:
    looks: list[list[Held]] = []

    def only_next() -> bool:
        looks.append(node.held())
        return [each.pod for each in looks[-1]] == ["next"]

    until(only_next, "the processes of the deleted pod end, and the next pod runs")
    return looks


def test_a_pod_that_does_not_end_keeps_its_cards_until_it_is_killed(node: Node) -> None:
    units = _run_deaf(node)
    node.kubectl("delete", "pod", "deaf", "--wait=false")
    node.run_pod("next", 4, wait=False)
    looks = _looks_until_next_alone_holds_cards(node)
    assert [look for look in looks if overlaps(look)] == []
    assert node.units_of("next") == units


def test_the_cards_of_a_pod_that_is_deleted_by_force_go_to_the_next_pod_and_its_processes_end(node: Node) -> None:
    units = _run_deaf(node)
    node.kubectl("delete", "pod", "deaf", "--force", "--grace-period=0")
    assert "deaf" not in node.pods()
    node.run_pod("next", 4, wait=False)
    looks = _looks_until_next_alone_holds_cards(node)
    # The kubelet frees the cards before the processes are dead, so both pods may hold the card. docs/operations.md says
    # so. A kubelet that waits for the processes would be right as well.
    _LOG.info(
        "%d of %d looks saw both pods with the same cards", sum(bool(overlaps(look)) for look in looks), len(looks)
    )
    # The kubelet removes the log's name, which tells the pod of a container, before the processes have ended.
    assert {each.pod for look in looks for each in look} <= {"", "deaf", "next"}
    assert node.units_of("next") == units
    node.await_units(4, 4, "after the pod was deleted by force")
