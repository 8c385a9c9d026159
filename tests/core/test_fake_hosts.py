"""Simulated hosts look like real ones, and what happens to a card looks as the drivers would show it."""

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.device import Device
from npu_core.errors import FormatError, HostError, UsageError
from npu_core.health import Vitals
from npu_core.identity import is_same_card, is_same_function
from npu_core.sensors import Quantity
from npu_core.testing import CardPlan, FakeCard, FakeHost, ImpossibleHostError, Simulation, rngd, second_entry, warboy
from npu_core.testing.layout import WRITE_ONLY
from testkit.waiting import PATIENCE, until

PE0 = CoreRange(0, 0)


def only_card(host: FakeHost) -> tuple[FakeCard, Device]:
    (device,) = host.open().inventory().devices
    return host.cards[0], device


def tree(root: Path) -> dict[str, str]:
    """Every path of the tree, and what is there."""
    return {
        str(path.relative_to(root)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text(encoding="utf-8")
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_classes_hold_relative_links_into_the_virtual_devices(tmp_path: Path) -> None:
    FakeHost(tmp_path, warboy(0), rngd(0))
    classes = tmp_path / "sys/class"
    assert {path.name for path in (classes / "npu_mgmt").iterdir()} == {
        "npu0", "npu0_mgmt", "npu0_bar0", "npu0_bar2", "npu0_bar4", "npu0pe0", "npu0pe1", "npu0pe0-1",
    }  # fmt: skip
    assert (classes / "rngd_mgmt/rngd!npu0mgmt").readlink() == Path("../../devices/virtual/rngd_mgmt/rngd!npu0mgmt")
    links = [target for target in tree(tmp_path).values() if target.startswith("-> ")]
    assert {target for target in links if target.startswith("-> /")} == {"-> /dev/null"}


def test_a_card_is_a_pci_function_bound_to_its_driver(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0, numa_node=1), rngd(0))
    functions = [tmp_path / "sys/bus/pci/devices" / card.plan.pci for card in host.cards]
    names = ("vendor", "device", "class", "numa_node")
    shown = [[(function / name).read_text(encoding="utf-8").strip() for name in names] for function in functions]
    assert shown == [["0x1ed2", "0x0000", "0x120000", "1"], ["0x1ed2", "0x0001", "0x120000", "0"]]
    assert [(function / "driver").resolve().name for function in functions] == ["npu_pdma", "furiosa_rngd"]


def test_no_link_leads_nowhere_whatever_card_went_or_came_back(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1), rngd(0))
    host.cards[0].disappear()
    host.cards[1].renumber_hwmon()
    host.cards[2].disappear()
    host.cards[2].reappear()
    assert [path for path in tmp_path.rglob("*") if path.is_symlink() and not path.exists()] == []
    assert [path for path in tree(tmp_path) if ("npu0" in path and "rngd" not in path) or warboy(0).pci in path] == []


def test_device_files_are_character_devices(tmp_path: Path) -> None:
    FakeHost(tmp_path, warboy(0), rngd(0))
    files = [*tmp_path.glob("dev/npu*"), *tmp_path.glob("dev/rngd/npu*")]
    assert len(files) == 12 + 35
    assert all(stat.S_ISCHR(file.stat().st_mode) for file in files)


def test_device_files_may_be_real_nodes(tmp_path: Path) -> None:
    try:
        host = FakeHost(tmp_path, warboy(0), real_nodes=True)
    except PermissionError:
        pytest.skip("making device nodes needs root")
    assert stat.S_ISCHR((tmp_path / "dev/npu0pe0").lstat().st_mode)
    assert len(host.open().inventory().devices[0].files) == 12


def test_attributes_that_can_only_be_written_have_that_mode(tmp_path: Path) -> None:
    FakeHost(tmp_path, warboy(0))
    directory = tmp_path / "sys/class/npu_mgmt/npu0_mgmt"
    modes = {name: stat.S_IMODE((directory / name).stat().st_mode) for name in (*WRITE_ONLY, "alive")}
    assert modes == {**dict.fromkeys(WRITE_ONLY, 0o200), "alive": 0o644}


def test_what_a_card_does_not_have_cannot_be_set(tmp_path: Path) -> None:
    card = FakeHost(tmp_path, warboy(0)).cards[0]
    with pytest.raises(UsageError):
        card.set_sensor(Quantity.POWER, 99, 0)
    with pytest.raises(UsageError):
        card.set_error("cosmic_rays", 1)


@pytest.mark.parametrize(
    "touch",
    [
        lambda card: card.set_temperature(0),
        lambda card: card.set_sensor(Quantity.POWER, 1, 0),
        lambda card: card.set_perf_regs(PE0, 1, 1, 1),
        lambda card: card.hang("alive"),
        lambda card: card.renumber_hwmon(),
    ],
    ids=["temperature", "sensor", "counters", "hang", "hwmon"],
)
def test_a_card_that_is_away_cannot_be_touched(tmp_path: Path, touch: Callable[[FakeCard], None]) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.cards[0].disappear()
    before = tree(tmp_path)
    with pytest.raises(UsageError):
        touch(host.cards[0])
    assert tree(tmp_path) == before


def test_what_was_set_while_a_card_was_away_shows_when_it_is_back(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    card, device = only_card(host)
    card.disappear()
    card.disappear()
    card.die()
    card.remove_file("ch0")
    card.remove_file("ch1")
    card.restore_file("ch1")
    card.remove_attribute("device_sn")
    assert host.open().vitals(device).present is False
    card.reappear()
    assert host.open().vitals(device) == Vitals(present=True, alive=False, missing_files=("npu0ch0",))
    assert host.open().inventory().devices[0].serial is None
    with pytest.raises(ImpossibleHostError):
        card.reappear()


def test_a_reader_never_sees_half_an_attribute(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    card, device = only_card(host)
    path = tmp_path / "sys/class/npu_mgmt/npu0_mgmt/heartbeat"
    card.set_uptime(7)
    seen: set[str] = set()
    begun, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.is_set():
            seen.add(path.read_text(encoding="utf-8"))
            host.open().uptime(device)
            begun.set()

    reader = threading.Thread(target=watch)
    reader.start()
    assert begun.wait(PATIENCE)
    for _ in range(300):
        card.set_uptime(1234567890)
        card.set_uptime(7)
    ended.set()
    reader.join()
    assert seen <= {"7\n", "1234567890\n"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["dev", "proc", "sys"]


def test_two_threads_may_change_one_host(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    start = threading.Barrier(2)

    def work(card: FakeCard) -> None:
        start.wait()
        for second in range(200):
            card.set_uptime(second * 10 + card.plan.index)

    workers = [threading.Thread(target=work, args=(card,)) for card in host.cards]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [host.open().uptime(device) for device in host.open().inventory().devices] == [1990, 1991]


# -- hanging ----------------------------------------------------------------------------------------------------------


class Look(threading.Thread):
    """One read on a thread of its own, which may take for ever."""

    def __init__(self, read: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.result: object = None
        self._read = read
        self.start()

    def run(self) -> None:
        try:
            self.result = self._read()
        except HostError as error:
            self.result = error

    def ended(self) -> bool:
        """Whether it has come back."""
        return not self.is_alive()


def hangs(root: Path, attribute: str, directory: str = "npu_mgmt/npu0_mgmt") -> bool:
    """Whether who reads an attribute has to wait, in whatever process: it is a pipe that nobody writes to."""
    return (root / "sys/class" / directory / attribute).is_fifo()


@pytest.mark.parametrize(
    "leave",
    [lambda card: card.revive(), lambda card: card.disappear(), lambda card: card.remove_attribute("alive")],
    ids=["revived", "gone", "removed"],
)
def test_a_hung_attribute_keeps_its_readers_until_it_is_set_or_goes(
    tmp_path: Path, leave: Callable[[FakeCard], None]
) -> None:
    host = FakeHost(tmp_path, warboy(0))
    card, device = only_card(host)
    card.hang("alive")
    card.hang("heartbeat")
    assert hangs(tmp_path, "alive")
    looks = [Look(lambda: host.open().alive(device)) for _ in range(2)]
    leave(card)
    until(lambda: all(look.ended() for look in looks), "the readers come back")
    # A reader that came too late to hang has read what is there now.
    assert all(look.result is True or isinstance(look.result, HostError) for look in looks)
    assert card.present is hangs(tmp_path, "heartbeat")


def test_only_the_hung_attribute_hangs(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    card, device = only_card(host)
    card.hang("alive")
    assert host.open().uptime(device) == 14649
    assert host.open().inventory().devices == (device,)
    card.set_attribute("alive", "0")
    assert host.open().alive(device) is False


def test_a_card_that_hung_and_went_comes_back_whole(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    card, device = only_card(host)
    card.hang("alive")
    card.disappear()
    card.reappear()
    assert host.open().vitals(device) == Vitals(present=True, alive=True)


def test_a_reader_that_waits_has_nothing_read_when_the_card_comes_back(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, rngd(0))
    host.cards[0].hang("device_state")
    device = host.open().inventory().devices[0]
    look = Look(lambda: host.open().alive(device))
    # A pipe may be opened for writing, without waiting, only while somebody waits to read from the pipe.
    path = tmp_path / "sys/class/rngd_mgmt/rngd!npu0mgmt/device_state"
    end = until(lambda: _writer(path), "somebody reads")
    assert end is not None
    assert look.is_alive()
    os.close(end)
    until(look.ended, "the reader comes back")
    assert isinstance(look.result, FormatError)


def _writer(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


# -- cards that come --------------------------------------------------------------------------------------------------


def test_a_card_that_returns_under_another_number_is_the_card_that_it_was(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    card, before = host.card(Arch.WARBOY, 0), host.open().inventory().devices[0]
    card.set_attribute("device_sn", "WRITTEN-LATER")
    host.renumber(card, 2)
    other, after = host.open().inventory().devices
    assert (other.name, after.name, host.card(Arch.WARBOY, 2)) == ("npu1", "npu2", card)
    assert (after.uuid, after.serial, after.pci) == (before.uuid, "WRITTEN-LATER", before.pci)
    assert (before.dev, after.dev) == ("509:0", "511:0")
    assert {file.card for file in after.files} == {"npu2"}
    assert len(after.files) == len(before.files)
    assert is_same_card(replace(before, serial=None), after)
    assert not list(tmp_path.rglob("npu0*"))
    card.disappear()
    host.renumber(card, 3)
    assert [device.name for device in host.open().inventory().devices] == ["npu1", "npu3"]


def test_a_number_that_another_card_has_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    host.card(Arch.WARBOY, 1).disappear()
    before = host.open().inventory()
    with pytest.raises(ImpossibleHostError):
        host.renumber(host.card(Arch.WARBOY, 0), 1)
    assert host.open().inventory() == before


def test_a_second_entry_of_a_card_has_the_cards_function_and_device_number(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, second_entry(warboy(0), 1), warboy(0))
    first, second = host.open().inventory().devices
    assert (first.pci, first.dev) == (second.pci, second.dev)
    assert is_same_function(first, second)
    assert len(first.files) == len(second.files) == 12
    Simulation(host).step(1.0)
    host.card(Arch.WARBOY, 1).disappear()
    assert host.open().inventory().devices == (first,)
    host.card(Arch.WARBOY, 1).reappear()
    assert host.open().inventory().devices == (first, second)


def test_a_virtual_function_names_its_card(tmp_path: Path) -> None:
    virtual = warboy(1, pci="0000:17:00.1", physical_function="0000:17:00.0")
    card, function = FakeHost(tmp_path, warboy(0), virtual).open().inventory().devices
    assert (card.physical_function, function.physical_function) == (None, card.pci)
    assert (tmp_path / "sys/bus/pci/devices/0000:17:00.1/physfn/vendor").read_text() == "0x1ed2\n"


@pytest.mark.parametrize("plan", [warboy(0), rngd(0, absent_files=frozenset({"dmar"}))], ids=["warboy", "rngd"])
def test_device_files_may_appear_one_after_another_with_the_channels_last(tmp_path: Path, plan: CardPlan) -> None:
    host = FakeHost(tmp_path)
    card = host.plug(plan, with_files=False)
    seen = []
    for suffix in card.make_files():
        seen.append(suffix)
        (device,) = host.open().inventory().devices
        assert {file.suffix for file in device.files} == set(seen)
    assert sorted(plan.name + suffix for suffix in seen) == sorted(plan.file_names)
    assert all(suffix.startswith("ch") for suffix in seen[-plan.spec.channel_count :])
    assert list(card.make_files()) == []


def test_a_host_may_show_a_card_without_any_of_its_device_files(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    host.card(Arch.WARBOY, 1).remove_files()
    assert [len(device.files) for device in host.open().inventory().devices] == [12, 0]
    host.card(Arch.WARBOY, 1).disappear()
    host.card(Arch.WARBOY, 1).reappear()
    assert [len(device.files) for device in host.open().inventory().devices] == [12, 0]
