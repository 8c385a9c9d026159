"""Two hundred short pods of every kind, while the cards are cut anew again and again."""

import time
from collections import Counter
from itertools import cycle
from typing import Any

import pytest

from tools.cluster.node import Node
from tools.cluster.pods import RESOURCE, Container, manifest
from tools.cluster.watch import Watch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PODS = 200
_SHORT = 0.3
_KINDS = ((1, None, None), (2, None, None), (1, 1, None), (0, 2, None), (1, None, 1), (1, 2, 1))
"""Units of the main container, of the init container and of the sidecar; None for no such container."""
_REFUSALS = {"UnexpectedAdmissionError", f"OutOf{RESOURCE}"}
"""How a pod may end if its units disappear between the scheduler's choice and the kubelet's choice."""
_BETWEEN_FLIPS = 3.0
_PATIENCE = 600.0


def test_no_core_is_in_two_of_two_hundred_short_pods_while_cards_are_cut_anew(node: Node) -> None:
    pods = [_short(number) for number in range(PODS)]
    deadline = time.monotonic() + _PATIENCE
    with Watch(node, interval=0.1) as watch:
        node.apply_objects(*pods)
        for default_pe in cycle(("Single", "Fusion")):
            if watch.problem() or time.monotonic() > deadline or not _waiting(node):
                break
            node.configure(defaultPe=default_pe)
            time.sleep(_BETWEEN_FLIPS)
    assert watch.problem() == ""
    ends = Counter((pod["status"]["phase"], pod["status"].get("reason", "")) for pod in node.pods().values())
    assert set(ends) <= {("Succeeded", ""), *(("Failed", reason) for reason in _REFUSALS)}, ends
    assert ends.total() == PODS
    assert ends["Succeeded", ""] > PODS / 2
    # The run did what the test is about: containers ran at the same time, and cards were split in both ways.
    assert watch.most > 1
    assert {unit.partition("pe")[2] for unit in watch.units} == {"0-1", "0", "1"}


def _short(number: int) -> dict[str, Any]:
    main, init, sidecar = _KINDS[number % len(_KINDS)]
    pod = manifest(
        f"short-{number}",
        Container(main, _SHORT),
        init=None if init is None else Container(init, _SHORT),
        sidecar=None if sidecar is None else Container(sidecar),
    )
    # A network for each pod would double the duration of the test.
    pod["spec"]["hostNetwork"] = True
    return pod


def _waiting(node: Node) -> int:
    """How many pods are not over."""
    phases = node.kubectl("get", "pods", "--output=jsonpath={.items[*].status.phase}").split()
    return sum(phase in {"Pending", "Running"} for phase in phases)
