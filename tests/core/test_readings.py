"""What the sensors of a card read, on whatever hwmon chips."""

from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.errors import Reason
from npu_core.sensors import Quantity, Reading, Readings, Sensor, distinct_labels
from npu_core.testing import EACCES, EIO, ENODEV, CardPlan, FakeHost, Fault, FaultyFS, SensorPlan, garbage, rngd, warboy

TWO_TEMPERATURES = (
    SensorPlan(Quantity.TEMPERATURE, 1, "Average", 40_000),
    SensorPlan(Quantity.TEMPERATURE, 2, "Peak", 42_000),
)


def card(host: FakeHost, arch: Arch = Arch.WARBOY, index: int = 0) -> Device:
    device = host.open().inventory().device(arch, index)
    assert device is not None
    return device


def read(host: FakeHost, fs: FaultyFS | None = None) -> Readings:
    return host.open(fs).readings(card(host))


@pytest.mark.parametrize("plan", [warboy(1), rngd(0)], ids=["warboy", "rngd"])
def test_every_sensor_of_a_card_is_read_and_none_of_a_card_with_a_similar_name(tmp_path: Path, plan: CardPlan) -> None:
    host = FakeHost(tmp_path, plan, warboy(10), warboy(11))
    found = host.open().readings(card(host, plan.arch, plan.index))
    assert {(reading.sensor.label, reading.value) for reading in found.values} == {
        (sensor.label, sensor.value) for sensor in plan.sensors
    }
    assert {reading.sensor.card for reading in found.values} == {plan.name}
    assert (len(found.values), found.unreadable) == (len(plan.sensors), ())


def test_a_reading_is_a_sensor_and_a_value_in_the_units_of_the_kernel(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.cards[0].set_temperature(47_125, "Average")
    assert Reading(Sensor("npu0", Quantity.TEMPERATURE, 2, "Average", "npu0"), 47_125) in read(host).values
    assert Reading(Sensor("npu0", Quantity.POWER, 6, "PCI Total RMS PWR", "npu0"), 9_666_000) in read(host).values


@pytest.mark.parametrize("arch", list(Arch))
def test_the_headline_sensors_of_a_family_are_found(tmp_path: Path, arch: Arch) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    device = card(host, arch)
    found = host.open().readings(device)
    assert found.find(Quantity.POWER, [device.spec.power_label]) is not None
    headline = found.find(Quantity.TEMPERATURE, device.spec.temperature_labels)
    assert headline is not None
    assert headline.sensor.label == device.spec.temperature_labels[0]


def test_a_new_hwmon_number_changes_no_sensor(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0, extra_sensors=TWO_TEMPERATURES), warboy(1))
    before = read(host)
    numbers = sorted(path.name for path in (tmp_path / "sys/class/hwmon").iterdir())
    for each in host.cards:
        each.renumber_hwmon()
    assert sorted(path.name for path in (tmp_path / "sys/class/hwmon").iterdir()) != numbers
    assert read(host) == before


def test_every_chip_of_a_card_is_read(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0, sensors=TWO_TEMPERATURES, extra_sensors=TWO_TEMPERATURES))
    found = read(host)
    assert [(reading.sensor.chip, reading.sensor.label) for reading in found.values] == [
        ("npu0", "Average"),
        ("npu0", "Peak"),
        ("npu0_board", "Average"),
        ("npu0_board", "Peak"),
    ]
    labels = distinct_labels(reading.sensor for reading in found.values)
    assert list(labels.values()) == ["npu0_Average_1", "npu0_Peak_2", "npu0_board_Average_1", "npu0_board_Peak_2"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("npu0", "npu0", "npu0"), ["npu0", "npu0.2", "npu0.3"]),
        (("npu0", "npu0", "npu0.2"), ["npu0", "npu0.3", "npu0.2"]),
        (("", "", "x"), ["", ".2", "x"]),
    ],
)
def test_chips_with_one_name_are_told_apart(tmp_path: Path, names: tuple[str, ...], expected: list[str]) -> None:
    host = FakeHost(tmp_path, warboy(0, sensors=()))
    directory = tmp_path / f"sys/bus/pci/devices/{host.cards[0].plan.pci}/hwmon"
    for number, name in enumerate(names, 9):
        (directory / f"hwmon{number}").mkdir(parents=True)
        (directory / f"hwmon{number}/name").write_text(f"{name}\n", encoding="utf-8")
        (directory / f"hwmon{number}/temp1_input").write_text(f"{number}\n", encoding="utf-8")
    found = read(host)
    assert [reading.sensor.chip for reading in found.values] == expected
    assert [reading.value for reading in found.values] == [9, 10, 11]


def test_a_card_without_hwmon_has_no_readings_and_no_failure(tmp_path: Path) -> None:
    assert read(FakeHost(tmp_path, warboy(0, sensors=()))) == Readings()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (EIO, Reason.IO),
        (EACCES, Reason.ACCESS),
        (ENODEV, Reason.GONE),
        (garbage(), Reason.FORMAT),
        (garbage(""), Reason.FORMAT),
    ],
    ids=["EIO", "EACCES", "ENODEV", "garbage", "empty"],
)
def test_one_bad_sensor_does_not_cost_the_others(tmp_path: Path, fault: Fault, reason: Reason) -> None:
    host = FakeHost(tmp_path, warboy(0))
    whole = read(host)
    fs = FaultyFS()
    fs.put("*/temp2_input", fault)
    found = read(host, fs)
    assert [(failure.subject, failure.reason) for failure in found.unreadable] == [("npu0/temp2_input", reason)]
    assert set(whole.values) - set(found.values) == {
        reading for reading in whole.values if reading.sensor.label == "Average"
    }


def test_a_sensor_that_gives_no_value_is_still_known_by_its_label(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    whole = read(host)
    fs = FaultyFS()
    fs.put("*/temp2_input", EIO)
    found = read(host, fs)
    assert [(sensor.label, sensor.channel) for sensor in found.silent] == [("Average", 2)]
    assert set(found.sensors) == set(whole.sensors)
    assert whole.silent == ()


def test_an_unreadable_label_costs_the_label_only(tmp_path: Path) -> None:
    fs = FaultyFS()
    fs.put("*/temp2_label", EIO)
    found = read(FakeHost(tmp_path, warboy(0)), fs)
    assert [reading.sensor.label for reading in found.values if reading.value == 40_000] == ["2", "NE_TOP"]


def test_an_unreadable_name_of_a_chip_costs_the_name_only(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    fs = FaultyFS()
    fs.put("*/hwmon*/name", EIO)
    found = read(host, fs)
    assert {reading.sensor.chip for reading in found.values} == {""}
    assert len(found.values) == len(read(host).values)


def test_a_chip_that_cannot_be_listed_does_not_cost_the_others(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0, extra_sensors=TWO_TEMPERATURES))
    fs = FaultyFS()
    fs.put("*/hwmon/hwmon1", EIO)
    found = read(host, fs)
    assert [(failure.subject, failure.reason) for failure in found.unreadable] == [("hwmon npu0", Reason.IO)]
    assert [reading.sensor.chip for reading in found.values] == ["npu0_board", "npu0_board"]


def test_sensors_that_cannot_be_looked_for_are_a_failure_and_not_an_absence(tmp_path: Path) -> None:
    fs = FaultyFS()
    fs.put("*/hwmon", EACCES)
    found = read(FakeHost(tmp_path, warboy(0)), fs)
    assert found.values == ()
    assert [(failure.subject, failure.reason) for failure in found.unreadable] == [("hwmon", Reason.ACCESS)]


def test_a_card_without_a_known_address_has_no_sensors(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.cards[0].remove_attribute("busname")
    assert read(host) == Readings()
