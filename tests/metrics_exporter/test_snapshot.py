"""What is known of a card over time: listings, looks, failures, age."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.device import PciAddress
from npu_core.errors import BusyError, HostError, ReadFailedError
from npu_core.health import Vitals
from npu_core.sensors import Quantity, Reading, Sensor
from npu_metrics_exporter.metrics.snapshot import CardReport, CardState, CardStatus, Snapshot
from tests.metrics_exporter.cards import (
    DEAD,
    RNGD,
    SILENT,
    WALL,
    WARBOY,
    device,
    found,
    of_card,
    report,
    snapshot,
    temperature,
)

SECOND = (Arch.WARBOY, 1)


def state(whole: Snapshot, key: tuple[Arch, int] = WARBOY) -> CardState:
    card = whole.card(key)
    assert card is not None
    return card


def test_a_card_that_was_not_looked_at_is_called_by_its_number_and_neither_alive_nor_dead() -> None:
    card = state(Snapshot().with_listing([found(), found(index=12)], 0.0), (Arch.WARBOY, 12))
    assert card == CardState((Arch.WARBOY, 12))
    assert (card.name, card.alive, card.is_silent, card.is_double, card.is_exported) == (
        "npu12",
        None,
        False,
        False,
        True,
    )


def test_a_card_of_which_device_files_alone_were_ever_seen_is_listed() -> None:
    whole = Snapshot().with_listing([found(managed=False)], 0.0)
    assert whole.cards == (CardState(WARBOY),)


def test_a_card_that_stays_listed_stays_as_it_is() -> None:
    for whole in (snapshot(report()), snapshot(report()).with_failure(WARBOY, stuck=True, now=0.0)):
        assert whole.with_listing([found()], 5.0) == whole


def test_what_is_no_card_of_ours_says_why_and_cannot_fail() -> None:
    whole = Snapshot().with_listing([found()], 0.0).with_rejection(WARBOY, "platform_type is 'VITIS'")
    assert state(whole) == CardState(WARBOY, CardStatus.REJECTED, rejection="platform_type is 'VITIS'")
    assert whole.with_failure(WARBOY, stuck=True, now=0.0) == whole
    assert whole.with_listing([found()], 1.0) == whole


def test_a_card_that_is_known_only_as_none_of_ours_takes_no_place_of_another() -> None:
    whole = snapshot(report()).with_rejection(SECOND, "it is none")
    assert [card.status for card in whole.cards] == [CardStatus.PRESENT, CardStatus.REJECTED]


def test_a_look_at_a_card_that_was_thought_to_be_gone_brings_it_back() -> None:
    whole = snapshot(report()).with_listing([], 5.0).with_report(report(), WALL)
    assert (state(whole).status, state(whole).departed_since) == (CardStatus.PRESENT, None)


def test_cards_stand_by_family_and_number_however_they_were_listed() -> None:
    listed = [found(Arch.RENEGADE, 0), found(Arch.WARBOY, 10), found(Arch.WARBOY, 2)]
    keys = [card.key for card in Snapshot().with_listing(listed, 0.0).cards]
    assert keys == [(Arch.WARBOY, 2), (Arch.WARBOY, 10), RNGD]


def test_a_look_says_what_the_card_is_and_when_that_was_known() -> None:
    card = state(snapshot(report()))
    assert (card.alive, card.device, card.last_success) == (True, report().device, WALL)


def test_a_look_that_breaks_leaves_the_card_as_it_was_for_the_grace_and_keeps_its_last_values() -> None:
    failed = snapshot(report(temperature("Peak"))).with_failure(WARBOY, stuck=False, now=10.0)
    card = state(failed)
    assert (card.status, card.alive, card.stuck) == (CardStatus.FAILED, True, False)
    assert card.report == report(temperature("Peak"))
    assert state(failed.with_failure(WARBOY, stuck=False, now=39.9)).alive is True
    assert state(failed.with_failure(WARBOY, stuck=False, now=40.0)).alive is False


@pytest.mark.parametrize("error", [BusyError("EBUSY"), ReadFailedError("EIO")])
def test_a_life_that_cannot_be_read_stays_as_it_was_for_the_grace(error: HostError) -> None:
    unread = replace(report(), vitals=Vitals(present=True, alive=error))
    whole = snapshot(report(taken=0.0))
    for seconds, alive in ((10.0, True), (39.9, True), (40.0, False), (50.0, False)):
        whole = whole.with_report(replace(unread, taken=seconds), WALL)
        assert state(whole).alive is alive
    assert state(snapshot(unread)).alive is False


@pytest.mark.parametrize(
    "vitals",
    [DEAD, Vitals(present=True, alive=True, missing_files=("npu0pe0",)), Vitals(present=False, alive=None)],
    ids=["dead", "file missing", "gone"],
)
def test_what_is_certain_makes_the_card_dead_at_once(vitals: Vitals) -> None:
    assert state(snapshot(report()).with_report(replace(report(), vitals=vitals), WALL)).alive is False


def test_a_card_that_was_dead_is_alive_after_two_good_looks() -> None:
    whole = snapshot(replace(report(), vitals=DEAD)).with_report(report(), WALL)
    assert state(whole).alive is False
    assert state(whole.with_report(report(), WALL)).alive is True


def test_a_driver_that_says_nothing_of_life_says_it_of_a_card_with_all_its_files_only() -> None:
    assert state(snapshot(replace(report(), vitals=SILENT))).alive is None
    broken = replace(SILENT, missing_files=("npu0pe0",))
    assert state(snapshot(replace(report(), vitals=broken))).alive is False


def test_a_look_that_does_not_come_back_makes_the_card_stuck_until_one_does() -> None:
    assert Snapshot().with_failure(WARBOY, stuck=True, now=0.0) == Snapshot()
    first = Snapshot().with_listing([found()], 0.0).with_failure(WARBOY, stuck=True, now=0.0)
    assert (state(first).alive, state(first).device, state(first).stuck) == (False, None, True)
    stuck = snapshot(report()).with_failure(WARBOY, stuck=True, now=0.0)
    assert state(stuck).stuck
    assert not state(stuck.with_report(report(), WALL)).stuck
    gone = state(stuck.with_listing([], 7.0).with_listing([], 9.0))
    assert (gone.status, gone.alive, gone.stuck, gone.report) == (CardStatus.DEPARTED, False, False, None)
    assert (gone.departed_since, gone.device) == (7.0, report().device)


def test_a_card_of_which_only_device_files_are_left_has_departed() -> None:
    whole = snapshot(report()).with_listing([found(managed=False)], 1.0)
    assert state(whole).status is CardStatus.DEPARTED


def test_a_late_failure_or_rejection_does_not_bring_a_departed_card_back() -> None:
    gone = snapshot(report()).with_listing([], 1.0)
    assert gone.with_failure(WARBOY, stuck=True, now=0.0) == gone
    assert gone.with_rejection(WARBOY) == gone


def test_a_card_that_comes_back_is_known_and_dead_until_two_good_looks_and_may_call_its_sensors_otherwise() -> None:
    back = snapshot(report(temperature("Peak", channel=1))).with_listing([], 1.0).with_listing([found()], 2.0)
    card = state(back)
    assert (card.status, card.alive, card.device) == (CardStatus.PRESENT, False, report().device)
    assert (card.departed_since, card.report, card.sensors_seen) == (None, None, frozenset())
    once = back.with_report(report(), WALL)
    assert (state(once).alive, state(once.with_report(report(), WALL)).alive) == (False, True)


def test_a_departed_card_leaves_after_its_grace() -> None:
    gone = snapshot(report()).with_listing([], 100.0)
    assert gone.aged(400.0, max_age=30.0, grace=300.0).cards == gone.cards
    assert gone.aged(400.1, max_age=30.0, grace=300.0).cards == ()


def test_values_older_than_allowed_are_dropped_and_the_card_stays() -> None:
    whole = snapshot(report(taken=10.0))
    assert whole.aged(40.0, max_age=30.0, grace=300.0) == whole
    card = state(whole.aged(40.1, max_age=30.0, grace=300.0))
    assert (card.report, card.device, card.last_success) == (None, report().device, WALL)


def test_what_was_no_card_of_ours_leaves_no_gap() -> None:
    whole = Snapshot().with_listing([found()], 0.0).with_rejection(WARBOY)
    assert whole.with_listing([], 1.0).cards == ()


def test_something_that_was_rejected_may_turn_out_to_be_a_card() -> None:
    rejected = Snapshot().with_listing([found()], 0.0).with_rejection(WARBOY, "it is none")
    assert state(rejected.with_report(report(), WALL)) == state(snapshot(report()))
    assert Snapshot().with_report(report(), WALL) == snapshot(report())


def test_there_ought_to_be_as_many_cards_as_there_ever_were() -> None:
    listed = Snapshot().with_listing([found(), found(index=1)], 0.0)
    two = listed.with_report(report(), WALL).with_failure((Arch.WARBOY, 1), stuck=True, now=0.0)
    one = two.with_listing([found()], 1.0)
    assert (listed.most, two.most, one.most, one.present) == (0, 2, 2, 1)
    assert listed.with_report(report(), WALL).with_rejection(SECOND).most == 1
    assert (Snapshot().most, Snapshot().present, Snapshot().failed) == (0, 0, 0)


def test_a_card_in_the_place_of_one_that_left_makes_no_more_of_them() -> None:
    whole = snapshot(report()).with_listing([found(index=1)], 1.0).with_report(of_card(*SECOND), WALL)
    assert (len(whole.cards), whole.present, whole.most) == (2, 1, 1)


def test_failed_cards_are_counted_among_the_present() -> None:
    whole = snapshot(report(), of_card(*SECOND)).with_failure(SECOND, stuck=False, now=0.0)
    assert (whole.present, whole.failed) == (2, 1)
    assert whole.with_failure(WARBOY, stuck=True, now=0.0).failed == 2


NE1, NE4, PEAK1, PEAK2 = (
    temperature("NE", 1),
    temperature("NE", 4),
    temperature("Peak", 1),
    temperature("Peak", 2),
)
NAMELESS1, NAMELESS2, BOARD = (
    temperature("NE", 1, chip=""),
    temperature("Peak", 2, chip=""),
    temperature("NE", chip="b"),
)
POWER1 = Reading(Sensor("npu0", Quantity.POWER, 1, "NE", "npu0"), 1_000_000)


@pytest.mark.parametrize(
    ("looks", "seen"),
    [
        ([(NE1, NE4), (NE1,)], {NE1, NE4}),
        ([(NE1,), (PEAK1,)], {PEAK1}),
        ([(NE1, POWER1)], {NE1, POWER1}),
        ([(NE1, BOARD), (BOARD,)], {NE1, BOARD}),
        # A chip whose name cannot be read for once, or can be at last, is no second one.
        ([(NE1,), (NAMELESS1,)], {NAMELESS1}),
        ([(NE1,), (NAMELESS1,), (NE1,)], {NE1}),
        ([(NAMELESS1, NAMELESS2), (NE1, PEAK2)], {NE1, PEAK2}),
        # Unless both are there at once.
        ([(NE1, PEAK2), (PEAK2, NAMELESS1)], {NE1, PEAK2, NAMELESS1}),
    ],
)
def test_the_sensors_of_a_card_are_those_it_ever_listed_under_their_latest_names(
    looks: list[tuple[Reading, ...]], seen: set[Reading]
) -> None:
    whole = snapshot(report(*looks[0]))
    for each in looks[1:]:
        whole = whole.with_report(report(*each), WALL)
    assert state(whole).sensors_seen == {each.sensor for each in seen}
    # Also those that were never read.
    silent = snapshot(report(silent=tuple(each.sensor for each in looks[0])))
    assert state(silent).sensors_seen == {each.sensor for each in looks[0]}


def sensors() -> st.SearchStrategy[Sensor]:
    return st.builds(
        Sensor,
        st.just("npu0"),
        st.just(Quantity.TEMPERATURE),
        st.integers(0, 2),
        st.sampled_from(["A", "B"]),
        st.sampled_from(["a", "b"]),
    )


@given(st.lists(st.frozensets(sensors(), max_size=4), max_size=5))
def test_one_channel_of_one_chip_has_one_label_at_a_time(looks: list[frozenset[Sensor]]) -> None:
    whole = snapshot(report())
    for look in looks:
        one_each = {(each.chip, each.channel): each for each in look}
        whole = whole.with_report(report(silent=tuple(one_each.values())), WALL)
        seen = state(whole).sensors_seen
        assert len({(each.chip, each.channel) for each in seen}) == len(seen)
        assert seen >= set(one_each.values())


def test_two_cards_of_one_number_are_two_cards() -> None:
    whole = snapshot(report(), of_card(*RNGD))
    dead = whole.with_failure(RNGD, stuck=False, now=0.0)
    assert (state(dead).status, state(dead, RNGD).status) == (CardStatus.PRESENT, CardStatus.FAILED)
    assert replace(state(dead)) == state(whole)


@pytest.mark.parametrize("identity", ["uuid", "serial"])
def test_another_card_under_the_same_number_inherits_no_sensors(identity: str) -> None:
    first, second = temperature("NE"), temperature("NE", chip="other")
    one, other = (replace(device(), **{identity: text}) for text in ("A", "B"))  # type: ignore[arg-type]
    whole = snapshot(replace(report(first), device=one))
    assert state(whole.with_report(replace(report(second), device=one), WALL)).sensors_seen == {
        first.sensor,
        second.sensor,
    }
    assert state(whole.with_report(replace(report(second), device=other), WALL)).sensors_seen == {second.sensor}


# -- identity: a card under another number, and two entries of one card ------------------------------------------------

PLACE, ELSEWHERE = PciAddress(0, 0x17, 0, 0), PciAddress(0, 0x6D, 0, 0)


def identified(index: int, **identity: object) -> CardReport:
    return replace(report(), device=replace(device(index=index), **identity))  # type: ignore[arg-type]


@pytest.mark.parametrize("identity", [{"uuid": "A"}, {"serial": "A"}, {"pci": PLACE}])
def test_a_card_that_is_back_under_another_number_is_the_card_it_was(identity: dict[str, object]) -> None:
    gone = snapshot(identified(0, **identity)).with_listing([found(index=2)], 1.0)
    back = gone.with_report(identified(2, **identity), WALL)
    assert [(card.key, card.former) for card in back.cards] == [((Arch.WARBOY, 2), frozenset({0}))]
    assert back.most == 1


def test_a_card_remembers_every_number_that_it_had() -> None:
    whole = snapshot(identified(0, uuid="A"))
    for index in (2, 5, 0):
        whole = whole.with_listing([found(index=index)], 1.0).with_report(identified(index, uuid="A"), WALL)
    assert state(whole).former == {2, 5}
    assert state(whole).known.former == {2, 5}


def test_a_card_that_was_there_already_is_no_other_one_that_left() -> None:
    """Some cards have a UUID in common."""
    both = snapshot(identified(0, uuid="A", pci=PLACE), identified(1, uuid="A", pci=ELSEWHERE))
    gone = both.with_listing([found(index=1)], 1.0).with_report(identified(1, uuid="A", pci=ELSEWHERE), WALL)
    assert [card.status for card in gone.cards] == [CardStatus.DEPARTED, CardStatus.PRESENT]


def test_two_numbers_of_one_function_at_once_are_one_card_when_the_old_one_goes() -> None:
    both = snapshot(identified(0, uuid="A", pci=PLACE), identified(2, uuid="A", pci=PLACE))
    gone = both.with_listing([found(index=2)], 1.0).with_report(identified(2, uuid="A", pci=PLACE), WALL)
    assert [(card.key[1], card.status) for card in gone.cards] == [(2, CardStatus.PRESENT)]


def test_of_two_entries_of_one_function_the_first_is_exported() -> None:
    whole = snapshot(identified(0, pci=PLACE), identified(1, pci=PLACE))
    double = state(whole, SECOND)
    assert (double.status, double.rejection) == (CardStatus.REJECTED, "it is the same hardware as npu0")
    assert (double.is_exported, double.is_double, double.alive, double.report) == (False, True, None, None)
    assert (whole.present, whole.most) == (1, 1)
    assert [known.device.index for known in whole.known_cards] == [0]


def test_a_physical_function_is_exported_before_its_virtual_ones_whatever_their_numbers() -> None:
    whole = snapshot(
        identified(0, pci=ELSEWHERE, physical_function=PLACE),
        identified(1, pci=PLACE),
        identified(2, pci=PciAddress(0, 0x6D, 0, 1), physical_function=PLACE),
    )
    assert [card.is_exported for card in whole.cards] == [False, True, False]


def test_an_entry_that_was_left_out_is_exported_when_the_other_one_is_gone() -> None:
    whole = snapshot(identified(0, uuid="A", pci=PLACE), identified(1, uuid="B", pci=PLACE))
    alone = whole.with_listing([found(index=1)], 1.0)
    assert [card.status for card in alone.cards] == [CardStatus.DEPARTED, CardStatus.PRESENT]
    assert state(alone.with_report(identified(1, uuid="B", pci=PLACE), WALL), SECOND).alive is True


def test_what_claims_may_speak_of_is_every_exported_card_as_far_as_it_is_known() -> None:
    listed = Snapshot().with_listing([found(), found(index=1), found(index=2)], 0.0)
    whole = listed.with_report(identified(1, uuid="A"), WALL).with_rejection((Arch.WARBOY, 2), "it is none")
    assert [known.device for known in whole.known_cards] == [device(), identified(1, uuid="A").device]
