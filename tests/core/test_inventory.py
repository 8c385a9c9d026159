"""Which cards a host has: enumerating declared hosts."""

import errno
import os
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.device import ComponentVersion, Inventory, PciAddress
from npu_core.errors import AccessDeniedError, HostError, MissingError, ReadFailedError, Reason
from npu_core.host import Host
from npu_core.parse.mgmt import IDENTITY_ATTRIBUTES
from npu_core.testing import EACCES, FakeHost, FaultyFS, failing, rngd, warboy
from npu_core.testing.layout import WRITE_ONLY
from npu_core.testing.plan import all_suffixes


def names(inventory: Inventory) -> list[str]:
    return [f"{device.arch} {device.name}" for device in inventory.devices]


def test_a_warboy_card_is_all_that_its_driver_says(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0, pci="0000:6d:00.0", numa_node=1))
    (device,) = host.open().inventory().devices
    assert device.key == (Arch.WARBOY, 0)
    assert device.product == "warboyB0"
    assert device.soc_rev == "B0"
    assert device.uuid == "000001FD-0000-40B1-9E86-000000000000"
    assert device.serial == "WBYB0236FH000000"
    assert device.pci == PciAddress.parse("0000:6d:00.0")
    assert device.numa_node == 1
    assert device.dev == "509:0"
    assert device.driver == ComponentVersion.parse("1.9.2, 3def9c2")
    assert device.firmware == ComponentVersion.parse("1.6.0, c1bebfd")
    assert device.physical_function is None
    assert device.unreadable == ()


@pytest.mark.parametrize("arch", list(Arch))
def test_a_card_has_exactly_the_device_files_of_its_own(tmp_path: Path, arch: Arch) -> None:
    make = {Arch.WARBOY: warboy, Arch.RENEGADE: rngd}[arch]
    host = FakeHost(tmp_path, *(make(index) for index in (0, 1, 10, 12)))
    for device in host.open().inventory().devices:
        expected = {f"npu{device.index}{suffix}" for suffix in all_suffixes(device.spec)}
        assert {file.name for file in device.files} == expected
        assert len(device.files) == len(expected)


def test_every_card_is_found_in_order_of_its_number(tmp_path: Path) -> None:
    indices = [0, 1, 2, 6, 10, 12]
    host = FakeHost(tmp_path, *(warboy(index) for index in reversed(indices)))
    inventory = host.open().inventory()
    assert [device.index for device in inventory.devices] == indices
    assert len({device.uuid for device in inventory.devices}) == len(indices)
    assert inventory.rejected == ()


def test_a_link_to_a_physical_function_that_names_no_address_is_told(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    (tmp_path / "sys/bus/pci/devices/0000:17:00.0/physfn").symlink_to("../elsewhere")
    (device,) = host.open().inventory().devices
    assert device.physical_function is None
    assert [(item.subject, item.reason) for item in device.unreadable] == [("physfn", Reason.FORMAT)]


def test_finding_cards_comes_before_asking_them_anything(tmp_path: Path) -> None:
    fs = FaultyFS()
    host = FakeHost(tmp_path, warboy(0), rngd(0)).open(fs)
    found = host.find()
    assert [(card.arch, card.name, card.managed) for card in found] == [
        (Arch.WARBOY, "npu0", True),
        (Arch.RENEGADE, "npu0", True),
    ]
    assert fs.reads == []
    assert tuple(host.identify(card) for card in found) == host.inventory().devices


def test_empty_attributes_are_unknown_and_no_failure(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0, uuid="", serial="", firmware="", soc_rev=""))
    (device,) = host.open().inventory().devices
    assert (device.uuid, device.serial, device.firmware, device.soc_rev) == (None, None, None, None)
    assert (device.product, device.unreadable) == ("warboy", ())


def test_attributes_that_a_driver_does_not_offer_are_unknown_and_no_failure(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    for name in IDENTITY_ATTRIBUTES[1:]:
        host.card(Arch.WARBOY, 0).remove_attribute(name)
    (device,) = host.open().inventory().devices
    assert (device.product, device.pci, device.driver, device.unreadable) == (None, None, None, ())
    assert len(device.files) == 12


def test_a_card_without_a_single_attribute_is_kept_and_says_so(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    for name in IDENTITY_ATTRIBUTES:
        host.card(Arch.WARBOY, 0).remove_attribute(name)
    (device,) = host.open().inventory().devices
    assert [(item.subject, item.reason) for item in device.unreadable] == [("management attributes", Reason.MISSING)]


@pytest.mark.parametrize(("numa_node", "expected"), [(0, 0), (1, 1), (-1, None), (None, None)])
def test_a_machine_may_not_say_where_a_card_is(tmp_path: Path, numa_node: int | None, expected: int | None) -> None:
    host = FakeHost(tmp_path, warboy(0, numa_node=numa_node))
    (device,) = host.open().inventory().devices
    assert (device.numa_node, device.unreadable) == (expected, ())


def test_a_card_of_another_maker_is_rejected_with_the_reason(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    host.card(Arch.WARBOY, 1).set_attribute("platform_type", "VITIS")
    inventory = host.open().inventory()
    assert names(inventory) == ["warboy npu0"]
    (rejected,) = inventory.rejected
    assert (rejected.name, rejected.arch) == ("npu1", Arch.WARBOY)
    assert rejected.reason == "platform_type is 'VITIS', expected 'FuriosaAI'"


@pytest.mark.parametrize("device_type", ["U250", "RNGD"])
def test_a_kind_of_card_that_is_not_of_the_family_is_rejected_with_the_reason(tmp_path: Path, device_type: str) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.card(Arch.WARBOY, 0).set_attribute("device_type", device_type)
    inventory = host.open().inventory()
    assert inventory.devices == ()
    assert inventory.rejected[0].reason == f"unsupported device type {device_type!r}, expected one of warboy"


def test_device_files_without_a_management_directory_are_rejected_with_the_reason(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(1))
    (tmp_path / "sys/class/npu_mgmt/npu0_mgmt").unlink()
    (tmp_path / "sys/class/rngd_mgmt/rngd!npu1mgmt").unlink()
    inventory = host.open().inventory()
    assert inventory.devices == ()
    assert [(rejected.name, rejected.arch, rejected.reason) for rejected in inventory.rejected] == [
        ("npu0", Arch.WARBOY, "it has device files, but /sys/class/npu_mgmt/npu0_mgmt does not exist"),
        ("npu1", Arch.RENEGADE, "it has device files, but /sys/class/rngd_mgmt/rngd!npu1mgmt does not exist"),
    ]


def test_a_family_without_its_device_directory_has_cards_without_files(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, rngd(0))
    (tmp_path / "dev/rngd").rename(tmp_path / "dev/elsewhere")
    (device,) = host.open().inventory().devices
    assert device.files == ()


def test_plain_files_and_strangers_in_dev_are_no_device_files(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    before = host.open().inventory()
    dev = tmp_path / "dev"
    for name in ("npu1", "npu1pe0", "npu0pe2"):
        (dev / name).write_text("not a device", encoding="utf-8")
    (dev / "npu2").mkdir()
    (dev / "npu3").symlink_to("nowhere")
    for name in ("null", "ttyNPU0", "npu", "npu01", "npu256", "npu1234", "npuX", "npu0pe0-7", "xnpu4"):
        (dev / name).symlink_to(os.devnull)
    assert host.open().inventory() == before


def test_strangers_in_a_class_directory_are_no_cards(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    before = host.open().inventory()
    for entry in ("npu_mgmt/npu1", "npu_mgmt/npu1pe0", "npu_mgmt/npu01_mgmt", "npu_mgmt/version", "npu_mgmt/npu2mgmt"):
        (tmp_path / "sys/class" / entry).mkdir()
    for entry in ("rngd_mgmt/npu1mgmt", "rngd_mgmt/rngd!npu1_mgmt", "rngd_mgmt/rngd!"):
        (tmp_path / "sys/class" / entry).mkdir()
    assert host.open().inventory() == before


@pytest.mark.parametrize(
    ("pattern", "code", "leaf"),
    [
        ("*/sys", errno.EACCES, AccessDeniedError),
        ("*/dev", errno.EIO, ReadFailedError),
        ("*/class/npu_mgmt", errno.EACCES, AccessDeniedError),
        ("*/class/rngd_mgmt", errno.EIO, ReadFailedError),
        ("*/dev/rngd", errno.EACCES, AccessDeniedError),
    ],
)
def test_a_directory_that_cannot_be_listed_is_never_an_empty_inventory(
    tmp_path: Path, pattern: str, code: int, leaf: type[HostError]
) -> None:
    fs = FaultyFS()
    fs.put(pattern, failing(code))
    host = FakeHost(tmp_path, warboy(0), rngd(0)).open(fs)
    with pytest.raises(leaf) as caught:
        host.inventory()
    assert caught.value.path is not None
    assert caught.value.path.endswith(pattern.removeprefix("*"))


def test_a_device_file_that_cannot_be_looked_at_is_named_and_costs_no_other(tmp_path: Path) -> None:
    fs = FaultyFS()
    fs.put("*/dev/npu0pe0", EACCES)
    first, second = FakeHost(tmp_path, warboy(0), warboy(1)).open(fs).inventory().devices
    assert first.file("npu0pe0") is None
    assert [(item.subject, item.reason) for item in first.unreadable] == [("/dev/npu0pe0", Reason.ACCESS)]
    assert (len(second.files), second.unreadable) == (12, ())


def test_a_link_in_a_circle_among_the_device_files_costs_no_card(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    (tmp_path / "dev/npu9").symlink_to("npu9")
    inventory = host.open().inventory()
    assert [device.name for device in inventory.devices] == ["npu0"]
    assert [card.name for card in inventory.rejected] == ["npu9"]


def test_a_host_without_the_drivers_has_no_cards(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "dev").mkdir()
    assert Host(str(tmp_path / "sys"), str(tmp_path / "dev")).inventory() == Inventory()


@pytest.mark.parametrize("missing", ["sys", "dev"])
def test_a_root_that_is_not_there_is_an_error_that_names_it(tmp_path: Path, missing: str) -> None:
    FakeHost(tmp_path, warboy(0))
    roots = {"sys": str(tmp_path / "sys"), "dev": str(tmp_path / "dev"), missing: str(tmp_path / "nowhere")}
    with pytest.raises(MissingError) as caught:
        Host(roots["sys"], roots["dev"]).inventory()
    assert caught.value.path == str(tmp_path / "nowhere")


def test_roots_may_end_with_a_slash(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    assert Host(f"{host.sysfs}/", f"{host.devfs}/").inventory() == host.open().inventory()
    assert repr(Host("/host/sys", "/host/dev")) == "Host(sysfs='/host/sys', devfs='/host/dev')"


@pytest.mark.parametrize("arch", list(Arch))
def test_a_card_that_comes_back_is_the_card_it_was(tmp_path: Path, arch: Arch) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    before = host.open().inventory()
    host.card(arch, 0).disappear()
    without = host.open().inventory()
    host.card(arch, 0).reappear()
    assert [device.arch for device in without.devices] == [other for other in Arch if other is not arch]
    assert without.rejected == ()
    assert host.open().inventory() == before


def test_attributes_that_can_only_be_written_are_never_read(tmp_path: Path) -> None:
    fs = FaultyFS()
    host = FakeHost(tmp_path, warboy(0), rngd(0)).open(fs)
    for device in host.inventory().devices:
        host.vitals(device)
        host.readings(device)
        host.uptime(device)
        host.errors(device)
        host.clocks(device)
        host.performance_mode(device)
        host.pe_counters(device, device.cores.split(1)[0])
        for optional in (host.occupancy, host.throttle_reason):
            try:
                optional(device)
            except MissingError:
                assert device.arch is Arch.WARBOY
    host.machine()
    assert len(fs.reads) > 50
    assert not {Path(path).name for path in fs.reads} & set(WRITE_ONLY)


def test_cards_are_read_where_the_links_of_the_class_cannot_be_followed(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    before = host.open().inventory()
    counters = host.open().pe_counters(before.devices[0], before.devices[0].cores)
    directory = tmp_path / "sys/class/npu_mgmt"
    for link in directory.iterdir():
        link.unlink()
        link.symlink_to("../../nowhere")
    assert host.open().inventory() == before
    assert host.open().alive(before.devices[0])
    assert host.open().pe_counters(before.devices[0], before.devices[0].cores) == counters
