"""Every interleaving on a small node, to a depth that takes seconds; `make explore` goes further."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from npu_core.allocations import Sources
from npu_core.arch import Arch
from npu_core.claims import Claim
from npu_core.partition import UnitId
from tools.explore.model import Node
from tools.explore.search import explore
from tools.explore.steps import Step, start, steps_with_disabling, steps_with_losses

SHALLOW = 4
DEEP_ENOUGH = 7
"""Steps within which each of the wrong rules below is found out."""


class ListingReplacesCheckpoint(Sources):
    """The wrong rule that an answer of PodResources stands alone: no init container is in it."""

    __slots__ = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        return self.recorded if self.listed is None else self.listed


class NoPodsMeansFree(Sources):
    """The wrong rule that a kubelet that lists no pod has none: it may not know them yet."""

    __slots__ = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        return () if self.is_listed and not self.listed else super().claims


class GrantsAreForgotten(Sources):
    """The wrong rule that the kubelet has written down what it was just given."""

    __slots__ = ()

    def with_grant(self, arch: Arch, units: Iterable[UnitId], stamp: object) -> "GrantsAreForgotten":
        del arch, units, stamp
        return self


@pytest.mark.parametrize("follow", [steps_with_disabling, steps_with_losses])
def test_in_no_order_of_events_is_a_core_held_twice_or_a_held_unit_not_listed(
    follow: Callable[[Node], Iterator[Step]],
) -> None:
    found = explore(start(), follow, SHALLOW)
    assert found.problems == (), found
    assert found.states > 3000


@pytest.mark.parametrize("rule", [ListingReplacesCheckpoint, NoPodsMeansFree, GrantsAreForgotten])
def test_a_wrong_rule_is_found_to_hand_a_core_out_twice(rule: type[Sources]) -> None:
    found = explore(start(rule()), steps_with_disabling, DEEP_ENOUGH, check=Node.double_holds)
    assert found.problems, found


@pytest.mark.parametrize("rule", [ListingReplacesCheckpoint, NoPodsMeansFree, GrantsAreForgotten])
def test_a_wrong_rule_is_found_to_take_a_held_unit_off_the_list(rule: type[Sources]) -> None:
    found = explore(start(rule()), steps_with_disabling, DEEP_ENOUGH, check=Node.unlisted)
    assert found.problems, found
