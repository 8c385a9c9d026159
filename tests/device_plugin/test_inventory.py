"""The cards of a node over time: found, known, lost, come back, swapped; never forgotten."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.allocations import NOTHING_HELD, Allocations
from npu_core.arch import Arch
from npu_core.device import ComponentVersion, Device
from npu_core.errors import Reason, Unreadable
from npu_core.health import HEALTHY, HealthReport, HealthState, HealthStatus
from npu_core.partition import FUSION, SINGLE
from npu_device_plugin.allocation.inventory import FORGET_AFTER, SETTLE_FILES, Fleet, HealthChange, health_changes
from npu_device_plugin.allocation.repartition import Cut
from testkit.strategies import devices, health_reports
from tests.device_plugin.cards import rngd_card, warboy_card
from tests.device_plugin.holders import UNKNOWN

LOST = HealthReport(HealthStatus.UNHEALTHY, ("the card is gone from /sys",))
UNSURE = HealthReport(HealthStatus.UNKNOWN, ("it does not say",))
UNREADABLE_SERIAL = Unreadable("npu0", "device_sn", Reason.IO, "EIO (Input/output error)")


def after(fleet: Fleet, device: Device, *looks: HealthReport) -> Fleet:
    """The fleet after looks at one card, a second apart."""
    for second, look in enumerate(looks):
        fleet = fleet.with_look(device.key, look, float(second))
    return fleet


def statuses(fleet: Fleet) -> list[tuple[str, HealthStatus]]:
    return [(card.device.name, card.health.status) for card in fleet.cards]


def test_a_known_card_that_is_seen_again_keeps_its_health() -> None:
    fleet = after(Fleet().with_devices([warboy_card(0)]), warboy_card(0), LOST)
    assert fleet.with_devices([warboy_card(0)]) == fleet


def test_a_lost_card_is_unhealthy_at_once_and_comes_back_after_two_good_looks() -> None:
    fleet = after(Fleet().with_devices([warboy_card(0)]), warboy_card(0), HEALTHY, LOST)
    assert statuses(fleet) == [("npu0", HealthStatus.UNHEALTHY)]
    assert statuses(after(fleet, warboy_card(0), HEALTHY)) == [("npu0", HealthStatus.UNHEALTHY)]
    assert statuses(after(fleet, warboy_card(0), HEALTHY, HEALTHY)) == [("npu0", HealthStatus.HEALTHY)]


def test_a_look_concerns_its_card_only() -> None:
    two = [warboy_card(0), rngd_card(0)]
    fleet = after(after(Fleet().with_devices(two), two[0], HEALTHY), two[1], HEALTHY)
    assert [card.health.status for card in after(fleet, two[1], LOST).cards] == [
        HealthStatus.HEALTHY,
        HealthStatus.UNHEALTHY,
    ]


def test_a_look_at_a_card_that_is_not_known_is_left_out() -> None:
    fleet = Fleet().with_devices([warboy_card(0)])
    assert after(fleet, warboy_card(1), HEALTHY) == fleet


def test_cards_are_in_the_order_of_family_and_number_however_they_were_found() -> None:
    found = [rngd_card(2), warboy_card(10), rngd_card(0), warboy_card(9)]
    fleet = Fleet().with_devices(found[:2]).with_devices(found[2:])
    assert [card.device.key for card in fleet.cards] == [
        (Arch.WARBOY, 9),
        (Arch.WARBOY, 10),
        (Arch.RENEGADE, 0),
        (Arch.RENEGADE, 2),
    ]
    assert fleet.families == (Arch.WARBOY, Arch.RENEGADE)


# -- cards that turn out to be none of ours, and how cards are cut ----------------------------------------------------


def test_a_card_that_turns_out_to_be_none_of_ours_says_why_until_it_is_one_again() -> None:
    fleet = Fleet().with_devices([warboy_card(0), warboy_card(1)])
    rejected = fleet.with_rejection((Arch.WARBOY, 1), "platform_type is 'VITIS'")
    assert [card.rejection for card in rejected.cards] == [None, "platform_type is 'VITIS'"]
    assert rejected.with_devices([warboy_card(1)]) == fleet


def test_a_card_that_is_not_known_is_not_made_known_by_being_none_of_ours() -> None:
    fleet = Fleet().with_devices([warboy_card(0)])
    assert fleet.with_rejection((Arch.RENEGADE, 0), "it is none") == fleet


def test_a_card_stays_cut_as_it_is_where_nobody_can_tell_who_holds_it() -> None:
    fleet = Fleet().with_devices([warboy_card(0)]).with_cuts(SINGLE, NOTHING_HELD).with_cuts(FUSION, UNKNOWN)
    assert [card.cut for card in fleet.cards] == [Cut(SINGLE, "it cannot be told whether its units are held")]
    assert fleet.pending == fleet.cards


def test_another_card_under_the_same_number_is_cut_as_the_holders_of_the_first_know_it() -> None:
    fleet = Fleet().with_devices([warboy_card(0)]).with_cuts(SINGLE, NOTHING_HELD)
    other = warboy_card(0, uuid="00000000-0000-0000-0000-00000000000A")
    (card,) = after(fleet, warboy_card(0), HEALTHY).with_devices([other]).cards
    assert (card.device, card.cut, card.health) == (other, Cut(SINGLE), HealthState())


# -- what a card is, when not all of it can be read -------------------------------------------------------------------


def test_what_cannot_be_read_any_more_stays_as_it_was_known() -> None:
    partly = replace(warboy_card(0), serial=None, unreadable=(UNREADABLE_SERIAL,))
    (card,) = Fleet().with_devices([warboy_card(0)]).with_devices([partly]).cards
    assert card.device == replace(warboy_card(0), unreadable=(UNREADABLE_SERIAL,))


def test_what_the_driver_does_not_offer_any_more_is_forgotten() -> None:
    plain = replace(warboy_card(0), serial=None)
    fleet = Fleet().with_devices([warboy_card(0)]).with_devices([plain])
    assert [card.device for card in fleet.cards] == [plain]


@pytest.mark.parametrize("changes", [{}, {"serial": None, "unreadable": (UNREADABLE_SERIAL,)}])
def test_a_device_file_that_a_card_once_had_is_missed_until_it_is_back(changes: dict[str, object]) -> None:
    partly = replace(warboy_card(0, without=("pe0", "ch3")), **changes)  # type: ignore[arg-type]  # fields of it
    (card,) = Fleet().with_devices([warboy_card(0)]).with_devices([partly]).cards
    assert card.device.files == warboy_card(0).files


def test_a_device_file_that_a_card_did_not_have_before_is_added() -> None:
    fleet = Fleet().with_devices([warboy_card(0, without=("ch3",))]).with_devices([warboy_card(0)])
    assert fleet.cards[0].device.files == warboy_card(0).files


def test_device_files_are_missed_also_where_the_driver_does_not_say_which_it_is() -> None:
    partly = replace(warboy_card(0, without=("ch3",)), driver=None)
    (card,) = Fleet().with_devices([warboy_card(0)]).with_devices([partly]).cards
    assert card.device.files == warboy_card(0).files


def test_another_driver_may_have_other_device_files() -> None:
    newer = replace(warboy_card(0, without=("ch3",)), driver=ComponentVersion.parse("2.0.0, abc"))
    (card,) = Fleet().with_devices([warboy_card(0)]).with_devices([newer]).cards
    assert card.device.files == newer.files


def test_another_card_that_cannot_be_read_well_inherits_nothing() -> None:
    other = warboy_card(0, uuid="00000000-0000-0000-0000-00000000000A")
    other = replace(other, serial=None, numa_node=None, unreadable=(UNREADABLE_SERIAL,))
    fleet = Fleet().with_devices([warboy_card(0)]).with_devices([other])
    assert [card.device for card in fleet.cards] == [other]


def test_a_card_with_another_serial_number_is_another_card() -> None:
    other = replace(warboy_card(0), serial="ANOTHER")
    fleet = after(Fleet().with_devices([warboy_card(0)]), warboy_card(0), HEALTHY)
    (card,) = fleet.with_devices([other]).cards
    assert (card.device, card.health) == (other, HealthState())


@pytest.mark.parametrize("unknown", ["uuid", "serial", "pci"])
def test_a_card_that_says_more_of_itself_than_before_or_less_is_the_same_card(unknown: str) -> None:
    silent = replace(warboy_card(0), **{unknown: None})  # type: ignore[arg-type]  # fields of it
    for first, second in ((silent, warboy_card(0)), (warboy_card(0), silent)):
        fleet = after(Fleet().with_devices([first]), first, HEALTHY)
        assert statuses(fleet.with_devices([second])) == [("npu0", HealthStatus.HEALTHY)]


# -- cards that come back under another number ------------------------------------------------------------------------


def renumbered(card: Device, index: int) -> Device:
    """The card as it is listed under another number."""
    template = warboy_card(index)
    return replace(card, index=index, files=template.files)


def former(fleet: Fleet) -> dict[str, set[int]]:
    return {card.device.name: set(card.former) for card in fleet.cards}


def test_a_card_that_is_listed_under_another_number_is_the_card_that_it_was() -> None:
    moved = renumbered(warboy_card(0), 2)
    fleet = Fleet().with_devices([warboy_card(0), warboy_card(1)])
    fleet = fleet.with_devices([warboy_card(1), moved], now=1.0, listed=[moved.key, warboy_card(1).key])
    assert former(fleet) == {"npu1": set(), "npu2": {0}}


def test_a_card_remembers_every_number_that_it_had() -> None:
    fleet = Fleet().with_devices([warboy_card(0)])
    for index in (2, 5, 0):
        card = renumbered(warboy_card(0), index)
        fleet = fleet.with_devices([card], listed=[card.key])
    assert former(fleet) == {"npu0": {2, 5}}


def test_two_cards_that_change_their_numbers_with_each_other_are_known_as_before() -> None:
    one, other = warboy_card(0), warboy_card(1)
    fleet = Fleet().with_devices([one, other])
    for card in (renumbered(other, 0), renumbered(one, 1)):
        fleet = fleet.with_devices([card], listed=[one.key, other.key])
    assert former(fleet) == {"npu0": {1}, "npu1": {0}}


def test_a_former_number_blocks_a_card_only_until_nothing_is_held_under_that_number() -> None:
    one, other = warboy_card(0), warboy_card(1)
    fleet = Fleet().with_devices([one, other])
    for card in (renumbered(other, 0), renumbered(one, 1)):
        fleet = fleet.with_devices([card], listed=[one.key, other.key])
    held = Allocations(is_complete=True, numbers=frozenset({one.key}))
    assert [card.held_as for card in fleet.without_old_holders(held).cards] == [frozenset(), frozenset({0})]
    free = fleet.without_old_holders(NOTHING_HELD)
    assert [card.held_as for card in free.cards] == [frozenset(), frozenset()]
    assert former(free) == {"npu0": {1}, "npu1": {0}}
    assert fleet.without_old_holders(UNKNOWN) == fleet


def test_a_card_whose_number_another_card_took_is_known_where_it_turns_up() -> None:
    stranger = warboy_card(0, uuid="00000000-0000-0000-0000-00000000000A")
    stranger = replace(stranger, serial="STRANGER")
    fleet = Fleet().with_devices([warboy_card(0)]).with_devices([stranger])
    assert former(fleet) == {"npu0": set()}
    fleet = fleet.with_devices([renumbered(warboy_card(0), 4)])
    assert former(fleet) == {"npu0": set(), "npu4": {0}}


def test_two_cards_that_are_there_at_once_are_two_although_they_claim_one_uuid() -> None:
    twin = replace(warboy_card(1, uuid=warboy_card(0).uuid), serial=None)
    first = replace(warboy_card(0), serial=None)
    fleet = Fleet().with_devices([first]).with_devices([first, twin], listed=[first.key, twin.key])
    assert former(fleet) == {"npu0": set(), "npu1": set()}


def test_of_two_cards_that_claim_one_uuid_the_one_that_stays_is_not_the_one_that_is_lost() -> None:
    first = replace(warboy_card(0), serial=None)
    twin = replace(warboy_card(1, uuid=first.uuid), serial=None)
    fleet = Fleet()
    for now in (0.0, 10.0):
        fleet = fleet.with_devices([first, twin], now, listed=[first.key, twin.key])
    fleet = fleet.with_devices([twin], 20.0, listed=[twin.key])
    assert former(fleet) == {"npu0": set(), "npu1": set()}


def test_a_card_of_which_nothing_tells_that_it_is_another_is_no_other() -> None:
    silent = replace(warboy_card(2), uuid=None, serial=None, pci=None)
    fleet = Fleet().with_devices([warboy_card(0)]).with_devices([silent], listed=[silent.key])
    assert former(fleet) == {"npu0": set(), "npu2": set()}


# -- device files that are still being made ---------------------------------------------------------------------------


def test_a_card_that_lacks_files_is_whole_when_they_are_there() -> None:
    fleet = Fleet().with_devices([warboy_card(0, without=("ch0", "ch1", "ch2", "ch3"))], now=0.0)
    assert [card.awaited for card in fleet.unsettled] == [("npu0ch0", "npu0ch1", "npu0ch2", "npu0ch3")]
    fleet = fleet.with_devices([warboy_card(0, without=("ch2", "ch3"))], now=3.0)
    assert [card.awaited for card in fleet.unsettled] == [("npu0ch2", "npu0ch3")]
    assert fleet.with_devices([warboy_card(0)], now=6.0).unsettled == ()


def test_a_card_that_goes_on_lacking_files_is_whole_when_nothing_has_changed_for_long() -> None:
    partly = warboy_card(0, without=("ch3",))
    fleet = Fleet().with_devices([warboy_card(0, without=("ch2", "ch3"))], now=0.0)
    fleet = fleet.with_devices([partly], now=10.0)
    assert fleet.with_devices([partly], now=10.0 + SETTLE_FILES - 0.1).unsettled != ()
    assert fleet.with_devices([partly], now=10.0 + SETTLE_FILES).unsettled == ()


def test_another_driver_makes_its_files_anew() -> None:
    newer = replace(warboy_card(0, without=("ch2", "ch3")), driver=ComponentVersion.parse("1.10.0, abc"))
    fleet = Fleet().with_devices([warboy_card(0)], now=0.0).with_devices([newer], now=100.0)
    assert [card.awaited for card in fleet.unsettled] == [("npu0ch2", "npu0ch3")]


def test_a_lost_card_is_not_waited_for() -> None:
    partly = warboy_card(0, without=("ch3",))
    fleet = Fleet().with_devices([partly]).with_look(partly.key, LOST, 1.0, present=False)
    assert fleet.unsettled == ()


# -- what changed -----------------------------------------------------------------------------------------------------


def test_a_card_whose_status_changed_is_a_change() -> None:
    before = after(Fleet().with_devices([warboy_card(0), warboy_card(1)]), warboy_card(1), HEALTHY)
    now = after(before, warboy_card(1), LOST)
    assert list(health_changes(before, now)) == [HealthChange(before.cards[1], now.cards[1])]


@pytest.mark.parametrize("look", [HEALTHY, UNSURE])
def test_a_card_whose_status_is_the_same_is_no_change(look: HealthReport) -> None:
    before = after(Fleet().with_devices([warboy_card(0)]), warboy_card(0), HEALTHY)
    now = after(before, warboy_card(0), look).with_devices([warboy_card(0, numa_node=1)])
    assert list(health_changes(before, now)) == []


@given(st.lists(st.tuples(st.lists(devices(), max_size=4), health_reports()), max_size=6))
def test_no_card_is_ever_forgotten_and_none_comes_twice(steps: list[tuple[list[Device], HealthReport]]) -> None:
    fleet, seen = Fleet(), set[tuple[Arch, int]]()
    for second, (found, look) in enumerate(steps):
        fleet = fleet.with_devices(found)
        seen |= {device.key for device in found}
        for device in found[:1]:
            fleet = fleet.with_look(device.key, look, float(second))
        assert [card.device.key for card in fleet.cards] == sorted(
            seen, key=lambda key: (list(Arch).index(key[0]), key[1])
        )


def test_a_lost_card_is_kept_for_a_minute_and_device_files_are_awaited_for_a_quarter_of_one() -> None:
    assert (FORGET_AFTER, SETTLE_FILES) == (60.0, 15.0)
