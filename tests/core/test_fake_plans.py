"""Simulated hosts are declared as values, and those that no machine could be are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.device import ComponentVersion
from npu_core.errors import UsageError
from npu_core.parse.mgmt import parse_device_state
from npu_core.sensors import Quantity
from npu_core.testing import CardPlan, FakeHost, ImpossibleHostError, SensorPlan, rngd, second_entry, warboy
from npu_core.testing.plan import check_together

TWICE = (SensorPlan(Quantity.POWER, 1, "a", 0), SensorPlan(Quantity.POWER, 1, "b", 0))

IMPOSSIBLE: dict[str, tuple[Callable[[], list[CardPlan]], str]] = {
    "a number below 0": (lambda: [warboy(-1)], "-1"),
    "a number of three bytes": (lambda: [rngd(256)], "256"),
    "no PCI address": (lambda: [warboy(0, pci="6d:00.0")], "6d:00.0"),
    "a PCI address in capitals": (lambda: [warboy(0, pci="0000:6D:00.0")], "0000:6D:00.0"),
    "a card of the other family": (lambda: [warboy(0, device_type="RNGD")], "RNGD"),
    "an unknown family": (lambda: [warboy(0, arch=Arch.RENEGADE)], "Warboy"),
    "a NUMA node below -1": (lambda: [rngd(0, numa_node=-2)], "-2"),
    "files it cannot lack": (lambda: [warboy(0, absent_files=frozenset({"ch9", "dmar"}))], "ch9, dmar"),
    "a sensor twice": (lambda: [warboy(0, sensors=TWICE)], "power channel 1"),
    "a sensor twice on the second chip": (lambda: [warboy(0, extra_sensors=TWICE)], "power channel 1"),
    "a card twice": (lambda: [warboy(0), warboy(0, pci="0000:01:00.0")], "warboy npu0"),
    "two cards in one slot": (lambda: [warboy(0), rngd(0, pci=warboy(0).pci)], "0000:17:00.0"),
    "a virtual function of itself": (lambda: [warboy(0, physical_function="0000:17:00.0")], "0000:17:00.0"),
    "a virtual function on another bus tree": (lambda: [warboy(0, physical_function="0001:17:00.0")], "0001:17:00.0"),
    "a virtual function of no address": (lambda: [warboy(0, physical_function="npu1")], "npu1"),
    "a second entry of itself": (lambda: [second_entry(warboy(0), 0)], "second entry"),
    "a second entry with sensors": (lambda: [warboy(0), warboy(1, entry_of=0)], "second entry"),
    "a second entry of no card": (lambda: [second_entry(warboy(0), 1)], "npu0"),
    "a second entry of a second entry": (
        lambda: [warboy(0), second_entry(warboy(0), 1), second_entry(second_entry(warboy(0), 1), 2)],
        "npu1",
    ),
    "a second entry in another slot": (
        lambda: [warboy(0), replace(second_entry(warboy(0), 1), pci="0000:01:00.0")],
        "npu1",
    ),
    "a file that is no field": (lambda: [warboy(0, colour="red")], "colour"),
}


@pytest.mark.parametrize(("plans", "named"), list(IMPOSSIBLE.values()), ids=list(IMPOSSIBLE))
def test_a_host_that_no_machine_could_be_is_refused_before_anything_is_written(
    tmp_path: Path, plans: Callable[[], list[CardPlan]], named: str
) -> None:
    with pytest.raises(UsageError) as caught:
        FakeHost(tmp_path / "host", *plans())
    assert named in str(caught.value)
    assert not (tmp_path / "host").exists()


def test_a_card_that_could_not_join_the_host_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    before = host.open().inventory()
    with pytest.raises(ImpossibleHostError):
        host.plug(warboy(0, pci="0000:01:00.0"))
    assert host.open().inventory() == before
    assert len(host.cards) == 1
    host.cards[0].disappear()
    with pytest.raises(ImpossibleHostError):  # a card that is away keeps its place
        host.plug(warboy(0))
    with pytest.raises(UsageError):
        host.card(Arch.RENEGADE, 0)


def test_a_plan_is_a_value_that_can_be_changed_into_another() -> None:
    plan = warboy(3)
    assert plan == warboy(3)
    assert replace(plan, serial="") == warboy(3, serial="")
    with pytest.raises(ImpossibleHostError):
        replace(plan, index=300)


def test_cards_of_every_number_can_be_in_one_machine() -> None:
    plans = [make(index) for make in (warboy, rngd) for index in range(256)]
    check_together(plans)
    assert len({plan.uuid for plan in plans}) == len({plan.serial for plan in plans}) == 512


@pytest.mark.parametrize(
    "driver",
    ["1.0.0, 0abcdef", "1.9.2", "20.1.0", "2023.4.1", "2024.1.0, abc", "2026.3.1, e28c5c0", "2025.4.0-dev2+0e9"],
)
def test_a_driver_says_alive_in_the_words_of_its_generation(driver: str) -> None:
    assert parse_device_state(rngd(0, driver=driver).alive_state, ComponentVersion.parse(driver))


def test_a_card_lacks_the_files_it_is_declared_to_lack() -> None:
    plan = warboy(5, absent_files=frozenset({"ch0", ""}))
    assert set(warboy(5).file_names) - set(plan.file_names) == {"npu5ch0", "npu5"}
    assert len(rngd(0).file_names) == 35
