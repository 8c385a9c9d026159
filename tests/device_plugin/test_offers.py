"""What is offered of a fleet: units by policy, their health, and nothing of what is disabled."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.allocations import join
from npu_core.arch import Arch
from npu_core.claims import Claim
from npu_core.device import Device, PciAddress
from npu_core.health import HEALTHY, HealthReport, HealthStatus
from npu_core.partition import FUSION, SINGLE, Partitioning, UnitId
from npu_device_plugin.allocation.disabled import DisabledDevice
from npu_device_plugin.allocation.inventory import SETTLE_FILES, Fleet
from npu_device_plugin.allocation.resource_state import Offer, offers
from testkit.strategies import devices
from tests.device_plugin.cards import card, rngd_card, warboy_card
from tests.device_plugin.holders import holding

DEAD = HealthReport(HealthStatus.UNHEALTHY, ("the driver reports the card as dead",))
UNSURE = HealthReport(HealthStatus.UNKNOWN, ("it does not say",))
policies = st.sampled_from([FUSION, SINGLE, Partitioning(2), Partitioning(4)])


def fleet_of(devices: Iterable[Device], *looks: HealthReport) -> Fleet:
    """A fleet all of whose cards had the same looks, a second apart; no driver makes device files any more."""
    found = tuple(devices)
    fleet = Fleet().with_devices(found).with_devices(found, now=SETTLE_FILES)
    for second, look in enumerate(looks):
        for each in fleet.cards:
            fleet = fleet.with_look(each.device.key, look, float(second))
    return fleet


def only_offer(fleet: Fleet, policy: Partitioning, *disabled: str) -> Offer:
    """The one family's offer."""
    (offer,) = offers(fleet, policy, tuple(DisabledDevice(name) for name in disabled))
    return offer


def ids(offer: Offer) -> list[str]:
    return [offered.unit.id for offered in offer.units]


def unhealthy(offer: Offer) -> dict[str, tuple[str, ...]]:
    return {offered.unit.id: offered.objections for offered in offer.units if not offered.healthy}


@pytest.mark.parametrize(
    ("arch", "policy", "expected"),
    [
        (Arch.WARBOY, "Fusion", ["npu0pe0-1"]),
        (Arch.WARBOY, "Single", ["npu0pe0", "npu0pe1"]),
        (Arch.WARBOY, "2", ["npu0pe0-1"]),
        (Arch.WARBOY, "4", ["npu0pe0-1"]),
        (Arch.RENEGADE, "Fusion", ["npu0pe0-7"]),
        (Arch.RENEGADE, "Single", [f"npu0pe{core}" for core in range(8)]),
        (Arch.RENEGADE, "2", ["npu0pe0-1", "npu0pe2-3", "npu0pe4-5", "npu0pe6-7"]),
        (Arch.RENEGADE, "4", ["npu0pe0-3", "npu0pe4-7"]),
    ],
)
def test_a_card_is_cut_by_the_policy_or_offered_whole_where_it_does_not_fit(
    arch: Arch, policy: str, expected: list[str]
) -> None:
    offer = only_offer(fleet_of([card(arch)], HEALTHY), Partitioning.parse(policy))
    assert (offer.arch, ids(offer), unhealthy(offer)) == (arch, expected, {})


def test_each_family_is_an_offer_of_its_own_in_the_order_of_the_table() -> None:
    fleet = fleet_of([rngd_card(0), warboy_card(0)], HEALTHY)
    assert [(offer.arch, ids(offer)) for offer in offers(fleet, Partitioning(4))] == [
        (Arch.WARBOY, ["npu0pe0-1"]),
        (Arch.RENEGADE, ["npu0pe0-3", "npu0pe4-7"]),
    ]


# -- health -----------------------------------------------------------------------------------------------------------


def test_a_card_that_was_not_looked_at_is_not_given_out() -> None:
    assert unhealthy(only_offer(fleet_of([warboy_card()]), FUSION)) == {"npu0pe0-1": ("not looked at yet",)}


def test_a_missing_device_file_makes_only_its_unit_unhealthy() -> None:
    fleet = fleet_of([warboy_card(0, without=("pe1",)), warboy_card(1)], HEALTHY)
    assert unhealthy(only_offer(fleet, SINGLE)) == {"npu0pe1": ("device file npu0pe1 does not exist",)}


def test_a_file_that_no_unit_opens_may_be_missing() -> None:
    fleet = fleet_of([warboy_card(0, without=("pe1", "ch2", ""))], HEALTHY)
    assert unhealthy(only_offer(fleet, FUSION)) == {}


def test_a_card_that_is_none_of_ours_is_not_given_out_and_says_why() -> None:
    fleet = fleet_of([warboy_card(0), warboy_card(1)], HEALTHY).with_rejection((Arch.WARBOY, 1), "it is another's")
    assert unhealthy(only_offer(fleet, FUSION)) == {"npu1pe0-1": ("it is another's",)}


def test_a_card_whose_driver_may_still_be_making_files_is_not_given_out_and_names_them() -> None:
    fleet = Fleet().with_devices([warboy_card(0, without=("ch0", "pe1"))]).with_look((Arch.WARBOY, 0), HEALTHY, 0.0)
    reason = "its driver may still be making device files: npu0ch0, npu0pe1 missing"
    assert unhealthy(only_offer(fleet, SINGLE)) == {"npu0pe0": (reason,), "npu0pe1": (reason,)}


# -- entries of one card ----------------------------------------------------------------------------------------------


def test_two_entries_of_one_card_are_never_both_given_out() -> None:
    twin = replace(warboy_card(1), pci=warboy_card(0).pci)
    offer = only_offer(fleet_of([warboy_card(0), twin], HEALTHY), FUSION)
    assert unhealthy(offer) == {"npu1pe0-1": ("it is the same hardware as npu0",)}


def test_of_two_entries_the_one_that_is_held_stays_and_the_other_is_not_given_out() -> None:
    twin = replace(warboy_card(1), pci=warboy_card(0).pci)
    fleet = fleet_of([warboy_card(0), twin], HEALTHY)
    (offer,) = offers(fleet, FUSION, (), holding("npu1pe0-1"))
    assert unhealthy(offer) == {"npu0pe0-1": ("it is the same hardware as npu1",)}


def test_an_entry_that_is_lost_while_it_is_held_keeps_the_other_entry_of_its_card_from_being_given_out() -> None:
    lost = HealthReport(HealthStatus.UNHEALTHY, ("the card is gone from /sys",))
    twin = replace(warboy_card(1), pci=warboy_card(0).pci)
    fleet = fleet_of([warboy_card(0), twin], HEALTHY).with_look((Arch.WARBOY, 0), lost, 5.0, present=False)
    (offer,) = offers(fleet, FUSION, (), holding("npu0pe0-1"))
    assert set(unhealthy(offer)) == {"npu0pe0-1", "npu1pe0-1"}
    (offer,) = offers(fleet, FUSION, (), holding())
    assert set(unhealthy(offer)) == {"npu0pe0-1"}


def test_a_virtual_function_is_given_out_only_where_its_card_is_disabled() -> None:
    card = warboy_card(0)
    virtual = [replace(warboy_card(index), physical_function=card.pci) for index in (1, 2)]
    fleet = fleet_of([card, *virtual], HEALTHY)
    reason = ("it is the same hardware as npu0",)
    assert unhealthy(only_offer(fleet, FUSION)) == {"npu1pe0-1": reason, "npu2pe0-1": reason}
    assert ids(only_offer(fleet, FUSION, "npu0")) == ["npu1pe0-1", "npu2pe0-1"]
    assert unhealthy(only_offer(fleet, FUSION, "npu0")) == {}
    (offer,) = offers(fleet, FUSION, (), holding("npu1pe0-1"))
    assert unhealthy(offer) == {"npu0pe0-1": ("it is the same hardware as npu1",)}


def test_a_virtual_function_of_a_card_that_may_be_one_without_an_address_is_not_given_out_while_that_is_held() -> None:
    card = warboy_card(0)
    hung = Device(0, Arch.WARBOY, files=card.files)
    virtual = replace(warboy_card(1), physical_function=card.pci)
    fleet = fleet_of([hung, virtual], HEALTHY)
    (offer,) = offers(fleet, FUSION, (), holding("npu0pe0-1"))
    assert unhealthy(offer) == {"npu1pe0-1": ("it is the same hardware as npu0",)}
    assert unhealthy(only_offer(fleet, FUSION)) == {}


def test_what_is_disabled_of_one_entry_of_a_card_is_disabled_of_all() -> None:
    twin = replace(warboy_card(1), pci=warboy_card(0).pci)
    assert ids(only_offer(fleet_of([warboy_card(0), twin], HEALTHY), FUSION, "npu0")) == []
    assert ids(only_offer(fleet_of([warboy_card(0), twin], HEALTHY), SINGLE, "npu1pe0")) == ["npu0pe1", "npu1pe1"]


# -- cards that have another number now -------------------------------------------------------------------------------


def moved_fleet() -> Fleet:
    """Card 0 is listed as card 2 now."""
    moved = replace(warboy_card(0), index=2, files=warboy_card(2).files)
    fleet = Fleet().with_devices([warboy_card(0)]).with_devices([moved], listed=[moved.key])
    return fleet.with_look(moved.key, HEALTHY, 0.0)


@pytest.mark.parametrize("entry", ["npu0", "npu0pe0", "npu2pe1"])
def test_what_was_disabled_stays_disabled_under_another_number(entry: str) -> None:
    assert ids(only_offer(moved_fleet(), FUSION, entry)) == []


def test_what_is_held_under_the_former_number_is_not_given_out_under_the_new_one() -> None:
    claims = [Claim("beta.furiosa.ai/npu", "npu0pe0-1", numa_node=1)]
    resources = {Arch.WARBOY: "beta.furiosa.ai/npu"}
    fleet = moved_fleet()
    allocations = join(claims, (), fleet.known_cards, resources, is_complete=True)
    (offer,) = offers(fleet, FUSION, (), allocations)
    assert [(unit.id, unit.healthy) for unit in offer.listing] == [("npu2pe0-1", False), ("npu0pe0-1", False)]


# -- disabled devices -------------------------------------------------------------------------------------------------


# -- what the kubelet is told -----------------------------------------------------------------------------------------


def test_a_listing_stays_equal_while_only_the_cards_identity_changes() -> None:
    known = only_offer(fleet_of([warboy_card(0)], HEALTHY), SINGLE)
    other = replace(warboy_card(0, uuid="0" * 36, pci="0000:aa:00.0", without=("ch0",)), serial="x", firmware=None)
    changed = only_offer(fleet_of([other], HEALTHY), SINGLE)
    assert changed != known
    assert changed.listing == known.listing


@pytest.mark.parametrize(
    "change",
    [
        fleet_of([warboy_card(0)], DEAD),
        fleet_of([warboy_card(0, numa_node=1)], HEALTHY),
        fleet_of([warboy_card(0), warboy_card(1)], HEALTHY),
        fleet_of([warboy_card(1)], HEALTHY),
    ],
)
def test_a_listing_changes_with_health_place_and_number(change: Fleet) -> None:
    known = only_offer(fleet_of([warboy_card(0)], HEALTHY), FUSION)
    assert only_offer(change, FUSION).listing != known.listing


@given(st.lists(devices(), max_size=6), policies)
def test_every_pe_of_every_card_is_offered_exactly_once(found: list[Device], policy: Partitioning) -> None:
    fleet = fleet_of(found, HEALTHY)
    cores = [
        (offered.unit.device.key, core)
        for offer in offers(fleet, policy)
        for offered in offer.units
        for core in offered.unit.cores
    ]
    assert cores == [(each.device.key, core) for each in fleet.cards for core in each.device.cores]


@given(st.lists(devices(), max_size=6), policies, st.data())
def test_disabling_takes_units_away_and_changes_no_other(
    found: list[Device], policy: Partitioning, data: st.DataObject
) -> None:
    places = {device.key: PciAddress(0, number, 0, 0) for number, device in enumerate(found)}
    fleet = fleet_of([replace(device, pci=places[device.key], physical_function=None) for device in found], HEALTHY)
    whole = {(offer.arch, unit.unit.id): unit for offer in offers(fleet, policy) for unit in offer.units}
    names = data.draw(st.lists(st.sampled_from([unit_id for _, unit_id in whole] or ["npu0pe0"]), max_size=3))
    disabled = tuple(DisabledDevice(name) for name in names)
    left = {(offer.arch, unit.unit.id): unit for offer in offers(fleet, policy, disabled) for unit in offer.units}
    # A name means the cores of that card number in either family: a Warboy's npu0pe0-1 is part of an RNGD's npu0pe0-7.
    meant = [UnitId.parse(name) for name in names]
    assert left == {
        key: unit
        for key, unit in whole.items()
        if not any(each.index == unit.unit.device.index and each.cores.overlaps(unit.unit.cores) for each in meant)
    }
