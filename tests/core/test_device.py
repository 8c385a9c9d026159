"""Cards and their device files as values."""

from dataclasses import replace

import pytest
from hypothesis import given

from npu_core.arch import Arch, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import (
    ComponentVersion,
    Device,
    Inventory,
    PciAddress,
    Rejected,
    file_order,
)
from npu_core.errors import FormatError, Reason, Unreadable
from npu_core.parse.devfs import parse_device_file
from testkit.strategies import attribute_texts, devices, pci_addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0000:6d:00.0", PciAddress(0, 0x6D, 0, 0)),
        ("0000:6D:00.0", PciAddress(0, 0x6D, 0, 0)),
        ("0000:00:03.0", PciAddress(0, 0, 3, 0)),
        ("10000:e1:1f.7", PciAddress(0x10000, 0xE1, 0x1F, 7)),
    ],
)
def test_a_pci_address_is_read_in_any_case(text: str, address: PciAddress) -> None:
    assert PciAddress.parse(text) == address
    assert str(address) == text.lower()


@pytest.mark.parametrize(
    "text",
    ["", "6d:00.0", "0000:6d:00", "0000:6d:00.8", "0000:6d:20.0", "0000:6d:00.0 ", "000:6d:00.0", "0000.6d:00.0",
     "gggg:6d:00.0", "123456789:00:00.0", "0000:6d:00.0\n"],
)  # fmt: skip
def test_what_is_no_pci_address_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        PciAddress.parse(text)
    assert (caught.value.text, caught.value.expected) == (text, "a PCI address such as 0000:6d:00.0")


@given(pci_addresses())
def test_parsing_the_text_of_a_pci_address_gives_it_back(address: PciAddress) -> None:
    assert PciAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "numbers", "reference", "number"),
    [
        ("1.9.2, 3def9c2", (1, 9, 2), "3def9c2", "1.9.2"),
        ("1.6.0, c1bebfd", (1, 6, 0), "c1bebfd", "1.6.0"),
        ("2026.3.1, e28c5c0\n", (2026, 3, 1), "e28c5c0", "2026.3.1"),
        ("2025.4.0-dev2+0e9e56a", (2025, 4, 0), None, "2025.4.0-dev2+0e9e56a"),
        ("1.7.0, 4dfed1852e7b", (1, 7, 0), "4dfed1852e7b", "1.7.0"),
        ("2026.1.0~rc1,abc", (2026, 1, 0), "abc", "2026.1.0~rc1"),
        ("1.0.0", (1, 0, 0), None, "1.0.0"),
        ("1.0.0,", (1, 0, 0), None, "1.0.0"),
        ("1.4", (1, 4, None), None, "1.4"),
        ("7", (7, None, None), None, "7"),
        ("1.2.3.4", (1, 2, 3), None, "1.2.3.4"),
        ("123456789.123456789.123456789", (123456789,) * 3, None, "123456789.123456789.123456789"),
        ("1234567890.1.1", (None, None, None), None, "1234567890.1.1"),
        ("1.1234567890.1", (1, None, None), None, "1.1234567890.1"),
        ("1.2.1234567890", (1, 2, None), None, "1.2.1234567890"),
        ("1.", (1, None, None), None, "1."),
        ("1.2.", (1, 2, None), None, "1.2."),
        ("1.0.0 , abc", (1, 0, 0), "abc", "1.0.0"),
        ("v1.2.3", (None, None, None), None, "v1.2.3"),
        ("garbage", (None, None, None), None, "garbage"),
        (", abc", (None, None, None), "abc", ""),
        ("", (None, None, None), None, ""),
        ("9" * 5000, (None, None, None), None, "9" * 5000),
    ],
)
def test_a_version_is_read_as_far_as_it_goes(
    text: str, numbers: tuple[int | None, int | None, int | None], reference: str | None, number: str
) -> None:
    version = ComponentVersion.parse(text)
    assert (version.major, version.minor, version.patch) == numbers
    assert (version.reference, version.number) == (reference, number)
    assert str(version) == version.raw == text.strip()


@given(attribute_texts())
def test_a_versions_text_is_never_lost(text: str) -> None:
    version = ComponentVersion.parse(text)
    assert version.raw == text.strip()
    assert ComponentVersion.parse(str(version)) == version


@pytest.mark.parametrize(
    ("arch", "name", "path"),
    [
        (Arch.WARBOY, "npu0", "/dev/npu0"),
        (Arch.WARBOY, "npu0pe0-1", "/dev/npu0pe0-1"),
        (Arch.WARBOY, "npu12_mgmt", "/dev/npu12_mgmt"),
        (Arch.RENEGADE, "npu0mgmt", "/dev/rngd/npu0mgmt"),
        (Arch.RENEGADE, "npu3ch0r", "/dev/rngd/npu3ch0r"),
    ],
)
def test_a_device_file_has_the_path_the_host_gives_it(arch: Arch, name: str, path: str) -> None:
    file = parse_device_file(arch_spec(arch), name)
    assert (file.name, file.path) == (name, path)


def test_only_files_of_core_ranges_are_pe_files() -> None:
    names = ["npu0", "npu0_mgmt", "npu0ch0", "npu0pe0", "npu0pe0-1"]
    files = [parse_device_file(arch_spec(Arch.WARBOY), name) for name in names]
    assert [file.name for file in files if file.is_pe_file] == ["npu0pe0", "npu0pe0-1"]


def test_files_are_ordered_card_first_then_narrow_before_wide() -> None:
    names = ["npu0pe0-1", "npu0", "npu0pe1", "npu0ch1", "npu0z", "npu0_mgmt", "npu0pe0", "npu0ch0", "npu0_bar0"]
    files = [parse_device_file(arch_spec(Arch.WARBOY), name) for name in names]
    assert [file.name for file in sorted(files, key=file_order)] == [
        "npu0_bar0", "npu0_mgmt", "npu0ch0", "npu0ch1", "npu0z", "npu0pe0", "npu0pe1", "npu0pe0-1", "npu0",
    ]  # fmt: skip


@given(devices())
def test_a_card_finds_its_files_by_name(device: Device) -> None:
    assert all(device.file(file.name) is file for file in device.files)
    assert device.file(f"npu{device.index}nothing") is None


@given(device=devices())
def test_a_card_lacks_the_files_that_its_family_can_have_and_the_card_has_not(device: Device) -> None:
    possible = set(device.spec.granted_suffixes) | {f"pe{cores}" for cores in device.spec.core_files}
    there = {file.suffix for file in device.files}
    assert set(device.absent_files) == {device.name + suffix for suffix in possible - there}
    assert len(device.absent_files) == len(set(device.absent_files))


@given(device=devices())
def test_a_card_can_be_opened_if_a_core_file_is_there_or_could_not_be_looked_at(device: Device) -> None:
    bare = replace(device, files=tuple(file for file in device.files if not file.is_pe_file))
    assert device.has_core_file is (device.files != bare.files)
    for name, expected in (("npu0pe0", True), ("npu0_mgmt", False)):
        path = f"/dev/{name}".replace("npu0", device.name)
        unread = Unreadable(device.name, path, Reason.ACCESS, "EACCES")
        assert replace(bare, unreadable=(unread,)).has_core_file is expected


def test_cards_of_two_families_may_share_a_name_but_not_a_key() -> None:
    one, other = Device(0, Arch.WARBOY), Device(0, Arch.RENEGADE)
    assert one.name == other.name == "npu0"
    assert one.key != other.key
    assert (one.cores, other.cores) == (CoreRange(0, 1), CoreRange(0, 7))


def test_an_inventory_finds_cards_by_family_and_index() -> None:
    warboy, rngd = Device(0, Arch.WARBOY), Device(0, Arch.RENEGADE)
    inventory = Inventory((warboy, rngd), (Rejected("npu1", Arch.WARBOY, "no"),))
    assert inventory.device(Arch.RENEGADE, 0) is rngd
    assert inventory.device(Arch.WARBOY, 1) is None
