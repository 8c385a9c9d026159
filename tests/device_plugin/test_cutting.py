"""When a card may be cut anew."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.partition import FUSION, SINGLE, Partitioning, partitionings_of
from npu_device_plugin.allocation.repartition import Cut, cut_of
from testkit.strategies import arch_specs, core_ranges, partitionings

WARBOY, RNGD = arch_spec(Arch.WARBOY), arch_spec(Arch.RENEGADE)
TWO, FOUR = Partitioning(2), Partitioning(4)
CANNOT_TELL = "it cannot be told whether its units are held"

any_policy = st.sampled_from([FUSION, SINGLE, TWO, FOUR])


def ranges(*texts: str) -> frozenset[CoreRange]:
    return frozenset(map(CoreRange.parse, texts))


@st.composite
def held_by_someone(draw: st.DrawFn, spec: ArchSpec) -> frozenset[CoreRange]:
    """Some units of one way of cutting a card: all that can be held at one time."""
    policy = draw(partitionings(spec))
    return frozenset(draw(st.sets(st.sampled_from(policy.core_ranges(spec)))))


# -- the cut ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "current", "wish", "held", "expected"),
    [
        # Nobody holds anything: as wished, or whole where the family cannot be cut so.
        (WARBOY, None, SINGLE, ranges(), Cut(SINGLE)),
        (WARBOY, FUSION, SINGLE, ranges(), Cut(SINGLE)),
        (WARBOY, SINGLE, FUSION, ranges(), Cut(FUSION)),
        (WARBOY, None, FOUR, ranges(), Cut(FUSION)),
        (WARBOY, SINGLE, FOUR, ranges(), Cut(FUSION)),
        (RNGD, FUSION, FOUR, ranges(), Cut(FOUR)),
        # Nobody knows: a card that was cut stays so, one that was not is cut as wished.
        (WARBOY, None, SINGLE, None, Cut(SINGLE)),
        (WARBOY, SINGLE, SINGLE, None, Cut(SINGLE)),
        (WARBOY, FUSION, SINGLE, None, Cut(FUSION, CANNOT_TELL)),
        (WARBOY, FUSION, FOUR, None, Cut(FUSION)),
        # What is held is a unit of the new cut, too.
        (RNGD, FOUR, FOUR, ranges("0-3"), Cut(FOUR)),
        (WARBOY, TWO, FUSION, ranges("0-1"), Cut(FUSION)),
        (WARBOY, SINGLE, FOUR, ranges("0-1"), Cut(FUSION)),
        # It is not.
        (WARBOY, FUSION, SINGLE, ranges("0-1"), Cut(FUSION, "pe0-1 held by a container")),
        (WARBOY, SINGLE, FUSION, ranges("1"), Cut(SINGLE, "pe1 held by a container")),
        (RNGD, SINGLE, TWO, ranges("7", "2"), Cut(SINGLE, "pe2, pe7 held by a container")),
        # After a restart the holders tell how the card was cut.
        (WARBOY, None, SINGLE, ranges("0-1"), Cut(FUSION, "pe0-1 held by a container")),
        (WARBOY, None, FUSION, ranges("0"), Cut(SINGLE, "pe0 held by a container")),
        (RNGD, None, SINGLE, ranges("4-7"), Cut(FOUR, "pe4-7 held by a container")),
        (RNGD, None, FUSION, ranges("0-1", "6-7"), Cut(TWO, "pe0-1, pe6-7 held by a container")),
        # What cannot be: the card stays as it is, or as wished.
        (RNGD, SINGLE, FOUR, ranges("0", "4-7"), Cut(SINGLE, "pe0, pe4-7 held by a container")),
        (RNGD, None, FOUR, ranges("0", "4-7"), Cut(FOUR, "pe0, pe4-7 held by a container")),
        (WARBOY, None, FUSION, ranges("5"), Cut(FUSION, "pe5 held by a container")),
    ],
)
def test_a_card_is_cut_by_the_wish_as_far_as_its_holders_allow(
    spec: ArchSpec, current: Partitioning | None, wish: Partitioning, held: frozenset[CoreRange] | None, expected: Cut
) -> None:
    assert cut_of(spec, current, wish, held) == expected


@given(st.data(), arch_specs, any_policy)
def test_whatever_is_held_stays_a_unit_and_no_unit_shares_cores_with_it(
    data: st.DataObject, spec: ArchSpec, wish: Partitioning
) -> None:
    current = data.draw(st.one_of(st.none(), partitionings(spec)))
    held = data.draw(held_by_someone(spec))
    units = cut_of(spec, current, wish, held).partitioning.core_ranges(spec)
    assert held <= set(units)
    assert not [unit for unit in units for other in held if unit.overlaps(other) and unit != other]


@given(st.data(), arch_specs, any_policy)
def test_a_card_is_never_cut_anew_while_nobody_knows(data: st.DataObject, spec: ArchSpec, wish: Partitioning) -> None:
    current = data.draw(partitionings(spec))
    assert cut_of(spec, current, wish, None).partitioning == current


@given(st.data(), arch_specs, any_policy)
def test_a_card_of_which_impossible_things_are_held_keeps_its_cut(
    data: st.DataObject, spec: ArchSpec, wish: Partitioning
) -> None:
    current = data.draw(partitionings(spec))
    held = data.draw(st.frozensets(core_ranges(spec.cores), min_size=1))
    assume(not any(held <= set(policy.core_ranges(spec)) for policy in partitionings_of(spec)))
    cut = cut_of(spec, current, wish, held)
    assert (cut.partitioning, cut.pending is None) == (current, False)


@given(st.data(), arch_specs, any_policy)
def test_a_cut_is_pending_exactly_if_it_is_not_what_was_wished(
    data: st.DataObject, spec: ArchSpec, wish: Partitioning
) -> None:
    current = data.draw(st.one_of(st.none(), partitionings(spec)))
    held = data.draw(st.one_of(st.none(), held_by_someone(spec)))
    cut = cut_of(spec, current, wish, held)
    goal = wish if wish.fits(spec) else FUSION
    same = cut.partitioning.core_ranges(spec) == goal.core_ranges(spec)
    assert same or cut.pending
    if not cut.pending:
        assert cut.partitioning == goal


@given(st.data(), arch_specs, any_policy)
def test_a_decision_that_was_made_stands_while_nothing_changes(
    data: st.DataObject, spec: ArchSpec, wish: Partitioning
) -> None:
    current = data.draw(st.one_of(st.none(), partitionings(spec)))
    held = data.draw(st.one_of(st.none(), st.frozensets(core_ranges(spec.cores))))
    once = cut_of(spec, current, wish, held)
    assert cut_of(spec, once.partitioning, wish, held) == once


# -- cards that nobody cut yet, and a kubelet that cannot be asked ----------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "traces", "units"),
    [
        (SINGLE, [], SINGLE),
        (SINGLE, ["0-1"], FUSION),
        (FUSION, ["1"], SINGLE),
        (SINGLE, ["1"], SINGLE),
        (SINGLE, ["0", "0-1"], SINGLE),  # which no cut explains
    ],
)
def test_a_card_that_was_not_cut_yet_is_cut_by_the_traces_of_its_holders(
    wish: Partitioning, traces: list[str], units: Partitioning
) -> None:
    cut = cut_of(WARBOY, None, wish, None, ranges(*traces))
    assert (cut.partitioning, cut.pending is None) == (units, units == wish)
    assert cut_of(WARBOY, cut.partitioning, wish, None, frozenset()) == cut
