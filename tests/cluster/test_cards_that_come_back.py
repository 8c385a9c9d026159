"""Cards whose driver hangs, and cards that vanish: they are not given out, and they come back."""

import pytest

from testkit.waiting import until
from tools.cluster.node import Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_STUCK = "npu_device_plugin_cards_stuck"


def test_cards_whose_driver_hangs_are_not_given_out_until_the_driver_answers_again(node: Node) -> None:
    node.run_pod("holds", 1)
    held = node.units_of("holds")
    free = next(index for index in range(4) if not held.startswith(f"npu{index}pe"))
    hanging = [node.card(int(held[3])), node.card(free)]
    for card in hanging:
        card.hang()
    until(lambda: node.plugin_metric(_STUCK) == len(hanging), "the plugin says that two cards hang")
    # For 30 seconds, a card that does not answer keeps its last health.
    node.await_units(2, 4, "while two cards hang")
    # Of the two healthy units, one is held, so one unit is left for the scheduler.
    node.run_pod("other", 1)
    assert node.units_of("other") not in {f"{card.name}pe0-1" for card in hanging}
    assert node.units_of("holds") == held
    for card in hanging:
        card.revive()
    node.await_units(4, 4, "after the driver answers again")
    until(lambda: node.plugin_metric(_STUCK) == 0, "no card hangs")
    node.run_pod("after", 2)
    assert f"npu{free}pe0-1" in node.units_of("after").split(",")


def test_cards_that_vanish_and_return_are_given_out_again_under_their_names(node: Node) -> None:
    node.run_pod("holds", 1)
    held = node.units_of("holds")
    free = next(index for index in range(4) if not held.startswith(f"npu{index}pe"))
    gone = [node.card(int(held[3])), node.card(free)]
    for card in gone:
        card.disappear()
    until(lambda: node.allocatable() == 2, "two cards are there")
    assert node.units_of("holds") == held
    for card in gone:
        card.reappear()
    node.await_units(4, 4, "after the cards are back")
    node.run_pod("after", 3)
    assert f"npu{free}pe0-1" in node.units_of("after").split(",")
    assert held not in node.units_of("after").split(",")
