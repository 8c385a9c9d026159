"""How cards are cut into units, what units are called and what their containers are given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import Device
from npu_core.errors import FormatError, UsageError
from npu_core.parse.devfs import parse_device_file
from npu_core.partition import FUSION, SINGLE, Partitioning, Unit, UnitId, partitionings_of, units_of
from npu_core.testing.plan import all_suffixes
from testkit.strategies import devices, partitionings, unit_ids

WARBOY = arch_spec(Arch.WARBOY)
RENEGADE = arch_spec(Arch.RENEGADE)
CHANNELS = ["npu3ch0", "npu3ch1", "npu3ch2", "npu3ch3"]


def card(spec: ArchSpec, index: int = 3, *, without: tuple[str, ...] = ()) -> Device:
    names = (f"npu{index}{suffix}" for suffix in all_suffixes(spec) if suffix not in without)
    return Device(index, spec.arch, files=tuple(parse_device_file(spec, name) for name in names))


def granted(unit: Unit) -> list[str]:
    return sorted(file.name for file in unit.files)


def test_a_family_has_its_policies_with_each_way_of_cutting_once() -> None:
    assert partitionings_of(WARBOY) == (FUSION, SINGLE)
    assert partitionings_of(RENEGADE) == (FUSION, SINGLE, Partitioning(2), Partitioning(4))


def test_warboy_under_single_is_two_units_that_never_get_a_file_of_both_pes() -> None:
    first, second = units_of(card(WARBOY), SINGLE)
    assert (first.id, second.id) == ("npu3pe0", "npu3pe1")
    assert granted(first) == sorted(["npu3_mgmt", *CHANNELS, "npu3pe0"])
    assert granted(second) == sorted(["npu3_mgmt", *CHANNELS, "npu3pe1"])


def test_rngd_under_fusion_is_one_unit_opened_through_two_files() -> None:
    (unit,) = units_of(card(RENEGADE), FUSION)
    assert unit.id == "npu3pe0-7"
    assert [str(cores) for cores in unit.pe_files] == ["0-3", "4-7"]
    assert len(unit.files) == 35


@pytest.mark.parametrize(
    ("policy", "ids"),
    [
        ("Single", ["pe0", "pe1", "pe2", "pe3", "pe4", "pe5", "pe6", "pe7"]),
        ("2", ["pe0-1", "pe2-3", "pe4-5", "pe6-7"]),
        ("4", ["pe0-3", "pe4-7"]),
    ],
)
def test_rngd_is_cut_into_equal_units(policy: str, ids: list[str]) -> None:
    units = units_of(card(RENEGADE), Partitioning.parse(policy))
    assert [unit.id for unit in units] == [f"npu3{part}" for part in ids]


def test_only_files_that_exist_are_granted() -> None:
    (unit,) = units_of(card(WARBOY, without=("ch2", "", "pe0")), FUSION)
    assert granted(unit) == sorted(["npu3_mgmt", "npu3ch0", "npu3ch1", "npu3ch3", "npu3pe1", "npu3pe0-1"])
    assert unit.missing_files == ()


def test_a_unit_names_the_files_without_which_it_is_useless() -> None:
    (fused,) = units_of(card(RENEGADE, without=("pe4-7",)), FUSION)
    first, second = units_of(card(WARBOY, without=("pe1",)), SINGLE)
    assert fused.missing_files == ("npu3pe4-7",)
    assert (first.missing_files, second.missing_files) == ((), ("npu3pe1",))


def test_files_that_a_newer_driver_brings_are_not_granted() -> None:
    newer = Device(0, Arch.RENEGADE, files=(parse_device_file(RENEGADE, "npu0p2pmem"),))
    assert units_of(newer, FUSION)[0].files == ()


@given(st.data())
def test_units_cover_every_pe_exactly_once(data: st.DataObject) -> None:
    device = data.draw(devices())
    units = units_of(device, data.draw(partitionings(device.spec)))
    assert [core for unit in units for core in unit.cores] == list(device.cores)
    assert len({unit.id for unit in units}) == len(units)


@given(st.data())
def test_the_files_a_runtime_opens_cover_a_unit_disjointly(data: st.DataObject) -> None:
    device = data.draw(devices())
    for unit in units_of(device, data.draw(partitionings(device.spec))):
        assert [core for cores in unit.pe_files for core in cores] == list(unit.cores)
        assert all(device.spec.has_file_for(cores) for cores in unit.pe_files)


@given(st.data())
def test_no_unit_is_granted_a_file_of_a_core_that_is_not_its_own(data: st.DataObject) -> None:
    device = data.draw(devices())
    for unit in units_of(device, data.draw(partitionings(device.spec))):
        assert all(file.cores is None or unit.cores.encloses(file.cores) for file in unit.files)
        assert set(unit.files) <= set(device.files)


@given(st.data())
def test_a_fused_unit_of_a_size_with_a_file_is_named_after_that_file(data: st.DataObject) -> None:
    device = data.draw(devices())
    size = data.draw(st.sampled_from(device.spec.unit_sizes))
    for unit in units_of(device, Partitioning(size)):
        assert unit.pe_files == (unit.cores,)


@given(unit_ids())
def test_parsing_a_units_id_gives_it_back(unit_id: UnitId) -> None:
    assert UnitId.parse(str(unit_id)) == unit_id


@pytest.mark.parametrize(
    ("text", "index", "cores"), [("npu0pe0", 0, "0"), ("npu12pe0-1", 12, "0-1"), ("npu255pe4-7", 255, "4-7")]
)
def test_a_unit_id_is_the_name_of_a_device_file(text: str, index: int, cores: str) -> None:
    unit_id = UnitId.parse(text)
    assert unit_id == UnitId(index, CoreRange.parse(cores))
    assert (unit_id.card, str(unit_id)) == (f"npu{index}", text)


@pytest.mark.parametrize(
    "text", ["", "npu0", "npu0pe", "pe0", "npu00pe0", "npu256pe0", "npu0pe1-0", "npu0pe0-", "npu0pe0 ", "NPU0pe0",
             "npu0pe256", "npu-1pe0", "npu0pe0\n", "rngd!npu0pe0", "npu0pe-1", "npu1000pe0"],
)  # fmt: skip
def test_what_is_no_unit_id_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        UnitId.parse(text)


def test_the_files_that_open_a_unit_are_named_by_core_whichever_is_the_widest() -> None:
    unit = Unit(card(RENEGADE), CoreRange(1, 7), ())
    assert [str(cores) for cores in unit.pe_files] == ["1", "2-3", "4-7"]


@pytest.mark.parametrize(
    ("text", "policy", "shown"),
    [
        ("Fusion", FUSION, "Fusion"),
        ("fusion", FUSION, "Fusion"),
        (" SINGLE\n", SINGLE, "Single"),
        ("1", SINGLE, "Single"),
        ("2", Partitioning(2), "2"),
        ("4", Partitioning(4), "4"),
    ],
)
def test_a_policy_is_a_word_or_a_count(text: str, policy: Partitioning, shown: str) -> None:
    assert Partitioning.parse(text) == policy
    assert str(policy) == shown
    assert Partitioning.parse(str(policy)) == policy


@pytest.mark.parametrize("text", ["", "0", "3", "8", "-1", "two", "٢", "2.0", "pe0-1", "9" * 5000])
def test_what_is_no_policy_is_refused_with_the_policies_there_are(text: str) -> None:
    with pytest.raises(FormatError):
        Partitioning.parse(text)


@pytest.mark.parametrize("size", [-1, 0, 3, 8, 16])
def test_a_count_that_no_family_can_be_cut_into_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"^{size} PEs per unit: expected Fusion, Single or"):
        Partitioning(size)


def test_a_policy_may_fit_one_family_only() -> None:
    four = Partitioning(4)
    assert (four.fits(RENEGADE), four.fits(WARBOY)) == (True, False)
    with pytest.raises(UsageError, match="warboy cards cannot be cut into units of 4 PEs, only of 1, 2"):
        units_of(card(WARBOY), four)
