"""Who owns which cores: what the kubelet says, read against the cards that are there."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import CardKey
from npu_core.partition import partitionings_of
from npu_metrics_exporter.podmap import Container, Owner, PodMap

RESOURCE = "beta.furiosa.ai/npu"
RENEGADE = "beta.furiosa.ai/npu-renegade"
NPU0 = (Arch.WARBOY, 0)
NPU1 = (Arch.WARBOY, 1)
RNGD0 = (Arch.RENEGADE, 0)
WARBOYS: list[CardKey] = [NPU0, NPU1]
BOTH: list[CardKey] = [NPU0, RNGD0]


@dataclass(frozen=True, slots=True)
class Says:
    """One line of a kubelet's answer."""

    pod: str
    device_ids: tuple[str, ...]
    resource: str = RESOURCE
    namespace: str = "team"
    container: str = "main"


def says(pod: str, *device_ids: str, resource: str = RESOURCE, container: str = "main") -> Says:
    return Says(pod, device_ids, resource, container=container)


def of(*lines: Says, cards: Iterable[CardKey] = WARBOYS) -> PodMap:
    return PodMap.of(lines, list(cards))


def cores(text: str) -> CoreRange:
    return CoreRange.parse(text)


def held_by(pods: PodMap, card: CardKey) -> list[tuple[str, str]]:
    """Cores and pod of every unit of a card that somebody holds."""
    return [(str(owner.cores), owner.container.pod) for owner in pods.of_card(card)]


def test_where_nothing_is_held_nobody_owns_anything() -> None:
    assert of() == PodMap()
    assert PodMap().of_card(NPU0) == ()
    assert PodMap().sole_owner(NPU0, cores("0-1")) is None


def test_a_fused_unit_is_a_whole_card() -> None:
    pods = of(says("a", "npu1pe0-1"))
    container = Container("team", "a", "main")
    assert pods == PodMap({NPU1: (Owner(cores("0-1"), RESOURCE, container),)})
    assert pods.sole_owner(NPU1, cores("0-1")) == container
    assert pods.sole_owner(NPU0, cores("0-1")) is None


def test_the_halves_of_a_card_may_have_two_owners_and_then_the_card_has_none() -> None:
    pods = of(says("b", "npu0pe1"), says("a", "npu0pe0"))
    assert held_by(pods, NPU0) == [("0", "a"), ("1", "b")]
    assert pods.sole_owner(NPU0, cores("0")) == Container("team", "a", "main")
    assert pods.sole_owner(NPU0, cores("1")) == Container("team", "b", "main")
    assert pods.sole_owner(NPU0, cores("0-1")) is None
    assert not pods.conflicts


def test_who_holds_all_units_of_a_card_owns_it_whole() -> None:
    pods = of(says("a", "npu0pe0"), says("a", "npu0pe1"))
    assert pods.sole_owner(NPU0, cores("0-1")) == Container("team", "a", "main")


def test_who_holds_half_a_card_does_not_own_it() -> None:
    pods = of(says("a", "npu0pe1"))
    assert pods.sole_owner(NPU0, cores("0-1")) is None
    assert pods.sole_owner(NPU0, cores("0")) is None


def test_two_containers_of_one_pod_are_two_owners() -> None:
    pods = of(says("a", "npu0pe0", container="one"), says("a", "npu0pe1", container="two"))
    assert pods.sole_owner(NPU0, cores("0-1")) is None


def test_a_card_under_two_pods_has_both_in_its_rows_and_no_owner() -> None:
    """Older kubelets list pods that have ended, with what they held."""
    pods = of(says("ended", "npu0pe0-1"), says("runs", "npu0pe0-1"))
    assert held_by(pods, NPU0) == [("0-1", "ended"), ("0-1", "runs")]
    assert pods.conflicts == {NPU0}
    assert pods.sole_owner(NPU0, cores("0-1")) is None


def test_a_card_cut_anew_under_an_ended_pod_is_a_conflict_of_those_cores() -> None:
    pods = of(says("ended", "npu0pe0-1"), says("runs", "npu0pe1"))
    assert pods.conflicts == {NPU0}
    assert pods.sole_owner(NPU0, cores("1")) is None


def test_a_container_is_in_no_conflict_with_itself() -> None:
    pods = of(says("a", "npu0pe0-1", "npu0pe0"))
    assert held_by(pods, NPU0) == [("0", "a"), ("0-1", "a")]
    assert pods.conflicts == frozenset()
    assert pods.sole_owner(NPU0, cores("0-1")) == Container("team", "a", "main")


def test_cards_with_owners_stand_in_their_order() -> None:
    cards: list[CardKey] = [(Arch.WARBOY, number) for number in range(12)]
    pods = of(*(says("a", f"npu{number}pe0-1") for number in (11, 3, 0, 7, 5, 9, 1)), cards=cards)
    assert [number for _, number in pods.owners] == [0, 1, 3, 5, 7, 9, 11]


def test_the_same_line_twice_is_one_owner() -> None:
    pods = of(says("a", "npu0pe0-1"), says("a", "npu0pe0-1"))
    assert held_by(pods, NPU0) == [("0-1", "a")]
    assert not pods.conflicts


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "cpu", "example.com/npu", ""])
def test_other_resources_are_other_peoples(resource: str) -> None:
    assert of(says("a", "npu0pe0-1", resource=resource)) == PodMap()


@pytest.mark.parametrize(
    "text",
    ["", "npu0", "npu2pe0-1", "npu0pe2", "npu0pe0-7", "npu0pe1-0", "npu00pe0", "GPU-1", "npu0pe0-1 ", "npu999pe0"],
)
def test_an_id_that_was_never_given_out_is_told_and_nothing_more(text: str) -> None:
    pods = of(says("a", text), says("b", "npu0pe0-1"))
    assert pods.unknown == {(RESOURCE, text)}
    assert held_by(pods, NPU0) == [("0-1", "b")]


def test_a_range_that_no_way_of_cutting_gives_is_unknown() -> None:
    pods = of(says("a", "npu0pe0-2"), says("b", "npu0pe0-3"), cards=[RNGD0])
    assert pods.unknown == {(RESOURCE, "npu0pe0-2")}
    assert held_by(pods, RNGD0) == [("0-3", "b")]


def test_the_plain_name_is_of_the_only_family() -> None:
    assert held_by(of(says("a", "npu0pe0-1"), cards=[RNGD0]), RNGD0) == [("0-1", "a")]


def test_beside_another_family_the_second_has_its_name_appended() -> None:
    pods = of(says("a", "npu0pe0-1"), says("b", "npu0pe0-1", resource=RENEGADE), cards=BOTH)
    assert held_by(pods, NPU0) == [("0-1", "a")]
    assert held_by(pods, RNGD0) == [("0-1", "b")]
    assert not pods.conflicts


def test_ids_that_only_one_family_can_have_show_whose_the_plain_name_is() -> None:
    """The plugin leaves the plain name with the family that had it when cards of the other came."""
    pods = of(says("a", "npu0pe4-7"), says("b", "npu0pe0-1"), cards=BOTH)
    assert held_by(pods, RNGD0) == [("0-1", "b"), ("4-7", "a")]
    assert held_by(pods, NPU0) == []


def test_a_family_with_its_own_name_does_not_have_the_plain_one_too() -> None:
    pods = of(says("a", "npu0pe0-1"), says("b", "npu0pe0", resource="beta.furiosa.ai/npu-warboy"), cards=BOTH)
    assert held_by(pods, RNGD0) == [("0-1", "a")]
    assert held_by(pods, NPU0) == [("0", "b")]


def test_a_family_that_is_named_under_another_resource_may_have_the_plain_name_of_this_one() -> None:
    elsewhere = says("b", "npu0pe0", resource="beta.furiosa.ai/other-renegade")
    pods = of(says("a", "npu0pe4-7"), elsewhere, cards=BOTH)
    assert held_by(pods, RNGD0) == [("0", "b"), ("4-7", "a")]


def test_a_name_that_ends_with_a_family_is_that_family_s_whatever_stands_before() -> None:
    pods = of(says("a", "npu0pe0-1", resource="beta.furiosa.ai/renegade"), cards=BOTH)
    assert held_by(pods, RNGD0) == [("0-1", "a")]


def test_units_of_a_family_that_the_node_has_no_card_of_are_unknown() -> None:
    pods = of(says("a", "npu0pe0-7", resource=RENEGADE))
    assert pods.unknown == {(RENEGADE, "npu0pe0-7")}


def test_the_prefix_may_be_another() -> None:
    line = says("a", "npu0pe0-1", resource="furiosa.ai/npu")
    assert of(line) == PodMap()
    assert held_by(PodMap.of([line], WARBOYS, "furiosa.ai/"), NPU0) == [("0-1", "a")]


FIT = {arch: [str(part) for cut in partitionings_of(arch_spec(arch)) for part in cut.core_ranges(arch_spec(arch))]
       for arch in Arch}  # fmt: skip
ANY_TEXT = st.one_of(
    st.text(max_size=12),
    st.builds("npu{}pe{}".format, st.integers(0, 3), st.sampled_from(FIT[Arch.RENEGADE])),
)
LINES = st.lists(
    st.builds(
        Says,
        st.sampled_from(["a", "b", "c"]),
        st.lists(ANY_TEXT, max_size=4).map(tuple),
        st.sampled_from([RESOURCE, RENEGADE, "beta.furiosa.ai/npu-warboy", "nvidia.com/gpu"]),
    ),
    max_size=8,
)
CARDS = st.lists(st.tuples(st.sampled_from(Arch), st.integers(0, 3)), unique=True, max_size=6)


@given(LINES, CARDS)
def test_every_id_below_the_prefix_is_owned_or_unknown_and_only_known_cards_have_owners(
    lines: list[Says], cards: list[CardKey]
) -> None:
    pods = PodMap.of(lines, cards)
    ours = {(line.resource, text) for line in lines if line.resource.startswith("beta.") for text in line.device_ids}
    owned = {
        (owner.resource, f"npu{index}pe{owner.cores}") for (_, index), owners in pods.owners.items() for owner in owners
    }
    assert owned | pods.unknown == ours
    assert not owned & pods.unknown
    assert set(pods.owners) <= set(cards)


@given(LINES, CARDS)
def test_a_card_in_conflict_has_no_owner_and_an_owner_holds_every_core(lines: list[Says], cards: list[CardKey]) -> None:
    pods = PodMap.of(lines, cards)
    for card in cards:
        spec = arch_spec(card[0])
        owner = pods.sole_owner(card, spec.cores)
        assert owner is None or card not in pods.conflicts
        for core in spec.cores if owner else ():
            assert pods.sole_owner(card, CoreRange(core, core)) == owner


@given(LINES, CARDS, st.randoms())
def test_the_order_of_the_answer_does_not_matter(lines: list[Says], cards: list[CardKey], random: object) -> None:
    shuffled = list(lines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis does not export the type
    assert PodMap.of(shuffled, cards) == PodMap.of(lines, cards)
