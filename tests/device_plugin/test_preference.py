"""Which units are taken for a container: right whatever is asked, and as close together as can be."""

import random
from collections import Counter
from collections.abc import Iterable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.partition import FUSION, SINGLE, Partitioning, Unit, UnitId, units_of
from npu_device_plugin.allocation.preference import preferred
from testkit.effort import lines_run
from tests.device_plugin.cards import card, rngd_card, warboy_card
from tests.device_plugin.requests import Request, any_requests, right_requests, units

MOST_LINES = 500_000
"""Lines of Python that a preference may take: about a tenth of a second."""


def cut(devices: Iterable[Device], policy: Partitioning) -> tuple[Unit, ...]:
    return tuple(unit for device in devices for unit in units_of(device, policy))


def choose(devices: Iterable[Device], policy: Partitioning, size: int, *, used: str = "", must: str = "") -> list[str]:
    """What is preferred on a machine where some units are used already."""
    resource = cut(devices, policy)
    available = [unit.id for unit in resource if unit.id not in used.split()]
    return list(preferred(resource, available, must.split(), size))


def order(unit_id: str) -> tuple[int, int]:
    parsed = UnitId.parse(unit_id)
    return parsed.index, parsed.cores.first


# -- whatever is asked ------------------------------------------------------------------------------------------------


@given(any_requests())
@settings(max_examples=100)
def test_any_request_has_a_right_answer_or_none(request: Request) -> None:
    answer = request.answer
    assert bool(answer) == request.satisfiable
    if answer:
        assert len(answer) == request.size
        assert {*request.must_include} <= {*answer} <= {*request.available, *request.must_include}
        assert {*answer} <= {*request.known}


@given(st.one_of(any_requests(), right_requests(units())))
@settings(max_examples=100)
def test_an_answer_is_sorted_by_card_and_core_and_names_no_unit_twice(request: Request) -> None:
    answer = request.answer
    assert list(answer) == sorted(set(answer), key=order)


@given(st.one_of(any_requests(), right_requests(units())), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_the_order_in_which_things_are_named_does_not_matter(request: Request, chance: random.Random) -> None:
    shuffled = Request(
        tuple(chance.sample(request.units, len(request.units))),
        tuple(chance.sample(request.available * 2, 2 * len(request.available))),
        tuple(chance.sample(request.must_include * 2, 2 * len(request.must_include))),
        request.size,
    )
    assert shuffled.answer == request.answer


@pytest.mark.parametrize(
    ("available", "must", "size"),
    [
        ([], [], 1),
        (["npu0pe0"], [], 0),
        (["npu0pe0"], [], -1),
        (["npu0pe0"], [], 2),
        (["npu0pe0", "npu0pe0"], [], 2),
        (["npu0pe0"], [], (1 << 31) - 1),
        (["npu0pe0", "npu0pe1"], ["npu0pe0", "npu0pe1"], 1),
        (["npu0pe0"], ["npu7pe0"], 1),
        (["nonsense", ""], ["nonsense"], 1),
    ],
)
def test_what_cannot_be_satisfied_has_no_answer(available: list[str], must: list[str], size: int) -> None:
    assert preferred(cut([warboy_card(0)], SINGLE), available, must, size) == ()


def test_what_must_be_included_counts_as_available() -> None:
    assert preferred(cut([warboy_card(0)], SINGLE), ["npu0pe1"], ["npu0pe0"], 2) == ("npu0pe0", "npu0pe1")


@pytest.mark.parametrize("nodes", [1, 8, 64])
@pytest.mark.parametrize("must", [0, 200])
def test_64_cards_of_8_pes_are_no_matter_of_time(nodes: int, must: int) -> None:
    chance = random.Random(nodes)  # noqa: S311  # a machine, not a secret
    devices = [rngd_card(index, numa_node=chance.randrange(nodes)) for index in range(64)]
    resource = cut(devices, SINGLE)
    available = chance.sample([unit.id for unit in resource], 400)
    answers: list[tuple[str, ...]] = []
    assert lines_run(lambda: answers.append(preferred(resource, available, available[:must], 250))) < MOST_LINES
    [answer] = answers
    assert len(set(answer)) == len(answer) == 250
    assert {*available[:must]} <= {*answer} <= {*available}


# -- compared with trying everything ----------------------------------------------------------------------------------

Cost = tuple[int, int, int]


def place(unit: Unit) -> int:
    pci = unit.device.pci
    assert pci is not None
    within_domain = (pci.bus * 32 + pci.device) * 8 + pci.function
    return pci.domain * 2 * 65_536 + within_domain


def cost(chosen: Iterable[Unit]) -> Cost:
    """Cards, NUMA nodes, and distance on the bus of a choice."""
    taken = list(chosen)
    places = [place(unit) for unit in taken]
    return (
        len({unit.device.index for unit in taken}),
        len({unit.device.numa_node for unit in taken}),
        max(places) - min(places),
    )


def costs(request: Request) -> Iterable[Cost]:
    """The cost of every right answer there is."""
    must = set(request.must_include)
    free = sorted(set(request.available) - must)
    for chosen in combinations(free, request.size - len(must)):
        yield cost(request.known[unit_id] for unit_id in (*must, *chosen))


def cost_of_answer(request: Request) -> Cost:
    return cost(request.known[unit_id] for unit_id in request.answer)


@given(right_requests(units(max_cards=6), max_available=10))
@settings(max_examples=100)
def test_no_choice_has_fewer_cards_nor_of_as_few_cards_fewer_numa_nodes(request: Request) -> None:
    cards, nodes, _ = cost_of_answer(request)
    assert (cards, nodes) == min(other[:2] for other in costs(request))


@given(right_requests(units(max_cards=6, nodes=st.sampled_from([0, 1])), max_available=10))
@settings(max_examples=100)
def test_on_two_numa_nodes_no_such_choice_is_closer_together_on_the_bus(request: Request) -> None:
    assert cost_of_answer(request) == min(costs(request))


# -- fewest cards -----------------------------------------------------------------------------------------------------


def test_the_card_that_is_begun_is_filled_first() -> None:
    cards = [warboy_card(index) for index in range(3)]
    assert choose(cards, SINGLE, 2, must="npu1pe1") == ["npu1pe0", "npu1pe1"]


# -- NUMA nodes -------------------------------------------------------------------------------------------------------


def nodes_of(chosen: Iterable[str], cards: list[Device]) -> list[int | None]:
    """The NUMA node of each card that is taken."""
    return [cards[index].numa_node for index in dict.fromkeys(order(unit_id)[0] for unit_id in chosen)]


# Whole cards of three nodes, side by side on the bus; and more of node 0, farther away.
THREE_NODES = [warboy_card(index, numa_node=index, pci=f"0000:{0x10 + index:02x}:00.0") for index in range(3)]


@pytest.mark.parametrize(
    ("more", "used"),
    [
        (3, "npu5pe0"),  # with a unit more, node 0 would do
        (4, "npu5pe0 npu6pe0"),  # it does with a card more than need be
        (7, "npu3pe0 npu4pe0 npu5pe0 npu6pe0 npu7pe0 npu8pe0"),  # it does with many more
    ],
)
def test_nodes_that_would_suffice_only_with_more_cards_or_units_are_no_reason_to_take_three(
    more: int, used: str
) -> None:
    far = [warboy_card(3 + index, numa_node=9, pci=f"0000:{0x80 + index * 8:02x}:00.0") for index in range(more)]
    pair = [warboy_card(3 + more, numa_node=2, pci="0000:70:00.0")]
    cards = [*THREE_NODES, *far, *pair]
    chosen = choose(cards, SINGLE, 6, used=used)
    assert (len(nodes_of(chosen, cards)), len(set(nodes_of(chosen, cards)))) == (3, 2)


def test_a_node_that_is_begun_does_not_count_as_one_more() -> None:
    near, far = [0, 0, 3, 4, 5], [1, 1, 2, 2]
    cards = [warboy_card(index, numa_node=node, pci=f"0000:{index:02x}:00.0") for index, node in enumerate(near)]
    cards += [
        warboy_card(5 + index, numa_node=node, pci=f"0000:{0x80 + index:02x}:00.0") for index, node in enumerate(far)
    ]
    assert sorted(map(str, nodes_of(choose(cards, FUSION, 6, must="npu0pe0-1"), cards))) == list("001122")


def test_of_two_nodes_the_one_is_taken_whose_cards_are_closer_together() -> None:
    buses = ["10", "90", "20", "21"]
    cards = [warboy_card(index, numa_node=index // 2, pci=f"0000:{bus}:00.0") for index, bus in enumerate(buses)]
    assert choose(cards, FUSION, 2) == ["npu2pe0-1", "npu3pe0-1"]


def test_cards_of_unknown_nodes_go_together() -> None:
    cards = [warboy_card(index, numa_node=node) for index, node in enumerate([0, None, 1, None])]
    assert choose(cards, FUSION, 2) == ["npu1pe0-1", "npu3pe0-1"]


# -- the PCI bus ------------------------------------------------------------------------------------------------------


def test_the_same_bus_in_another_domain_is_far_away() -> None:
    cards = [
        warboy_card(0, pci="0000:10:00.0"),
        warboy_card(1, pci="0001:10:00.0"),
        warboy_card(2, pci="0000:f0:00.0"),
    ]
    assert choose(cards, FUSION, 2) == ["npu0pe0-1", "npu2pe0-1"]


@pytest.mark.parametrize(
    ("addresses", "chosen"),
    [
        (["0000:10:00.0", "0000:10:0f.0", "0000:11:00.0"], [0, 1]),
        (["0000:10:00.0", "0000:10:00.3", "0000:10:01.0"], [0, 1]),
        (["0000:10:00.0", "0000:10:1f.0", "0000:11:00.0"], [1, 2]),
        (["0000:10:00.0", "0000:10:00.7", "0000:10:01.0"], [1, 2]),
    ],
)
def test_a_bus_has_32_devices_and_a_device_eight_functions(addresses: list[str], chosen: list[int]) -> None:
    cards = [warboy_card(index, pci=pci) for index, pci in enumerate(addresses)]
    assert choose(cards, FUSION, 2) == [f"npu{index}pe0-1" for index in chosen]


def test_a_card_without_an_address_is_taken_last() -> None:
    lost = Device(0, Arch.WARBOY, numa_node=0)
    cards = [lost, warboy_card(1, pci="0000:10:00.0"), warboy_card(2, pci="ffffffff:80:00.0")]
    assert choose(cards, FUSION, 2) == ["npu1pe0-1", "npu2pe0-1"]


# -- cards that are in part used --------------------------------------------------------------------------------------


def test_a_half_used_card_is_taken_before_a_whole_one() -> None:
    cards = [warboy_card(index) for index in range(3)]
    assert choose(cards, SINGLE, 1, used="npu1pe0") == ["npu1pe1"]


def test_of_cards_that_are_begun_the_one_with_the_least_left_is_filled_first() -> None:
    used = " ".join(f"npu1pe{core}" for core in range(2, 8))
    chosen = choose([rngd_card(0), rngd_card(1)], SINGLE, 3, used=used, must="npu0pe0 npu1pe0")
    assert chosen == ["npu0pe0", "npu1pe0", "npu1pe1"]


def test_of_equal_cards_the_first_is_taken() -> None:
    assert choose([warboy_card(index) for index in (7, 3, 12)], FUSION, 1) == ["npu3pe0-1"]
    alike = [warboy_card(index, pci="0000:10:00.0") for index in range(12)]
    assert choose(alike, FUSION, 3) == ["npu0pe0-1", "npu1pe0-1", "npu2pe0-1"]


@given(st.lists(st.integers(1, 8), min_size=1, max_size=7), st.data())
def test_of_the_fewest_cards_those_with_the_least_left_are_taken(free: list[int], data: st.DataObject) -> None:
    """Of all sets of so few cards that have enough: one by one, the card with the least left comes first."""
    wanted = data.draw(st.integers(1, sum(free)))
    cards = [rngd_card(index, pci="0000:10:00.0") for index in range(len(free))]
    used = " ".join(f"npu{index}pe{core}" for index, left in enumerate(free) for core in range(8 - left))
    enough = (
        sorted(few) for count in range(1, len(free) + 1) for few in combinations(free, count) if sum(few) >= wanted
    )
    chosen = Counter(order(unit_id)[0] for unit_id in choose(cards, SINGLE, wanted, used=used))
    assert sorted(free[index] for index in chosen) == min(enough, key=lambda few: (len(few), few))


# -- cores of a card --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "size", "cores"),
    [
        ("0", 2, [2, 3]),
        ("2", 2, [0, 1]),
        ("1 2", 2, [4, 5]),
        ("0 1", 4, [4, 5, 6, 7]),
        ("0", 4, [4, 5, 6, 7]),
        ("0", 3, [1, 2, 3]),
        ("0 1 2", 3, [4, 5, 6]),
        ("1 3 5", 2, [6, 7]),
        ("2", 3, [4, 5, 6]),
        ("1 3 5 7", 2, [0, 2]),
        ("", 5, [0, 1, 2, 3, 4]),
    ],
)
def test_cores_are_side_by_side_within_the_blocks_that_are_fused(used: str, size: int, cores: list[int]) -> None:
    taken = " ".join(f"npu0pe{core}" for core in used.split())
    assert choose([rngd_card(0)], SINGLE, size, used=taken) == [f"npu0pe{core}" for core in cores]


@pytest.mark.parametrize(("must", "core"), [("npu0pe5", 4), ("npu0pe2", 3), ("npu0pe0", 1)])
def test_a_core_is_next_to_the_one_that_must_be_included(must: str, core: int) -> None:
    assert choose([card(Arch.RENEGADE)], SINGLE, 2, must=must) == sorted([must, f"npu0pe{core}"])


def test_a_core_is_next_to_one_of_its_own_card() -> None:
    used = " ".join(f"npu1pe{core}" for core in range(1, 8))
    chosen = choose([rngd_card(0), rngd_card(1)], SINGLE, 3, used=used, must="npu0pe5 npu1pe0")
    assert chosen == ["npu0pe4", "npu0pe5", "npu1pe0"]
