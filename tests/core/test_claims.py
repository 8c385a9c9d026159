"""What a device id that some plugin chose may mean on this host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch, arch_spec
from npu_core.claims import NOTHING, Claim, KnownCard, Meaning, Place, families_of, is_of_domain, meaning_of
from npu_core.cores import CoreRange
from npu_core.device import CardKey, Device, PciAddress
from npu_core.partition import UnitId

WARBOY, RENEGADE = "beta.furiosa.ai/npu", "beta.furiosa.ai/npu-renegade"
RESOURCES = {Arch.WARBOY: WARBOY, Arch.RENEGADE: RENEGADE}
FOREIGN = "example.com/fpga"
UUID, UUID2 = "000001FD-0000-40B1-9E86-000000000000", "000000EB-0000-40B1-9E86-000000000000"

W0 = Device(0, Arch.WARBOY, uuid=UUID, serial="WBYB0236FH000000", pci=PciAddress.parse("0000:17:00.0"))
W1 = Device(1, Arch.WARBOY, uuid="5f" * 16, serial="WBYB0236FH000001", pci=PciAddress.parse("0000:28:00.0"))
R0 = Device(0, Arch.RENEGADE, uuid=UUID2, serial="RNGD0125A000000", pci=PciAddress.parse("0001:65:00.0"))
CARDS = tuple(map(KnownCard, (W0, W1, R0)))


def place(key: CardKey, cores: str) -> Place:
    return Place(key, CoreRange.parse(cores))


def meaning(device_id: str, resource: str = WARBOY, cards: tuple[KnownCard, ...] = CARDS) -> Meaning:
    return meaning_of(Claim(resource, device_id), cards, RESOURCES)


def known(*places: Place) -> Meaning:
    return Meaning(frozenset(places))


# -- resources and families -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "is_npu"),
    [
        ("beta.furiosa.ai/npu", True),
        ("furiosa.ai/rngd", True),
        ("npu.furiosa.ai", True),
        ("furiosa.ai", True),
        ("notfuriosa.ai/npu", False),
        ("furiosa.ai.example.com/npu", False),
        ("example.com/furiosa.ai", False),
        ("", False),
        ("/", False),
    ],
)
def test_resources_and_drivers_of_the_domain_and_below_hand_out_npus(resource: str, *, is_npu: bool) -> None:
    assert is_of_domain(resource) is is_npu


@pytest.mark.parametrize(
    ("resource", "families"),
    [
        (WARBOY, (Arch.WARBOY,)),
        (RENEGADE, (Arch.RENEGADE,)),
        ("furiosa.ai/rngd", (Arch.RENEGADE,)),
        ("furiosa.ai/RNGD", (Arch.RENEGADE,)),
        ("furiosa.ai/npu_warboy", (Arch.WARBOY,)),
        ("rngd.furiosa.ai", (Arch.RENEGADE,)),
        ("furiosa.ai/renegade", (Arch.RENEGADE,)),
        ("rngd.furiosa.ai/npu", tuple(Arch)),
        ("alpha.furiosa.ai/npu", tuple(Arch)),
        ("furiosa.ai/warboyish", tuple(Arch)),
        ("npu.furiosa.ai", tuple(Arch)),
        (FOREIGN, tuple(Arch)),
    ],
)
def test_a_resource_tells_its_families_by_its_name_or_may_be_of_every_family(
    resource: str, families: tuple[Arch, ...]
) -> None:
    assert families_of(resource, RESOURCES) == families


# -- known schemes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device_id", "resource", "expected"),
    [
        ("npu0pe0-1", WARBOY, known(place(W0.key, "0-1"))),
        ("npu1pe1", WARBOY, known(place(W1.key, "1"))),
        ("npu9pe0", WARBOY, known(place((Arch.WARBOY, 9), "0"))),
        ("npu0pe0-7", RENEGADE, known(place(R0.key, "0-7"))),
        ("npu0pe0", "old.furiosa.ai/npu", known(place(W0.key, "0"), place(R0.key, "0"))),
        ("npu0pe4-7", "old.furiosa.ai/npu", known(place(R0.key, "4-7"))),
        ("npu0pe0", "example.com/npu", known(place(W0.key, "0"), place(R0.key, "0"))),
        ("npu0", WARBOY, known(place(W0.key, "0-1"))),
        ("npu0", "old.furiosa.ai/npu", known(place(W0.key, "0-1"), place(R0.key, "0-7"))),
        (UUID, WARBOY, known(place(W0.key, "0-1"))),
        (UUID.lower(), WARBOY, known(place(W0.key, "0-1"))),
        (UUID2, "rngd.furiosa.ai", known(place(R0.key, "0-7"))),
        (UUID2, FOREIGN, known(place(R0.key, "0-7"))),
        (f"{UUID2}_cores_0-3", "furiosa.ai/rngd", known(place(R0.key, "0-3"))),
        (f"{UUID2}_cores_5", "furiosa.ai/rngd", known(place(R0.key, "5"))),
        ("5f" * 16, WARBOY, known(place(W1.key, "0-1"))),
        ("5F" * 16, WARBOY, known(place(W1.key, "0-1"))),
        ("0001:65:00.0", RENEGADE, known(place(R0.key, "0-7"))),
        ("0001:65:00.0", FOREIGN, known(place(R0.key, "0-7"))),
        ("WBYB0236FH000001", WARBOY, known(place(W1.key, "0-1"))),
        ("wbyb0236fh000001", WARBOY, known(place(W1.key, "0-1"))),
    ],
)
def test_an_id_of_a_known_scheme_names_its_cores(device_id: str, resource: str, expected: Meaning) -> None:
    assert meaning(device_id, resource) == expected


def test_a_claim_that_tells_its_family_means_no_card_of_another_one() -> None:
    claim = Claim(WARBOY, "npu0pe0", arch=Arch.RENEGADE)
    assert meaning_of(claim, CARDS, RESOURCES) == Meaning(frozenset({Place((Arch.RENEGADE, 0), CoreRange(0, 0))}))


def test_an_id_of_another_family_under_a_resource_names_the_other_familys_cores() -> None:
    assert meaning("npu0pe4-7", WARBOY) == known(place(R0.key, "4-7"))
    assert meaning(UUID2, WARBOY) == known(place(R0.key, "0-7"))
    assert meaning("0001:65:00.0", WARBOY) == known(place(R0.key, "0-7"))


@pytest.mark.parametrize("cores", ["7-0", "0-9", "300", "9" * 5000])
def test_a_uuid_with_cores_that_the_card_has_not_names_the_whole_card(cores: str) -> None:
    assert meaning(f"{UUID2}_cores_{cores}", RENEGADE) == known(place(R0.key, "0-7"))


@pytest.mark.parametrize("device_id", [f"{UUID2}_cores_", f"{UUID2}_cores_1-", f"{UUID2}x", UUID2[:-1], "XX"])
def test_what_is_nearly_a_uuid_is_of_no_known_scheme(device_id: str) -> None:
    cards = (*CARDS, KnownCard(Device(5, Arch.RENEGADE)))
    expected = frozenset({place(R0.key, "0-7"), place((Arch.RENEGADE, 5), "0-7")})
    assert meaning(device_id, RENEGADE, cards) == Meaning(expected, is_known=False)


def test_a_unit_whose_cores_no_family_has_names_the_whole_card() -> None:
    assert meaning("npu1pe9-12") == known(place(W1.key, "0-1"))
    assert meaning("npu0pe9", "old.furiosa.ai/npu") == known(place(W0.key, "0-1"), place(R0.key, "0-7"))
    assert meaning("npu1pe9-12", FOREIGN) == NOTHING


def test_a_uuid_or_address_of_no_card_of_this_host_names_nothing() -> None:
    gone = "00000009-0000-40B1-9E86-000000000009"
    for device_id in (gone, "0000:99:00.0"):
        for resource in (WARBOY, FOREIGN):
            assert meaning(device_id, resource) == NOTHING


def test_a_uuid_or_address_may_be_that_of_a_card_that_does_not_say_its_own() -> None:
    silent = KnownCard(Device(5, Arch.WARBOY))
    cards = (*CARDS, silent, KnownCard(Device(6, Arch.RENEGADE)))
    for device_id in ("00000009-0000-40B1-9E86-000000000009", "0000:99:00.0"):
        assert meaning(device_id, WARBOY, cards) == Meaning(frozenset({place((Arch.WARBOY, 5), "0-1")}), is_known=False)
        assert meaning(device_id, FOREIGN, cards) == NOTHING


# -- no known scheme --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device_id", ["", "0", "npu-0", "npu300", "npu0pe", "npu00pe0", "npu0pe0-1\n", "GPU-1", "../x"]
)
def test_an_unknown_id_of_an_npu_resource_may_mean_every_card_of_its_families(device_id: str) -> None:
    every = {Arch.WARBOY: {place(W0.key, "0-1"), place(W1.key, "0-1")}, Arch.RENEGADE: {place(R0.key, "0-7")}}
    assert meaning(device_id) == Meaning(frozenset(every[Arch.WARBOY]), is_known=False)
    assert meaning(device_id, "furiosa.ai/npu") == Meaning(frozenset().union(*every.values()), is_known=False)


@pytest.mark.parametrize("device_id", ["", "npu0", "npu-0", "WBYB0236FH000001", "eth0", "npu0pe0 "])
def test_other_resources_have_ids_of_their_own_that_mean_no_npu(device_id: str) -> None:
    assert meaning(device_id, FOREIGN) == NOTHING


def test_a_resource_under_another_domain_is_known_by_its_setting() -> None:
    claim = Claim("example.com/accelerator", "card-one")
    found = meaning_of(claim, CARDS, {Arch.RENEGADE: "example.com/accelerator"})
    assert found == Meaning(frozenset({place(R0.key, "0-7")}), is_known=False)


# -- properties -------------------------------------------------------------------------------------------------------

RESOURCE_NAMES = st.sampled_from([WARBOY, RENEGADE, "old.furiosa.ai/npu", "furiosa.ai/rngd", "npu.furiosa.ai", FOREIGN])
PIECES = ["npu", "0", "1", "300", "pe", "-", ":", ".", "_cores_", UUID, UUID2, "0001:65:00.0", "WBYB0236FH000001"]
IDS = st.text(max_size=30) | st.lists(st.sampled_from([*PIECES, "9" * 5000, "\ud800", "٣", "\n"]), max_size=6).map(
    "".join
)
HOSTS = st.lists(
    st.sampled_from([*CARDS, KnownCard(Device(2, Arch.WARBOY)), KnownCard(Device(3, Arch.RENEGADE))]), unique=True
).map(tuple)


@given(device_id=IDS, resource=RESOURCE_NAMES | st.text(max_size=20), cards=HOSTS)
def test_any_id_of_any_resource_has_a_meaning_within_the_cards_cores(
    device_id: str, resource: str, cards: tuple[KnownCard, ...]
) -> None:
    found = meaning(device_id, resource, cards)
    assert all(arch_spec(each.card[0]).cores.encloses(each.cores) for each in found.places)
    if not found.is_known:
        assert is_of_domain(resource) or resource in RESOURCES.values()


@given(device_id=IDS, resource=RESOURCE_NAMES, cards=HOSTS)
def test_one_more_card_never_takes_a_known_meaning_away(
    device_id: str, resource: str, cards: tuple[KnownCard, ...]
) -> None:
    fewer = meaning(device_id, resource, cards)
    if fewer.is_known:
        assert fewer.places <= meaning(device_id, resource, (*cards, KnownCard(Device(9, Arch.WARBOY)))).places


@given(index=st.integers(0, 255), cores=st.sampled_from(arch_spec(Arch.RENEGADE).core_files), cards=HOSTS)
def test_the_id_of_a_unit_means_that_unit_whichever_cards_there_are(
    index: int, cores: CoreRange, cards: tuple[KnownCard, ...]
) -> None:
    assert meaning(str(UnitId(index, cores)), RENEGADE, cards) == known(Place((Arch.RENEGADE, index), cores))
