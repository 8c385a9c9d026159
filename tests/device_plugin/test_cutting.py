"""When a card may be cut anew: what is known of its holders, and what follows."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.partition import FUSION, SINGLE, Partitioning, UnitId, partitionings_of
from npu_device_plugin.cutting import NOTHING_HELD, SETTLE, Cut, Ledger, conflict, cut_of
from strategies import arch_specs, archs, core_ranges, indices, partitionings, unit_ids

WARBOY, RNGD = arch_spec(Arch.WARBOY), arch_spec(Arch.RENEGADE)
TWO, FOUR = Partitioning(2), Partitioning(4)
CANNOT_TELL = "it cannot be told whether its units are held"

any_policy = st.sampled_from([FUSION, SINGLE, TWO, FOUR])
times = st.floats(0, 1000)


def ranges(*texts: str) -> frozenset[CoreRange]:
    return frozenset(map(CoreRange.parse, texts))


def ids(*texts: str) -> frozenset[UnitId]:
    return frozenset(map(UnitId.parse, texts))


@st.composite
def held_by_someone(draw: st.DrawFn, spec: ArchSpec) -> frozenset[CoreRange]:
    """Some units of one way of cutting a card: all that can be held at one time."""
    policy = draw(partitionings(spec))
    return frozenset(draw(st.sets(st.sampled_from(policy.core_ranges(spec)))))


# -- the ledger -------------------------------------------------------------------------------------------------------


def test_of_what_nobody_ever_listed_nothing_is_known() -> None:
    assert Ledger().held(Arch.WARBOY, 0) is None
    assert Ledger().with_grant(Arch.WARBOY, ids("npu0pe0"), 1.0).held(Arch.WARBOY, 0) is None


@given(archs, indices)
def test_where_nothing_runs_nothing_is_held(arch: Arch, index: int) -> None:
    assert NOTHING_HELD.held(arch, index) == frozenset()


def test_what_was_listed_is_held_by_its_own_card_only() -> None:
    ledger = Ledger().with_listing(((Arch.WARBOY, ids("npu0pe0", "npu1pe0-1")),), 0.0)
    assert ledger.held(Arch.WARBOY, 0) == ranges("0")
    assert ledger.held(Arch.WARBOY, 1) == ranges("0-1")
    assert ledger.held(Arch.WARBOY, 2) == frozenset()


def test_a_family_that_was_not_asked_for_is_unknown_though_another_was() -> None:
    ledger = Ledger().with_listing(((Arch.WARBOY, frozenset()),), 0.0)
    assert ledger.held(Arch.WARBOY, 0) == frozenset()
    assert ledger.held(Arch.RENEGADE, 0) is None


def test_a_kubelet_that_may_not_know_all_its_pods_yet_adds_to_what_is_held_and_frees_nothing() -> None:
    ledger = Ledger().with_listing(((Arch.WARBOY, ids("npu0pe0-1")),), 0.0)
    young = ledger.with_partial_listing(((Arch.WARBOY, ids("npu1pe0-1")),))
    assert young.held(Arch.WARBOY, 0) == ranges("0-1")
    assert young.held(Arch.WARBOY, 1) == ranges("0-1")
    grown = young.with_listing(((Arch.WARBOY, ids("npu1pe0-1")),), 5.0)
    assert grown.held(Arch.WARBOY, 0) == frozenset()


def test_before_any_listing_a_kubelet_that_just_started_frees_nothing_of_its_record() -> None:
    recorded = Ledger().with_record(((Arch.WARBOY, ids("npu0pe0-1")),))
    assert recorded.with_partial_listing(NOTHING_HELD.listed).held(Arch.WARBOY, 0) == ranges("0-1")


def test_a_kubelet_that_just_started_takes_no_grant_back_however_old() -> None:
    ledger = NOTHING_HELD.with_grant(Arch.WARBOY, ids("npu0pe0"), 0.0)
    young = ledger.with_partial_listing(NOTHING_HELD.listed)
    assert young.held(Arch.WARBOY, 0) == ranges("0")
    assert young.with_listing(NOTHING_HELD.listed, 1000.0).held(Arch.WARBOY, 0) == frozenset()


def test_a_grant_is_of_its_family_and_card() -> None:
    ledger = NOTHING_HELD.with_grant(Arch.WARBOY, ids("npu0pe0"), 5.0)
    assert ledger.held(Arch.WARBOY, 0) == ranges("0")
    assert ledger.held(Arch.WARBOY, 1) == frozenset()
    assert ledger.held(Arch.RENEGADE, 0) == frozenset()


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (99.0, ["0"]),  # asked before, answered after
        (100.0, ["0"]),
        (100.0 + SETTLE - 0.001, ["0"]),
        (100.0 + SETTLE, []),
        (1000.0, []),
    ],
)
def test_a_grant_counts_until_a_listing_that_was_asked_for_long_enough_after_it(asked: float, held: list[str]) -> None:
    ledger = NOTHING_HELD.with_grant(Arch.WARBOY, ids("npu0pe0"), 100.0)
    assert ledger.with_listing(NOTHING_HELD.listed, asked).held(Arch.WARBOY, 0) == ranges(*held)


def test_a_unit_that_was_granted_and_listed_is_free_with_the_first_listing_without_it() -> None:
    ledger = NOTHING_HELD.with_grant(Arch.WARBOY, ids("npu0pe0"), 0.0)
    ledger = ledger.with_listing(((Arch.WARBOY, ids("npu0pe0")),), SETTLE)
    assert ledger.held(Arch.WARBOY, 0) == ranges("0")
    assert ledger.with_listing(((Arch.WARBOY, frozenset()),), SETTLE + 1).held(Arch.WARBOY, 0) == frozenset()


def test_a_unit_that_is_granted_again_counts_from_then() -> None:
    ledger = NOTHING_HELD.with_grant(Arch.WARBOY, ids("npu0pe0"), 0.0).with_grant(Arch.WARBOY, ids("npu0pe0"), 9.0)
    assert ledger.with_listing(NOTHING_HELD.listed, SETTLE).held(Arch.WARBOY, 0) == ranges("0")
    assert ledger.with_listing(NOTHING_HELD.listed, 9.0 + SETTLE).held(Arch.WARBOY, 0) == frozenset()


def test_a_grant_that_no_listing_ever_follows_is_kept_once() -> None:
    ledger = Ledger()
    for now in range(100):
        ledger = ledger.with_grant(Arch.WARBOY, ids("npu0pe0", "npu0pe1"), float(now))
        ledger = ledger.with_grant(Arch.RENEGADE, ids("npu0pe0"), float(now))
    assert len(ledger.granted) == 3


@given(st.lists(st.tuples(unit_ids(), times)), times, archs)
def test_a_grant_is_never_held_less_than_its_time(grants: list[tuple[UnitId, float]], asked: float, arch: Arch) -> None:
    ledger = NOTHING_HELD
    for unit, now in sorted(grants, key=lambda grant: grant[1]):
        ledger = ledger.with_grant(arch, [unit], now)
    after = ledger.with_listing(NOTHING_HELD.listed, asked)
    for unit, _ in grants:
        last = max(now for other, now in grants if other == unit)
        assert (unit.cores in (after.held(arch, unit.index) or ())) == (asked - last < SETTLE)


def test_ten_seconds_are_enough_for_the_kubelet_to_list_what_it_was_answered() -> None:
    assert SETTLE == 10.0


def test_what_was_held_before_us_is_what_is_held_and_was_not_given_out_by_us() -> None:
    listed = ((Arch.WARBOY, ids("npu0pe0", "npu1pe0")), (Arch.RENEGADE, ids("npu0pe0")))
    ledger = Ledger(listed=listed).with_grant(Arch.WARBOY, ids("npu0pe0", "npu2pe0"), 1.0)
    others = {(Arch.WARBOY, UnitId.parse("npu1pe0")), (Arch.RENEGADE, UnitId.parse("npu0pe0"))}
    assert ledger.inherited == frozenset(others)


def test_the_record_tells_what_was_held_before_us_until_there_is_a_listing() -> None:
    ledger = Ledger().with_record(((Arch.WARBOY, ids("npu0pe0")),))
    assert ledger.inherited == frozenset({(Arch.WARBOY, UnitId.parse("npu0pe0"))})
    assert ledger.with_listing(((Arch.WARBOY, frozenset()),), 0.0).inherited == frozenset()


def test_what_was_held_before_us_cannot_be_told_where_nobody_was_asked() -> None:
    assert Ledger().inherited is None
    assert Ledger().with_grant(Arch.WARBOY, ids("npu0pe0"), 1.0).inherited is None
    assert NOTHING_HELD.inherited == frozenset()


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


# -- conflicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "held", "expected"),
    [
        ("0", ranges(), None),
        ("0", ranges("0"), None),
        ("0", ranges("1"), None),
        ("0-1", ranges("0"), "its cores are held as pe0"),
        ("0", ranges("0-1"), "its cores are held as pe0-1"),
        ("0-3", ranges("2", "0-3", "0-1", "4"), "its cores are held as pe0-1, pe2"),
        ("0-7", ranges("7", "5", "0-1", "6", "2-3", "4"), "its cores are held as pe0-1, pe2-3, pe4, pe5, pe6, pe7"),
    ],
)
def test_a_unit_some_of_whose_cores_are_held_as_another_may_not_be_given_out(
    unit: str, held: frozenset[CoreRange], expected: str | None
) -> None:
    assert conflict(CoreRange.parse(unit), held) == expected


@given(core_ranges(), st.frozensets(core_ranges()))
def test_there_is_a_conflict_exactly_with_another_range_that_shares_a_core(
    unit: CoreRange, held: frozenset[CoreRange]
) -> None:
    assert bool(conflict(unit, held)) == any(other != unit and set(other) & set(unit) for other in held)


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


def test_the_record_tells_how_a_card_was_cut_and_never_that_it_is_free() -> None:
    ledger = Ledger().with_record(((Arch.WARBOY, frozenset({UnitId.parse("npu0pe0-1")})),))
    assert (ledger.held(Arch.WARBOY, 0), ledger.traces(Arch.WARBOY, 0)) == (None, ranges("0-1"))
    assert (ledger.held(Arch.WARBOY, 1), ledger.traces(Arch.WARBOY, 1)) == (None, frozenset())
    assert ledger.as_recorded().held(Arch.WARBOY, 0) == ranges("0-1")
    assert Ledger().as_recorded().held(Arch.RENEGADE, 0) == frozenset()


def test_a_listing_stands_before_the_record() -> None:
    free = ((Arch.WARBOY, frozenset[UnitId]()),)
    recorded = Ledger(listed=free).with_record(((Arch.WARBOY, frozenset({UnitId.parse("npu0pe0")})),))
    assert recorded.traces(Arch.WARBOY, 0) == recorded.held(Arch.WARBOY, 0) == frozenset()
    assert recorded.as_recorded() == recorded
    assert recorded.with_listing(free, 0.0) == Ledger(listed=free)
