"""Who may hold what, from three sources of which none is complete."""

from collections.abc import Iterable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.allocations import NOTHING_HELD, Allocations, NamedDevice, Sources, join
from npu_core.arch import Arch
from npu_core.claims import Claim, KnownCard
from npu_core.cores import CoreRange
from npu_core.device import Device, PciAddress
from npu_core.partition import UnitId

WARBOY, RENEGADE = "beta.furiosa.ai/npu", "beta.furiosa.ai/npu-renegade"
RESOURCES = {Arch.WARBOY: WARBOY, Arch.RENEGADE: RENEGADE}
UUID = "000001FD-0000-40B1-9E86-000000000000"
W0 = KnownCard(Device(0, Arch.WARBOY, uuid=UUID, pci=PciAddress.parse("0000:17:00.0")))
W1 = KnownCard(Device(1, Arch.WARBOY, uuid="another", pci=PciAddress.parse("0000:28:00.0")))
R0 = KnownCard(Device(0, Arch.RENEGADE, uuid="a third", pci=PciAddress.parse("0001:65:00.0")))
CARDS = (W0, W1, R0)
NPU0, NPU1, RNGD0 = (card.device.key for card in CARDS)


def cores(*texts: str) -> frozenset[CoreRange]:
    return frozenset(map(CoreRange.parse, texts))


def joined(*ids: str, resource: str = WARBOY, cards: tuple[KnownCard, ...] = CARDS) -> Allocations:
    return join([Claim(resource, each) for each in ids], [], cards, RESOURCES, is_complete=True)


def claims(*ids: str, is_dynamic: bool = False) -> tuple[Claim, ...]:
    return tuple(Claim("npu.furiosa.ai" if is_dynamic else WARBOY, each, is_dynamic=is_dynamic) for each in ids)


def units(*ids: str) -> list[UnitId]:
    return list(map(UnitId.parse, ids))


def held(sources: Sources, cards: tuple[KnownCard, ...] = CARDS) -> frozenset[CoreRange] | None:
    return sources.joined(cards, RESOURCES).held(NPU0)


def test_a_device_whose_family_the_checkpoint_tells_is_of_no_other_family_by_the_listing() -> None:
    recorded = (Claim(WARBOY, "npu0pe0", arch=Arch.RENEGADE),)
    sources = Sources().with_checkpoint(recorded, 1, RESOURCES).with_listing(claims("npu0pe0"), knows_pods=True)
    found = sources.joined(CARDS, RESOURCES)
    assert found.held(NPU0) == frozenset()
    assert found.held(RNGD0) == cores("0")
    assert found.named == {Arch.WARBOY: (NamedDevice("npu0pe0"),)}


def test_a_device_whose_family_the_checkpoint_does_not_tell_has_what_the_listing_says_of_it() -> None:
    listed = (Claim(WARBOY, "npu0pe0", 1),)
    sources = Sources().with_checkpoint(claims("npu0pe0"), 1, RESOURCES).with_listing(listed, knows_pods=True)
    assert sources.joined(CARDS, RESOURCES).named == {Arch.WARBOY: (NamedDevice("npu0pe0", 1),)}


# -- join -------------------------------------------------------------------------------------------------------------


def test_where_nothing_is_named_everything_is_free() -> None:
    assert joined() == NOTHING_HELD
    assert NOTHING_HELD.held(NPU0) == frozenset()
    assert NOTHING_HELD.possible_uses(NPU0) == frozenset()


def test_a_unit_id_under_another_resource_is_another_name() -> None:
    found = joined("npu0pe0", resource="old.furiosa.ai/npu-warboy")
    assert (found.units, found.others, found.named) == ({}, {NPU0: cores("0")}, {})
    assert found.conflicts(NPU0, CoreRange(0, 0)) == cores("0")


def test_nobody_can_tell_that_a_card_is_free_while_a_source_is_missing() -> None:
    found = join(claims("npu0pe0"), [], CARDS, RESOURCES, is_complete=False)
    assert (found.held(NPU0), found.held(NPU1)) == (None, None)
    assert found.possible_uses(NPU0) == cores("0")
    assert Allocations().held(NPU0) is None


def test_a_unit_is_held_under_its_own_id_and_conflicts_with_every_other_unit_of_its_cores() -> None:
    found = joined("npu0pe0-1")
    assert found.units == {NPU0: cores("0-1")}
    assert found.others == {}
    assert found.conflicts(NPU0, CoreRange(0, 1)) == frozenset()
    assert found.conflicts(NPU0, CoreRange(0, 0)) == cores("0-1")
    assert found.conflicts(NPU1, CoreRange(0, 0)) == frozenset()


@pytest.mark.parametrize("device_id", [UUID, "0000:17:00.0", "npu0"])
def test_a_card_held_under_another_scheme_conflicts_with_every_unit_of_the_card_and_no_other(device_id: str) -> None:
    found = joined(device_id)
    assert found.others == {NPU0: cores("0-1")}
    assert found.conflicts(NPU0, CoreRange(0, 1)) == found.held(NPU0) == cores("0-1")
    assert found.held(NPU1) == frozenset()
    assert found.unmapped == ()


def test_what_cannot_be_mapped_may_be_every_card_of_the_family_and_is_told() -> None:
    found = joined("card-one")
    assert found.held(NPU0) == found.held(NPU1) == cores("0-1")
    assert found.held(RNGD0) == frozenset()
    assert found.unmapped == ((WARBOY, "card-one"),)


def test_every_id_under_the_own_resource_is_named_with_the_node_that_any_source_gives() -> None:
    told = [Claim(WARBOY, "npu1pe0"), Claim(WARBOY, "card-one", 1), Claim(WARBOY, "card-one"), Claim(RENEGADE, "x", 0)]
    named = join(told, [(Arch.WARBOY, UnitId.parse("npu0pe0"))], CARDS, RESOURCES, is_complete=True).named
    assert named == {
        Arch.WARBOY: (NamedDevice("card-one", 1), NamedDevice("npu0pe0"), NamedDevice("npu1pe0")),
        Arch.RENEGADE: (NamedDevice("x", 0),),
    }


def test_of_two_nodes_that_sources_give_for_one_id_the_lower_one_is_named() -> None:
    told = [Claim(WARBOY, "npu0pe0", node) for node in (None, 1, 0, None)]
    for order in permutations(told):
        assert join(order, [], CARDS, RESOURCES, is_complete=True).named == {Arch.WARBOY: (NamedDevice("npu0pe0", 0),)}


def test_a_grant_is_held_before_any_source_names_it() -> None:
    found = join([], [(Arch.WARBOY, UnitId.parse("npu0pe0"))], CARDS, RESOURCES, is_complete=True)
    assert found.units == {NPU0: cores("0")}


def test_a_card_that_was_renumbered_is_held_under_both_numbers() -> None:
    moved = KnownCard(Device(2, Arch.WARBOY, uuid=UUID), frozenset({0}))
    found = joined("npu0pe0", cards=(moved, W1))
    assert found.units == {NPU0: cores("0")}
    assert found.conflicts((Arch.WARBOY, 2), CoreRange(1, 1)) == frozenset()
    assert found.held((Arch.WARBOY, 2)) == cores("0")
    assert found.conflicts((Arch.WARBOY, 2), CoreRange(0, 1)) == cores("0")


def test_every_card_that_ever_had_a_number_may_be_the_one_that_is_held_under_the_number() -> None:
    first = KnownCard(Device(2, Arch.WARBOY), frozenset({0}))
    second = KnownCard(Device(3, Arch.WARBOY), frozenset({0}))
    for cards in permutations([first, second]):
        found = joined("npu0pe0", cards=cards)
        assert found.held((Arch.WARBOY, 2)) == found.held((Arch.WARBOY, 3)) == cores("0")


def test_two_cards_that_changed_numbers_are_each_held_for_the_other() -> None:
    swapped = (
        KnownCard(Device(1, Arch.WARBOY, uuid="one"), frozenset({0})),
        KnownCard(Device(0, Arch.WARBOY, uuid="other"), frozenset({1})),
    )
    found = joined("npu0pe0", cards=swapped)
    assert (found.units, found.others) == ({NPU0: cores("0")}, {NPU1: cores("0")})


# -- what the sources said last ---------------------------------------------------------------------------------------


def test_before_any_source_was_asked_nothing_is_known_to_be_free() -> None:
    assert held(Sources()) is None


def test_what_the_checkpoint_named_last_counts_while_the_file_cannot_be_read() -> None:
    sources = Sources().with_checkpoint(claims("npu0pe0"), 1, RESOURCES).without_checkpoint()
    assert held(sources) is None
    assert sources.joined(CARDS, RESOURCES).possible_uses(NPU0) == cores("0")


def test_what_an_init_container_holds_is_held_although_no_listing_names_it() -> None:
    sources = Sources().with_checkpoint(claims("npu0pe0-1"), 1, RESOURCES).with_listing((), knows_pods=True)
    assert held(sources) == cores("0-1")
    assert sources.unconfirmed(RESOURCES) == {(WARBOY, "npu0pe0-1")}


@pytest.mark.parametrize("knows_pods", [True, False])
def test_an_empty_listing_frees_nothing_that_the_checkpoint_names(*, knows_pods: bool) -> None:
    told = claims("npu0pe0-1")
    sources = Sources().with_checkpoint(told, 1, RESOURCES).with_listing(told, knows_pods=True)
    for _ in range(100):
        sources = sources.with_listing((), knows_pods=knows_pods)
        assert held(sources) == cores("0-1")
    assert held(sources.with_checkpoint((), 2, RESOURCES)) == frozenset()


def test_an_empty_listing_of_a_kubelet_without_pods_frees_nothing_while_no_checkpoint_can_be_read() -> None:
    sources = Sources().with_listing(claims(UUID), knows_pods=True).with_listing((), knows_pods=False)
    assert sources.joined(CARDS, RESOURCES).conflicts(NPU0, CoreRange(0, 1)) == cores("0-1")
    sources = sources.with_checkpoint((), 1, RESOURCES).with_listing((), knows_pods=False)
    assert held(sources) == frozenset()


def test_claims_of_drivers_stay_while_the_kubelet_knows_no_pods() -> None:
    sources = Sources().with_checkpoint((), 1, RESOURCES).with_listing(claims(UUID, is_dynamic=True), knows_pods=True)
    assert held(sources.with_listing((), knows_pods=False)) == cores("0-1")
    assert held(sources.without_listing()) == cores("0-1")
    assert held(sources.with_listing((), knows_pods=True)) == frozenset()


def test_a_listing_of_an_earlier_time_counts_only_where_no_checkpoint_can_be_read() -> None:
    sources = Sources().with_checkpoint((), 1, RESOURCES).with_listing(claims("npu0pe0"), knows_pods=True)
    assert held(sources) == cores("0")
    assert held(sources.without_listing()) == frozenset()
    blind = sources.without_listing().without_checkpoint()
    assert held(blind) is None
    assert blind.joined(CARDS, RESOURCES).possible_uses(NPU0) == cores("0")


def test_sources_that_fail_again_are_the_same_value() -> None:
    sources = Sources().with_checkpoint((), 1, RESOURCES).without_checkpoint().without_listing()
    assert sources.without_checkpoint() is sources
    assert sources.without_listing() is sources


def test_only_npus_are_waited_for_to_be_confirmed() -> None:
    told = (*claims("npu0pe0"), Claim("example.com/fpga", "f0"), Claim("old.furiosa.ai/npu", "x"))
    sources = Sources().with_checkpoint(told, 1, RESOURCES)
    assert sources.unconfirmed(RESOURCES) == {(WARBOY, "npu0pe0"), ("old.furiosa.ai/npu", "x")}
    assert sources.with_listing(told, knows_pods=True).unconfirmed(RESOURCES) == frozenset()
    assert sources.unconfirmed({Arch.WARBOY: "example.com/fpga"}) >= {("example.com/fpga", "f0")}


# -- grants -----------------------------------------------------------------------------------------------------------


def after(steps: str) -> Sources:
    """What is known after these steps.

    ``1`` is a writing of the checkpoint without devices, ``1!`` one that names npu0pe0, ``g1`` a grant of npu0pe0 while
    that writing is there. Writing 0 means that there is no checkpoint.
    """
    sources = Sources()
    for step in steps.split():
        stamp = int(step.strip("g!")) or None
        if step.startswith("g"):
            sources = sources.with_grant(Arch.WARBOY, units("npu0pe0"), stamp)
        else:
            sources = sources.with_checkpoint(claims("npu0pe0") if step.endswith("!") else (), stamp, RESOURCES)
    return sources


@pytest.mark.parametrize(
    ("steps", "is_held", "waits"),
    [
        ("1 g1", True, True),
        ("1 g1 1 1 1", True, True),  # the writing of before says nothing of the grant
        ("1 g1 2!", True, False),  # a later one that names it takes its place
        ("1 g1 2! 3", False, False),
        ("1! g1 1! 2", True, True),  # the writing of before named the unit for an earlier pod
        ("1 g1 2", True, True),
        ("1 g1 2 2", True, True),
        ("1 g1 2 3", False, False),  # two later writings without it: it was not taken
        ("1 g2 2 3", True, True),  # a writing that was there at the grant and is read later is no later writing
        ("1 g2 2 3 4", False, False),
        ("1 g1 2 g2 3", True, True),  # granted again
        ("1 g1 2 g2 3 4", False, False),
        ("0 g0 0", True, True),
        ("0 g0 1!", True, False),
    ],
)
def test_a_grant_counts_until_later_writings_of_the_checkpoint_tell(steps: str, *, is_held: bool, waits: bool) -> None:
    assert held(after(steps)) == (cores("0") if is_held else frozenset())
    assert bool(after(steps).grants) is waits


def test_one_grant_does_not_take_another_ones_place() -> None:
    sources = after("1 g1").with_grant(Arch.WARBOY, units("npu0pe1"), 1).with_grant(Arch.RENEGADE, units("npu0pe0"), 1)
    assert held(sources) == cores("0", "1")
    assert sources.joined(CARDS, RESOURCES).held(RNGD0) == cores("0")


def test_a_unit_of_that_name_under_another_resource_confirms_no_grant() -> None:
    sources = after("1 g1").with_checkpoint((Claim(RENEGADE, "npu0pe0"),), 2, RESOURCES)
    assert set(sources.grants) == {(Arch.WARBOY, UnitId.parse("npu0pe0"))}


# -- properties -------------------------------------------------------------------------------------------------------

IDS = st.sampled_from(
    ["npu0pe0", "npu0pe1", "npu0pe0-1", "npu1pe0-1", "npu2pe0", "npu0", UUID, "0000:28:00.0", "another", "card-one", ""]
)
CLAIMS = st.lists(
    st.builds(
        Claim,
        st.sampled_from([WARBOY, RENEGADE, "old.furiosa.ai/npu", "npu.furiosa.ai", "example.com/fpga"]),
        IDS,
        st.none() | st.integers(0, 1),
        is_dynamic=st.booleans(),
    ),
    max_size=5,
).map(tuple)
GRANTS = st.lists(st.tuples(st.sampled_from(Arch), st.builds(UnitId, st.integers(0, 2), st.just(CoreRange(0, 1)))))
FLEETS = st.lists(
    st.builds(
        KnownCard,
        st.builds(Device, st.integers(0, 3), st.sampled_from(Arch), uuid=st.sampled_from([None, UUID, "another"])),
        st.frozensets(st.integers(0, 3), max_size=2),
    ),
    max_size=4,
    unique_by=lambda card: card.device.key,
)


def uses(found: Allocations) -> set[tuple[object, CoreRange]]:
    return {(key, each) for key in {*found.units, *found.others} for each in found.possible_uses(key)}


@given(claims=CLAIMS, grants=GRANTS, cards=FLEETS, data=st.data())
def test_the_order_of_claims_grants_and_cards_does_not_matter(
    claims: tuple[Claim, ...], grants: list[tuple[Arch, UnitId]], cards: list[KnownCard], data: st.DataObject
) -> None:
    expected = join(claims, grants, cards, RESOURCES, is_complete=True)
    orders = [data.draw(st.permutations(range(len(each)))) for each in (claims, grants, cards)]
    shuffled = join(
        [claims[place] for place in orders[0]],
        [grants[place] for place in orders[1]],
        [cards[place] for place in orders[2]],
        RESOURCES,
        is_complete=True,
    )
    assert shuffled == expected


@given(claims=CLAIMS, more=CLAIMS, grants=GRANTS, cards=FLEETS)
def test_one_more_claim_never_frees_a_core(
    claims: tuple[Claim, ...], more: tuple[Claim, ...], grants: list[tuple[Arch, UnitId]], cards: list[KnownCard]
) -> None:
    before = join(claims, [], cards, RESOURCES, is_complete=True)
    after = join((*claims, *more), grants, cards, RESOURCES, is_complete=True)
    assert uses(before) <= uses(after)
    for card in cards:
        for each in card.device.cores.split(1):
            key = card.device.key
            assert before.conflicts(key, each) <= after.conflicts(key, each)


def steps(sources: Sources, told: Iterable[tuple[str, tuple[Claim, ...]]]) -> Sources:
    for number, (step, named) in enumerate(told, 10):
        match step:
            case "checkpoint":
                sources = sources.with_checkpoint(named, number, RESOURCES)
            case "no checkpoint":
                sources = sources.without_checkpoint()
            case "listing" | "listing without pods":
                sources = sources.with_listing(named, knows_pods=step == "listing")
            case "no listing":
                sources = sources.without_listing()
            case _:
                sources = sources.with_grant(Arch.WARBOY, units("npu0pe0-1"), sources.stamp)
    return sources


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["checkpoint", "no checkpoint", "listing", "listing without pods", "no listing", "grant"],
        ),
        CLAIMS,
    ),
    max_size=8,
)


@given(told=STEPS, last=CLAIMS, listed=CLAIMS)
def test_a_unit_that_the_checkpoint_the_listing_or_the_last_grant_names_is_never_free(
    told: list[tuple[str, tuple[Claim, ...]]], last: tuple[Claim, ...], listed: tuple[Claim, ...]
) -> None:
    sources = steps(Sources(), [*told, ("checkpoint", last), ("listing", listed), ("grant", ())])
    named = [(Arch.WARBOY, UnitId.parse("npu0pe0-1"))]
    expected = join((*last, *listed), named, CARDS, RESOURCES, is_complete=True)
    assert uses(expected) <= uses(sources.joined(CARDS, RESOURCES))


@given(told=STEPS)
def test_nothing_is_free_unless_the_checkpoint_was_read_the_last_time(
    told: list[tuple[str, tuple[Claim, ...]]],
) -> None:
    sources = steps(Sources(), told)
    reads = [step for step, _ in told if step.endswith("checkpoint")]
    is_known = bool(reads) and reads[-1] == "checkpoint"
    assert (held(sources) is not None) is is_known
