"""Who owns which cores: what the kubelet says, read against the cards that are there."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch, arch_spec
from npu_core.claims import Claim, Container, KnownCard
from npu_core.cores import CoreRange
from npu_core.device import CardKey, Device, PciAddress
from npu_core.partition import partitionings_of
from npu_metrics_exporter.metrics.podmap import Owner, PodMap, may_be_npu, npus_of

RESOURCE = "beta.furiosa.ai/npu"
RENEGADE = "beta.furiosa.ai/npu-renegade"
NPU0 = (Arch.WARBOY, 0)
NPU1 = (Arch.WARBOY, 1)
RNGD0 = (Arch.RENEGADE, 0)
WARBOYS: list[CardKey] = [NPU0, NPU1]
BOTH: list[CardKey] = [NPU0, RNGD0]


@dataclass(frozen=True, slots=True)
class Says:
    """What one container holds of one resource; by the checkpoint alone, where it is not listed."""

    pod: str
    device_ids: tuple[str, ...]
    resource: str = RESOURCE
    namespace: str = "team"
    container: str = "main"
    listed: bool = True


def says(pod: str, *device_ids: str, resource: str = RESOURCE, container: str = "main", listed: bool = True) -> Says:
    return Says(pod, device_ids, resource, container=container, listed=listed)


def claims(lines: Iterable[Says]) -> Iterator[Claim]:
    for line in lines:
        holder = Container(line.namespace, line.pod, line.container)
        for text in line.device_ids:
            uid = "" if line.listed else f"uid-of-{line.pod}"
            yield Claim(line.resource, text, pod_uid=uid, container=holder, container_name=line.container)


def known(keys: Iterable[CardKey]) -> list[KnownCard]:
    return [KnownCard(Device(index, arch)) for arch, index in keys]


def of(*lines: Says, cards: Iterable[CardKey] = WARBOYS) -> PodMap:
    return PodMap.of(claims(lines), known(cards))


def cores(text: str) -> CoreRange:
    return CoreRange.parse(text)


def held_by(pods: PodMap, card: CardKey) -> list[tuple[str, str]]:
    """Cores and pod of every unit of a card that somebody holds."""
    return [(str(owner.cores), owner.container.pod) for owner in pods.of_card(card)]


def test_a_fused_unit_is_a_whole_card() -> None:
    pods = of(says("a", "npu1pe0-1"))
    container = Container("team", "a", "main")
    assert pods == PodMap({NPU1: (Owner(cores("0-1"), RESOURCE, container, is_listed=True),)})
    assert pods.sole_owner(NPU1, cores("0-1")) == container
    assert pods.sole_owner(NPU0, cores("0-1")) is None


@pytest.mark.parametrize(
    ("lines", "rows", "sole", "conflicts"),
    [
        ([], [], {}, False),
        ([says("b", "npu0pe1"), says("a", "npu0pe0")], [("0", "a"), ("1", "b")], {"0": "a", "1": "b"}, False),
        (
            [says("a", "npu0pe0"), says("a", "npu0pe1")],
            [("0", "a"), ("1", "a")],
            {"0": "a", "1": "a", "0-1": "a"},
            False,
        ),
        ([says("a", "npu0pe1")], [("1", "a")], {"1": "a"}, False),
        ([says("a", "npu0pe0-1")] * 2, [("0-1", "a")], {"0": "a", "1": "a", "0-1": "a"}, False),
        # Two containers of one pod are two owners.
        (
            [says("a", "npu0pe0", container="one"), says("a", "npu0pe1", container="two")],
            [("0", "a"), ("1", "a")],
            {"0": "a", "1": "a"},
            False,
        ),
        # A container is in no conflict with itself.
        ([says("a", "npu0pe0-1", "npu0pe0")], [("0", "a"), ("0-1", "a")], {"0": "a", "1": "a", "0-1": "a"}, False),
        # Older kubelets list pods that have ended, with what they held.
        ([says("ended", "npu0pe0-1"), says("runs", "npu0pe0-1")], [("0-1", "ended"), ("0-1", "runs")], {}, True),
        (
            [says("ended", "npu0pe0-1"), says("runs", "npu0pe1")],
            [("0-1", "ended"), ("1", "runs")],
            {"0": "ended"},
            True,
        ),
        ([says("a", "npu0pe0-1", listed=False), says("b", "npu0pe0-1")], [("0-1", "a"), ("0-1", "b")], {}, True),
        (
            [replace(says("a", "npu0pe0-1"), namespace=namespace) for namespace in ("one", "two")],
            [("0-1", "a"), ("0-1", "a")],
            {},
            True,
        ),
    ],
)
def test_who_owns_which_cores(
    lines: list[Says], rows: list[tuple[str, str]], sole: dict[str, str], *, conflicts: bool
) -> None:
    pods = of(*lines)
    assert held_by(pods, NPU0) == rows
    owners = {text: pods.sole_owner(NPU0, cores(text)) for text in ("0", "1", "0-1")}
    assert {text: owner.pod for text, owner in owners.items() if owner} == sole
    assert pods.conflicts == ({NPU0} if conflicts else set())


def test_cards_with_owners_stand_in_their_order() -> None:
    cards: list[CardKey] = [(Arch.WARBOY, number) for number in range(12)]
    pods = of(*(says("a", f"npu{number}pe0-1") for number in (11, 3, 0, 7, 5, 9, 1)), cards=cards)
    assert [number for _, number in pods.owners] == [0, 1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "cpu", "example.com/npu", "notfuriosa.ai/npu", ""])
@pytest.mark.parametrize(
    "text", ["GPU-1", "0", "npu0", "npu7pe0-1", "0000:17:00.1", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"]
)
def test_another_resource_s_device_that_is_no_card_is_somebody_else_s(resource: str, text: str) -> None:
    line = says("a", text, resource=resource)
    assert of(line) == PodMap()
    assert npus_of(claims([line]), known(WARBOYS)) == ()


IDENTIFIED = KnownCard(
    Device(
        0, Arch.WARBOY, uuid="A76AAD68-6855-40B1-9E86-D080852D1C80", serial="WBYB0000", pci=PciAddress(0, 0x17, 0, 0)
    )
)
SCHEMES = ["npu0pe0-1", "a76aad68-6855-40b1-9e86-d080852d1c80", "0000:17:00.0"]


@pytest.mark.parametrize("resource", [RESOURCE, "furiosa.ai/accelerator", "example.com/accelerator"])
@pytest.mark.parametrize("text", SCHEMES)
def test_a_card_is_known_by_what_no_other_card_can_be_called_under_whatever_resource(resource: str, text: str) -> None:
    line = says("a", text, resource=resource)
    pods = PodMap.of(claims([line]), [IDENTIFIED])
    assert held_by(pods, NPU0) == [("0-1", "a")]
    assert not pods.unmapped
    assert may_be_npu(next(claims([line])))
    assert len(npus_of(claims([line]), [IDENTIFIED])) == 1


@pytest.mark.parametrize("text", ["npu0", "WBYB0000", "A76AAD68-6855-40B1-9E86-D080852D1C80_cores_0-1"])
@pytest.mark.parametrize("resource", [RESOURCE, "furiosa.ai/npu", "npu.furiosa.ai"])
def test_a_card_of_an_npu_resource_is_known_by_its_name_and_serial_number(resource: str, text: str) -> None:
    pods = PodMap.of(claims([says("a", text, resource=resource)]), [IDENTIFIED])
    assert held_by(pods, NPU0) == [("0-1", "a")]


@pytest.mark.parametrize(
    "text",
    ["", "npu2", "npu2pe0-1", "npu0pe2", "npu0pe0-7", "npu0pe1-0", "npu00pe0", "GPU-1", "npu0pe0-1 ", "npu999pe0"],
)
def test_an_id_of_an_npu_resource_that_is_no_card_is_told_and_nothing_more(text: str) -> None:
    pods = of(says("a", text), says("b", "npu0pe0-1"))
    assert pods.unmapped == {(RESOURCE, text)}
    assert held_by(pods, NPU0) == [("0-1", "b")]


@pytest.mark.parametrize(
    "text", ["npupe0", "npu0pe", "npu0", "aaaaaaaa-", "aaaaaaa-bbbb", ".0", "0000:17:00.8", "GPU-1", ""]
)
def test_what_only_resembles_a_card_s_id_counts_under_an_npu_resource_alone(text: str) -> None:
    [elsewhere], [ours] = claims([says("a", text, resource="x.io/y")]), claims([says("a", text)])
    assert (may_be_npu(elsewhere), may_be_npu(ours)) == (False, True)


def test_an_id_that_two_cards_can_have_under_a_name_that_tells_no_family_is_nobody_s() -> None:
    assert of(says("a", "npu0pe0", resource="example.com/npu"), cards=BOTH) == PodMap()


def test_a_card_that_has_another_number_now_is_held_under_the_one_it_had() -> None:
    moved = KnownCard(Device(2, Arch.WARBOY), former=frozenset({0}))
    line = says("a", "npu0pe0-1")
    assert held_by(PodMap.of(claims([line]), [moved]), (Arch.WARBOY, 2)) == [("0-1", "a")]
    # Unless that number is another card's.
    both = PodMap.of(claims([line]), [moved, KnownCard(Device(0, Arch.WARBOY))])
    assert list(both.owners) == [NPU0]


def test_a_holder_whose_container_is_not_known_owns_nothing_and_its_card_is_known() -> None:
    nameless = [replace(claim, container=None) for claim in claims([says("a", "npu0pe0-1")])]
    assert PodMap.of(nameless, known(WARBOYS)) == PodMap()


def test_an_init_container_is_a_row_and_neither_a_conflict_nor_a_second_owner_beside_its_pod_s_containers() -> None:
    """The kubelet gives a container what an init container of its pod had, and names both."""
    alone = of(says("a", "npu0pe0-1", container="fetch", listed=False))
    assert alone.sole_owner(NPU0, cores("0-1")) == Container("team", "a", "fetch")
    pods = of(says("a", "npu0pe0-1", container="fetch", listed=False), says("a", "npu0pe0-1"))
    assert [owner.container.container for owner in pods.of_card(NPU0)] == ["fetch", "main"]
    assert not pods.conflicts
    assert pods.sole_owner(NPU0, cores("0-1")) == Container("team", "a", "main")


def test_what_both_sources_name_is_one_owner_that_is_listed() -> None:
    lines = says("a", "npu0pe0-1", listed=False), says("a", "npu0pe0-1")
    for pods in (of(*lines), of(*reversed(lines))):
        assert [owner.is_listed for owner in pods.of_card(NPU0)] == [True]


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


@pytest.mark.parametrize("name", ["beta.furiosa.ai/other-warboy", "beta.furiosa.ai/npu-test", "beta.furiosa.ai/npu2"])
def test_only_a_family_s_own_name_beside_the_plain_one_takes_the_plain_one_from_it(name: str) -> None:
    pods = of(says("a", "npu0pe0-1"), says("b", "npu0pe0", resource=name), cards=BOTH)
    assert ("0-1", "a") in held_by(pods, NPU0)


def test_a_name_that_ends_with_a_family_is_that_family_s_whatever_stands_before() -> None:
    pods = of(says("a", "npu0pe0-1", resource="beta.furiosa.ai/renegade"), cards=BOTH)
    assert held_by(pods, RNGD0) == [("0-1", "a")]


def test_units_of_a_family_that_the_node_has_no_card_of_are_unknown() -> None:
    pods = of(says("a", "npu0pe0-7", resource=RENEGADE))
    assert pods.unmapped == {(RENEGADE, "npu0pe0-7")}


FIT = {arch: [str(part) for cut in partitionings_of(arch_spec(arch)) for part in cut.core_ranges(arch_spec(arch))]
       for arch in Arch}  # fmt: skip
ANY_TEXT = st.one_of(
    st.text(max_size=12).filter(lambda text: not re.fullmatch("npu[0-9]+", text)),
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
def test_every_id_of_an_npu_resource_is_owned_or_unmapped_and_only_known_cards_have_owners(
    lines: list[Says], cards: list[CardKey]
) -> None:
    pods = of(*lines, cards=cards)
    ours = {(line.resource, text) for line in lines if line.resource.startswith("beta.") for text in line.device_ids}
    owned = {
        (owner.resource, f"npu{index}pe{owner.cores}") for (_, index), owners in pods.owners.items() for owner in owners
    }
    assert (owned | pods.unmapped) & ours == ours
    assert not owned & pods.unmapped
    assert set(pods.owners) <= set(cards)


@given(LINES, CARDS)
def test_a_card_in_conflict_has_no_owner_and_an_owner_holds_every_core(lines: list[Says], cards: list[CardKey]) -> None:
    pods = of(*lines, cards=cards)
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
    assert of(*shuffled, cards=cards) == of(*lines, cards=cards)


def test_the_family_that_the_checkpoint_tells_counts_for_every_source_that_names_the_id() -> None:
    holder = Container("team", "pod", "main")
    told = Claim(RESOURCE, "npu0pe0", pod_uid="uid", container=holder, container_name="main", arch=Arch.RENEGADE)
    listed = Claim(RESOURCE, "npu0pe0", container=holder, container_name="main")
    for given_claims in ([told, listed], [listed, told]):
        assert set(PodMap.of(given_claims, known(BOTH)).owners) == {RNGD0}
