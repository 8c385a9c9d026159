"""Names of device files."""

import pytest
from hypothesis import given

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.errors import FormatError
from npu_core.parse.devfs import parse_card_name, parse_device_file
from npu_core.testing.plan import all_suffixes
from testkit.strategies import arch_specs, attribute_texts, indices

WARBOY = arch_spec(Arch.WARBOY)
RENEGADE = arch_spec(Arch.RENEGADE)


@pytest.mark.parametrize(
    ("name", "index", "suffix"),
    [
        ("npu0", 0, ""),
        ("npu1", 1, ""),
        ("npu10", 10, ""),
        ("npu12pe0", 12, "pe0"),
        ("npu255_mgmt", 255, "_mgmt"),
        ("npu0ch0r", 0, "ch0r"),
        ("npu0pe0-1", 0, "pe0-1"),
        ("npu7_bar4", 7, "_bar4"),
        ("npu7z", 7, "z"),
    ],
)
def test_a_name_is_a_card_and_the_rest(name: str, index: int, suffix: str) -> None:
    assert parse_card_name(name) == (index, suffix)


@pytest.mark.parametrize(
    "name",
    ["", "npu", "npux", "npu-1", "npu00", "npu01pe0", "npu256", "npu1234", "npu0 ", "NPU0", "npu0pe0\n", "ttyNPU",
     "null", "npu0/pe0", "npu0!pe0", "xnpu0", "npu٣"],
)  # fmt: skip
def test_a_name_of_something_else_is_refused(name: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_card_name(name)
    assert (caught.value.text, caught.value.expected) == (name, "a device file such as npu0, npu0pe0-1 or npu0_mgmt")


@pytest.mark.parametrize(
    ("name", "cores"),
    [
        ("npu0", CoreRange(0, 1)),
        ("npu0pe0", CoreRange(0, 0)),
        ("npu0pe1", CoreRange(1, 1)),
        ("npu0pe0-1", CoreRange(0, 1)),
        ("npu0_mgmt", None),
        ("npu0ch3", None),
        ("npu0_bar0", None),
        ("npu0somethingnew", None),
    ],
)
def test_a_warboy_file_opens_the_cores_in_its_name(name: str, cores: CoreRange | None) -> None:
    file = parse_device_file(WARBOY, name)
    assert (file.card, file.name, file.cores, file.directory) == ("npu0", name, cores, "")


@pytest.mark.parametrize("name", ["npu0pe2", "npu0pe0-2", "npu0pe", "npu0pe1-0", "npu0pe00"])
def test_a_file_of_cores_that_a_warboy_has_not_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        parse_device_file(WARBOY, name)


def test_an_rngd_file_may_open_any_range_of_eight_cores() -> None:
    file = parse_device_file(RENEGADE, "npu0pe4-7")
    assert (file.cores, file.directory) == (CoreRange(4, 7), "rngd")
    with pytest.raises(FormatError, match="a device file of the 8 PEs of a renegade card"):
        parse_device_file(RENEGADE, "npu0pe7-8")


@given(arch_specs, indices)
def test_every_name_that_a_simulated_card_has_is_read_back(spec: ArchSpec, index: int) -> None:
    names = [f"npu{index}{suffix}" for suffix in all_suffixes(spec)]
    files = [parse_device_file(spec, name) for name in names]
    assert [file.name for file in files] == names
    assert {str(file.cores) for file in files if file.is_pe_file} == {str(cores) for cores in spec.core_files}


@given(attribute_texts())
def test_a_name_that_is_read_can_be_written_again(text: str) -> None:
    try:
        index, suffix = parse_card_name(text)
    except FormatError:
        return
    assert f"npu{index}{suffix}" == text
    assert not suffix[:1].isdigit()
