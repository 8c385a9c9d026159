"""What is offered of cards that containers hold, that are disabled while they are held, or that are lost."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.allocations import NOTHING_HELD, Allocations, NamedDevice
from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.health import HEALTHY, HealthReport, HealthStatus
from npu_core.partition import FUSION, SINGLE, Partitioning, UnitId, units_of
from npu_device_plugin.allocation.disabled import DisabledDevice
from npu_device_plugin.allocation.inventory import FORGET_AFTER, Fleet
from npu_device_plugin.allocation.resource_state import Offer, offers
from testkit.strategies import devices, health_reports, unit_ids
from tests.device_plugin.cards import rngd_card, warboy_card
from tests.device_plugin.holders import UNKNOWN, holding

LOST = HealthReport(HealthStatus.UNHEALTHY, ("the card is gone from /sys",))
STILL_HELD = ("disabled, but still held",)
CANNOT_TELL = ("disabled, and it cannot be told whether it is held",)
policies = st.sampled_from([FUSION, SINGLE, Partitioning(2), Partitioning(4)])


def healthy_fleet(*cards: Device) -> Fleet:
    fleet = Fleet().with_devices(cards)
    for card in cards:
        fleet = fleet.with_look(card.key, HEALTHY, 0.0)
    return fleet


def lost_at(now: float, fleet: Fleet, card: Device) -> Fleet:
    return fleet.with_look(card.key, LOST, now, present=False)


def told(offer: Offer) -> dict[str, tuple[str, ...]]:
    """Each unit, and what speaks against it."""
    return {offered.unit.id: offered.objections for offered in offer.units}


def only_offer(fleet: Fleet, allocations: Allocations, wish: Partitioning, *disabled: str) -> Offer:
    (offer,) = offers(fleet, wish, tuple(map(DisabledDevice, disabled)), allocations)
    return offer


# -- disabled devices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allocations", "disabled", "expected"),
    [
        (holding(), "npu0", {"npu1pe0": (), "npu1pe1": ()}),
        (holding("npu1pe0"), "npu0", {"npu1pe0": (), "npu1pe1": ()}),
        (holding("npu0pe0"), "npu0", {"npu0pe0": STILL_HELD, "npu1pe0": (), "npu1pe1": ()}),
        (holding("npu0pe0"), "npu0pe1", {"npu0pe0": (), "npu1pe0": (), "npu1pe1": ()}),
        (UNKNOWN, "npu0", {"npu0pe0": CANNOT_TELL, "npu0pe1": CANNOT_TELL, "npu1pe0": (), "npu1pe1": ()}),
        (holding(arch=Arch.RENEGADE), "npu0pe0", {"npu0pe1": (), "npu1pe0": (), "npu1pe1": ()}),
    ],
)
def test_a_disabled_unit_is_listed_only_while_it_may_be_held(
    allocations: Allocations, disabled: str, expected: dict[str, tuple[str, ...]]
) -> None:
    offer = only_offer(healthy_fleet(warboy_card(0), warboy_card(1)), allocations, SINGLE, disabled)
    assert told(offer) == expected
    assert offer.waits_for_holders == any(expected.values())


@pytest.mark.parametrize(
    ("allocations", "is_offered"), [(holding(), True), (holding("npu0pe0-1"), False), (UNKNOWN, False)]
)
def test_a_virtual_function_of_a_disabled_card_is_given_out_only_if_nobody_holds_the_card(
    allocations: Allocations, *, is_offered: bool
) -> None:
    card = warboy_card(0)
    fleet = healthy_fleet(card, replace(warboy_card(1), physical_function=card.pci))
    offer = only_offer(fleet, allocations, FUSION, "npu0")
    assert offer.by_id["npu1pe0-1"].healthy is is_offered


def test_a_unit_whose_cores_are_held_as_another_is_listed_but_not_given_out() -> None:
    """Two pods that cannot both be right: each keeps what it has, and nobody gets more."""
    fleet = healthy_fleet(rngd_card(0)).with_cuts(Partitioning(4), NOTHING_HELD)
    impossible = holding("npu0pe0", "npu0pe4-7", arch=Arch.RENEGADE)
    offer = only_offer(fleet.with_cuts(Partitioning(4), impossible), impossible, Partitioning(4))
    assert told(offer) == {"npu0pe0-3": ("its cores may be held as pe0 under another name",), "npu0pe4-7": ()}


# -- cards that are cut -----------------------------------------------------------------------------------------------


def test_a_new_wish_is_for_the_cards_that_nobody_holds() -> None:
    fleet = healthy_fleet(warboy_card(0), warboy_card(1)).with_cuts(FUSION, NOTHING_HELD)
    allocations = holding("npu0pe0-1")
    fleet = fleet.with_cuts(SINGLE, allocations)
    assert [card.device.name for card in fleet.pending] == ["npu0"]
    assert list(told(only_offer(fleet, allocations, SINGLE))) == ["npu0pe0-1", "npu1pe0", "npu1pe1"]
    fleet = fleet.with_cuts(SINGLE, holding())
    assert fleet.pending == ()
    assert list(told(only_offer(fleet, holding(), SINGLE))) == ["npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1"]


# -- what is held under another name ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", [FUSION, SINGLE])
def test_a_unit_is_not_given_out_while_its_very_cores_are_held_under_another_name(wish: Partitioning) -> None:
    allocations = holding(others=("npu0pe0-1",))
    fleet = healthy_fleet(warboy_card(0), warboy_card(1)).with_cuts(FUSION, NOTHING_HELD).with_cuts(wish, allocations)
    offer = only_offer(fleet, allocations, wish)
    assert {offered.unit.device.name for offered in offer.units if offered.healthy} == {"npu1"}
    assert offer.waits_for_holders


# -- what a source names stays listed ---------------------------------------------------------------------------------


def named(*devices: NamedDevice) -> Allocations:
    return Allocations(is_complete=True, named={Arch.WARBOY: devices})


def test_every_id_that_a_source_names_is_listed_unhealthy_with_its_numa_node_if_no_unit_has_it() -> None:
    allocations = named(NamedDevice("npu0pe0", 0), NamedDevice("npu7pe0-1", 1), NamedDevice("some-uuid"))
    listing = only_offer(healthy_fleet(warboy_card(0, numa_node=1)), allocations, FUSION).listing
    assert [(unit.id, unit.healthy, unit.numa_node) for unit in listing] == [
        ("npu0pe0-1", True, 1),
        ("npu0pe0", False, 0),
        ("npu7pe0-1", False, 1),
        ("some-uuid", False, None),
    ]


def test_a_unit_whose_card_does_not_tell_its_numa_node_is_listed_with_the_one_that_its_holder_was_given() -> None:
    cards = [warboy_card(0, numa_node=None), warboy_card(1, numa_node=1), warboy_card(2, numa_node=None)]
    named = {Arch.WARBOY: (NamedDevice("npu0pe0-1", 0), NamedDevice("npu1pe0-1", 0))}
    offer = only_offer(healthy_fleet(*cards), Allocations(is_complete=True, named=named), FUSION)
    assert [unit.numa_node for unit in offer.listing] == [0, 1, None]


def test_a_family_without_any_card_left_still_lists_what_is_held() -> None:
    offer = only_offer(Fleet(), named(NamedDevice("npu0pe0-1", 0)), FUSION)
    assert [(unit.id, unit.healthy) for unit in offer.listing] == [("npu0pe0-1", False)]


# -- cards that are lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allocations", "after", "left"),
    [
        (holding(), FORGET_AFTER - 0.1, ["npu0", "npu1"]),
        (holding(), FORGET_AFTER, ["npu1"]),
        (holding("npu1pe0-1"), FORGET_AFTER, ["npu1"]),
        (holding("npu0pe0-1"), 100 * FORGET_AFTER, ["npu0", "npu1"]),
        (holding("npu0pe0"), 100 * FORGET_AFTER, ["npu0", "npu1"]),
        (UNKNOWN, 100 * FORGET_AFTER, ["npu0", "npu1"]),
    ],
)
@pytest.mark.parametrize("since", [0.0, 1.0, 12345.0])
def test_a_lost_card_is_forgotten_when_it_is_known_to_be_free_and_was_gone_for_long(
    since: float, allocations: Allocations, after: float, left: list[str]
) -> None:
    fleet = lost_at(since, healthy_fleet(warboy_card(0), warboy_card(1)), warboy_card(0))
    fleet = lost_at(since + 1, fleet, warboy_card(0))
    assert [card.device.name for card in fleet.without_lost(allocations, since + after).cards] == left


def test_a_card_that_was_back_in_between_counts_as_gone_from_its_last_loss() -> None:
    card = warboy_card(0)
    fleet = lost_at(0.0, healthy_fleet(card), card).with_look(card.key, HEALTHY, 50.0)
    fleet = lost_at(55.0, fleet, card)
    assert fleet.without_lost(holding(), FORGET_AFTER + 50) == fleet
    assert fleet.without_lost(holding(), FORGET_AFTER + 55).cards == ()


def test_a_dead_card_that_is_there_is_never_forgotten() -> None:
    fleet = healthy_fleet(warboy_card(0)).with_look((Arch.WARBOY, 0), LOST, 1.0)
    assert fleet.without_lost(holding(), 100 * FORGET_AFTER) == fleet


def test_a_forgotten_card_that_comes_back_is_a_new_one() -> None:
    card = warboy_card(0)
    fleet = lost_at(0.0, healthy_fleet(card).with_cuts(FUSION, NOTHING_HELD), card)
    forgotten = fleet.without_lost(holding(), FORGET_AFTER)
    assert forgotten.with_look(card.key, HEALTHY, FORGET_AFTER + 1).cards == ()
    back = forgotten.with_devices([card]).with_look(card.key, HEALTHY, FORGET_AFTER + 2)
    back = back.with_cuts(SINGLE, holding())
    assert told(only_offer(back, holding(), SINGLE)) == {"npu0pe0": (), "npu0pe1": ()}


# -- always -----------------------------------------------------------------------------------------------------------


@st.composite
def allocations_of(draw: st.DrawFn, found: list[Device]) -> Allocations:
    """Anything that could be held, of cards that are there more often than of others."""
    units = [UnitId(card.index, unit.cores) for card in found for unit in units_of(card, SINGLE)]
    held = st.lists(st.one_of(unit_ids(), st.sampled_from(units)) if units else unit_ids(), max_size=4)
    ids, others = (tuple(map(str, draw(held))) for _ in range(2))
    arch = draw(st.sampled_from(list(Arch)))
    return holding(*ids, arch=arch, others=others, is_complete=draw(st.booleans()))


@given(
    st.lists(devices(), max_size=4), st.data(), st.lists(st.tuples(policies, st.sampled_from(["", "npu0", "npu1pe0"])))
)
def test_no_units_of_an_offer_overlap_and_no_held_core_is_given_out_as_another_unit(
    found: list[Device], data: st.DataObject, wishes: list[tuple[Partitioning, str]]
) -> None:
    """Over any history of wishes, holders, looks and times."""
    fleet = Fleet().with_devices(found)
    for step, (wish, name) in enumerate(wishes):
        now, allocations = step * FORGET_AFTER / 2, data.draw(allocations_of(found))
        for card in fleet.cards:
            look = data.draw(health_reports())
            fleet = fleet.with_look(card.device.key, look, now, present=data.draw(st.booleans()))
        fleet = fleet.without_lost(allocations, now).with_cuts(wish, allocations)
        for offer in offers(fleet, wish, (DisabledDevice(name),) if name else (), allocations):
            _check(offer, allocations)


def _check(offer: Offer, allocations: Allocations) -> None:
    taken: set[tuple[int, int]] = set()
    for offered in offer.units:
        unit = offered.unit
        cores = {(unit.device.index, core) for core in unit.cores}
        assert not cores & taken
        taken |= cores
        held = allocations.units.get(unit.device.key, frozenset())
        others = allocations.others.get(unit.device.key, frozenset())
        assert not offered.healthy or not [
            *(other for other in held if other != unit.cores and other.overlaps(unit.cores)),
            *(other for other in others if other.overlaps(unit.cores)),
        ]
