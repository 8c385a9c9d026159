"""No card is dropped from view because something of it could not be read."""

import glob
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.errors import Reason
from npu_core.health import HealthStatus, judge
from npu_core.parse.mgmt import IDENTITY_ATTRIBUTES
from npu_core.testing import EACCES, EIO, ENODEV, FakeHost, Fault, FaultyFS, garbage, rngd, warboy

FAULTS = {
    "EIO": (EIO, Reason.IO),
    "EACCES": (EACCES, Reason.ACCESS),
    "ENODEV": (ENODEV, Reason.GONE),
    "garbage": (garbage(), Reason.FORMAT),
}
FIELDS = {
    "device_type": ("product",),
    "soc_rev": ("soc_rev", "product"),
    "device_uuid": ("uuid",),
    "device_sn": ("serial",),
    "busname": ("pci", "numa_node", "physical_function"),
    "dev": ("dev",),
    "version": ("driver",),
    "fw_version": ("firmware",),
    "platform_type": (),
    "numa_node": ("numa_node",),
    "physfn": ("physical_function",),
}
"""What a device does not know if an attribute cannot be read."""

ALL_FIELDS = {field for fields in FIELDS.values() for field in fields}
OF_THE_PCI_FUNCTION = ("numa_node", "physfn")
VIRTUAL = warboy(0, pci="0000:17:00.1", physical_function="0000:17:00.0")

every_fault = pytest.mark.parametrize(("fault", "reason"), list(FAULTS.values()), ids=list(FAULTS))
every_attribute = pytest.mark.parametrize("attribute", list(FIELDS))


def look(root: Path, pattern: str, fault: Fault) -> tuple[Device, ...]:
    fs = FaultyFS()
    fs.put(pattern, fault)
    inventory = FakeHost(root, VIRTUAL, warboy(1), rngd(0)).open(fs).inventory()
    assert inventory.rejected == ()
    return inventory.devices


def test_every_attribute_that_identifies_a_card_is_tried() -> None:
    assert {*IDENTITY_ATTRIBUTES, *OF_THE_PCI_FUNCTION} == set(FIELDS)


@every_attribute
@every_fault
def test_a_card_is_kept_and_says_which_attribute_could_not_be_read(
    tmp_path: Path, attribute: str, fault: Fault, reason: Reason
) -> None:
    directory = VIRTUAL.pci if attribute in OF_THE_PCI_FUNCTION else "npu0_mgmt"
    pattern = f"*/{directory}/{attribute}"
    device, *others = look(tmp_path, pattern, fault)
    (failure,) = device.unreadable
    assert (failure.card, failure.subject, failure.reason) == ("npu0", attribute, reason)
    unknown = {field for field in ALL_FIELDS if getattr(device, field) is None}
    assert unknown == set(FIELDS[attribute])
    assert len(device.files) == 12
    assert [other.unreadable for other in others] == [(), ()]


@every_fault
def test_a_card_of_which_nothing_can_be_read_is_still_a_card(tmp_path: Path, fault: Fault, reason: Reason) -> None:
    device, *_ = look(tmp_path, "*/npu0_mgmt/*", fault)
    assert (device.key, len(device.files)) == ((Arch.WARBOY, 0), 12)
    assert [(failure.subject, failure.reason) for failure in device.unreadable] == [
        (name, reason) for name in IDENTITY_ATTRIBUTES
    ]
    assert {getattr(device, field) for field in ALL_FIELDS} == {None}


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    (tmp_path / "sys/class/npu_mgmt/npu0_mgmt/device_sn").write_bytes(b"\xff\xff\xff")
    (device,) = host.open().inventory().devices
    assert [(failure.subject, failure.reason) for failure in device.unreadable] == [("device_sn", Reason.FORMAT)]


@pytest.fixture(scope="module")
def busy_host() -> Iterator[FakeHost]:
    with tempfile.TemporaryDirectory(prefix="npu-test-") as root:
        yield FakeHost(Path(root), warboy(0), warboy(1), warboy(10), rngd(0), rngd(1))


@pytest.fixture(scope="module")
def paths(busy_host: FakeHost) -> list[str]:
    """Every file that is read to enumerate the host."""
    fs = FaultyFS()
    busy_host.open(fs).inventory()
    return sorted(set(fs.reads))


@given(data=st.data())
@settings(max_examples=40)
def test_no_combination_of_faults_hides_a_card(busy_host: FakeHost, paths: list[str], data: st.DataObject) -> None:
    faulty = data.draw(st.dictionaries(st.sampled_from(paths), st.sampled_from(sorted(FAULTS)), max_size=25))
    fs = FaultyFS()
    for path, fault in faulty.items():
        fs.put(glob.escape(path), FAULTS[fault][0])
    inventory = busy_host.open(fs).inventory()
    assert [device.key for device in inventory.devices] == [
        (card.plan.arch, card.plan.index) for card in busy_host.cards
    ]
    # Without an address there is no numa_node to ask for.
    reached = set(faulty) & set(fs.reads)
    assert len(inventory.unreadable) == len(reached)


@given(data=st.data())
@settings(max_examples=40)
def test_no_combination_of_faults_makes_a_look_fail(busy_host: FakeHost, data: st.DataObject) -> None:
    fs = FaultyFS()
    pieces = [
        *(
            "*",
            "*/npu0_mgmt/*",
            "*/npu1_mgmt/alive",
            "*hwmon*",
            "*_label",
            "*/name",
            "*/dev",
            "*/dev/rngd",
            "*/class/*",
        ),
    ]
    for pattern in data.draw(st.lists(st.sampled_from(pieces), unique=True, max_size=4)):
        fs.put(pattern, FAULTS[data.draw(st.sampled_from(sorted(FAULTS)))][0])
    host = busy_host.open(fs)
    for device in busy_host.open().inventory().devices:
        assert judge(host.vitals(device)).status in HealthStatus
        assert host.readings(device).unreadable is not None
    for found in busy_host.open().find():
        assert host.identify(found).arch is found.arch
