"""One cheap look at a card: is it there, is it alive, are its files in place."""

from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.errors import AccessDeniedError, FormatError, GoneError, HostError, ReadFailedError
from npu_core.health import HealthStatus, Vitals, judge
from npu_core.testing import EACCES, EIO, ENODEV, CardPlan, FakeHost, Fault, FaultyFS, garbage, rngd, warboy

every_family = pytest.mark.parametrize(
    "plan", [warboy(0), rngd(0), rngd(0, driver="1.0.0, 0abcdef")], ids=["warboy", "rngd", "rngd of 2024"]
)


def look(host: FakeHost, fs: FaultyFS | None = None) -> Vitals:
    """What one look at the only card sees, after it was enumerated in its best days."""
    plan = host.cards[0].plan
    device = FakeHost(host.root / "before", plan).open().inventory().devices[0]
    return host.open(fs).vitals(device)


@every_family
def test_a_card_in_good_order_is_present_alive_and_whole(tmp_path: Path, plan: CardPlan) -> None:
    assert look(FakeHost(tmp_path, plan)) == Vitals(present=True, alive=True)


@every_family
def test_a_dead_card_is_present_and_not_alive(tmp_path: Path, plan: CardPlan) -> None:
    host = FakeHost(tmp_path, plan)
    host.cards[0].die()
    assert look(host) == Vitals(present=True, alive=False)
    host.cards[0].revive()
    assert look(host) == Vitals(present=True, alive=True)


@every_family
def test_a_driver_that_says_nothing_of_life_is_no_evidence(tmp_path: Path, plan: CardPlan) -> None:
    host = FakeHost(tmp_path, plan)
    for name in ("alive", "device_state"):
        host.cards[0].remove_attribute(name)
    assert look(host) == Vitals(present=True, alive=None)
    assert judge(look(host)).status is HealthStatus.HEALTHY


@every_family
@pytest.mark.parametrize(
    ("fault", "leaf", "status"),
    [
        (EIO, ReadFailedError, HealthStatus.UNKNOWN),
        (EACCES, AccessDeniedError, HealthStatus.UNKNOWN),
        (ENODEV, GoneError, HealthStatus.UNHEALTHY),
        (garbage(), FormatError, HealthStatus.UNKNOWN),
        (garbage(""), FormatError, HealthStatus.UNKNOWN),
    ],
    ids=["EIO", "EACCES", "ENODEV", "garbage", "empty"],
)
def test_why_the_life_of_a_card_cannot_be_read_is_part_of_the_answer(
    tmp_path: Path, plan: CardPlan, fault: Fault, leaf: type[HostError], status: HealthStatus
) -> None:
    fs = FaultyFS()
    for name in ("alive", "device_state"):
        fs.put(f"*mgmt/{name}", fault)
    seen = look(FakeHost(tmp_path, plan), fs)
    assert seen.present
    assert type(seen.alive) is leaf
    assert seen.alive.path is not None
    assert judge(seen).status is status


def test_device_files_that_went_away_are_named_in_order(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    for suffix in ("pe1", "ch0", ""):
        host.cards[0].remove_file(suffix)
    assert look(host) == Vitals(present=True, alive=True, missing_files=("npu0ch0", "npu0pe1", "npu0"))
    for suffix in ("pe1", "ch0", ""):
        host.cards[0].restore_file(suffix)
    assert look(host) == Vitals(present=True, alive=True)


@every_family
def test_a_card_that_never_had_a_core_file_here_lacks_every_one(tmp_path: Path, plan: CardPlan) -> None:
    host = FakeHost(tmp_path, plan)
    host.cards[0].remove_files()
    (device,) = host.open().inventory().devices
    seen = host.open().vitals(device)
    assert seen == Vitals(
        present=True, alive=True, missing_files=tuple(f"npu0pe{cores}" for cores in plan.spec.core_files)
    )
    assert judge(seen).status is HealthStatus.UNHEALTHY
    host.cards[0].restore_file("pe0")
    assert host.open().vitals(device) == Vitals(present=True, alive=True)


def test_a_core_file_that_cannot_be_looked_at_is_not_missing(tmp_path: Path) -> None:
    host, fs = FakeHost(tmp_path, warboy(0)), FaultyFS()
    fs.put("*/dev/npu0pe*", EACCES)
    (device,) = host.open(fs).inventory().devices
    assert host.open(fs).vitals(device) == Vitals(present=True, alive=True)


def test_a_dead_card_is_dead_even_if_its_device_files_cannot_be_listed(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    (device,) = host.open().inventory().devices
    host.card(Arch.WARBOY, 0).die()
    fs = FaultyFS()
    fs.put("*/dev", EACCES)
    assert host.open(fs).vitals(device) == Vitals(present=True, alive=False)


@pytest.mark.parametrize("pattern", ["*/class/npu_mgmt", "*/dev"])
def test_a_directory_that_cannot_be_listed_is_no_absence(tmp_path: Path, pattern: str) -> None:
    fs = FaultyFS()
    fs.put(pattern, EIO)
    seen = look(FakeHost(tmp_path, warboy(0)), fs)
    assert (seen.present, type(seen.alive), seen.missing_files) == (True, ReadFailedError, ())
    assert judge(seen).status is HealthStatus.UNKNOWN


def test_one_look_reads_one_attribute(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    devices = host.open().inventory().devices
    for device, name in zip(devices, ("npu0_mgmt/alive", "rngd!npu0mgmt/device_state"), strict=True):
        fs = FaultyFS()
        host.open(fs).vitals(device)
        assert [path.endswith(name) for path in fs.reads] == [True]


class Listings(FaultyFS):
    """A file system that notes what is listed, and what of it could not be."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []

    def list_dir(self, path: str) -> tuple[str, ...]:
        self.listed.append(path.rpartition("/")[2])
        return super().list_dir(path)


def test_a_glance_at_many_cards_lists_each_directory_once(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, *(warboy(index) for index in range(8)))
    devices = host.open().inventory().devices
    host.card(Arch.WARBOY, 3).die()
    host.card(Arch.WARBOY, 5).disappear()
    host.card(Arch.WARBOY, 6).remove_file("ch0")
    fs = Listings()
    glance = host.open(fs).glance()
    assert [glance.vitals(device) for device in devices] == [host.open().vitals(device) for device in devices]
    assert fs.listed == ["npu_mgmt", "dev"]


def test_the_next_glance_sees_what_has_changed(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    view = host.open()
    (device,) = view.inventory().devices
    assert view.glance().vitals(device).present
    host.card(Arch.WARBOY, 0).disappear()
    assert not view.glance().vitals(device).present


def test_a_directory_that_could_not_be_listed_is_listed_again_in_the_same_glance(tmp_path: Path) -> None:
    host, fs = FakeHost(tmp_path, warboy(0)), FaultyFS()
    glance = host.open(fs).glance()
    (device,) = host.open().inventory().devices
    fs.put("*/class/npu_mgmt", EIO)
    assert isinstance(glance.vitals(device).alive, ReadFailedError)
    fs.clear()
    assert glance.vitals(device) == Vitals(present=True, alive=True)
