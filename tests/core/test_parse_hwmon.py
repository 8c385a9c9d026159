"""File names and contents of a hwmon directory."""

import pytest
from hypothesis import given

from npu_core.errors import FormatError
from npu_core.parse.hwmon import ChannelFiles, channel_files, parse_label, parse_sensor_value
from npu_core.sensors import Quantity
from npu_core.testing.layout import hwmon_attributes, value_file
from npu_core.testing.plan import CardPlan, rngd, warboy
from testkit.strategies import quantities

SAMPLE = ["name", "uevent", "curr1_input", "curr1_label", "in0_input", "in0_label", "power1_average", "power1_label",
          "temp1_input", "temp1_label", "temp2_input"]  # fmt: skip


def test_sensors_come_by_quantity_and_channel() -> None:
    assert channel_files(reversed(SAMPLE)) == (
        ChannelFiles(Quantity.TEMPERATURE, 1, "temp1_input", "temp1_label"),
        ChannelFiles(Quantity.TEMPERATURE, 2, "temp2_input", None),
        ChannelFiles(Quantity.POWER, 1, "power1_average", "power1_label"),
        ChannelFiles(Quantity.VOLTAGE, 0, "in0_input", "in0_label"),
        ChannelFiles(Quantity.CURRENT, 1, "curr1_input", "curr1_label"),
    )


def test_the_file_that_says_whether_a_sensor_is_faulty_is_found_beside_its_value() -> None:
    names = ["temp1_input", "temp1_fault", "temp2_fault", "in0_input", "in0_fault", "power1_average", "power1_fault"]
    assert [(channel.value_file, channel.fault_file) for channel in channel_files(names)] == [
        ("temp1_input", "temp1_fault"),
        ("power1_average", "power1_fault"),
        ("in0_input", "in0_fault"),
    ]


def test_channels_are_numbers_and_sort_as_numbers() -> None:
    found = channel_files(["temp10_input", "temp9_input", "temp9999_input", "temp100_input"])
    assert [channel.channel for channel in found] == [9, 10, 100, 9999]


@pytest.mark.parametrize(
    ("names", "value_file"),
    [
        (["power1_average", "power1_input"], "power1_average"),
        (["power1_input"], "power1_input"),
        (["power1_average"], "power1_average"),
    ],
)
def test_power_is_an_average_where_the_driver_gives_one(names: list[str], value_file: str) -> None:
    assert [channel.value_file for channel in channel_files(names)] == [value_file]


@pytest.mark.parametrize(
    "name",
    ["name", "uevent", "temp1_label", "temp1_max", "temp1_crit_alarm", "fan1_input", "temp_input", "temp01_input",
     "temp1_average", "in1_average", "temp1_input_", "temp10000_input", "Temp1_input", "power1_average_interval",
     "temp٣_input"],
)  # fmt: skip
def test_what_has_no_value_is_no_sensor(name: str) -> None:
    assert channel_files([name]) == ()


@pytest.mark.parametrize("plan", [warboy(0), rngd(0)], ids=["warboy", "rngd"])
def test_the_files_of_a_simulated_chip_are_the_sensors_it_was_declared_with(plan: CardPlan) -> None:
    files = hwmon_attributes("npu0", plan.sensors)
    found = {
        (channel.quantity, channel.channel): (
            parse_label(files.get(channel.label_file or ""), channel.channel),
            parse_sensor_value(files[channel.value_file], channel.quantity),
            channel.value_file,
        )
        for channel in channel_files(files)
    }
    assert found == {
        (sensor.quantity, sensor.channel): (sensor.label, sensor.value, value_file(sensor)) for sensor in plan.sensors
    }


@pytest.mark.parametrize(
    ("text", "value"), [("40000\n", 40_000), ("0", 0), ("-5000\n", -5000), ("3000000000\n", 3 * 10**9)]
)
def test_a_value_is_a_number_of_either_sign(text: str, value: int) -> None:
    assert parse_sensor_value(text, Quantity.TEMPERATURE) == value


@given(quantities)
def test_a_wrong_value_is_told_with_quantity_and_unit(quantity: Quantity) -> None:
    unit = {"temperature": "m°C", "power": "µW", "voltage": "mV", "current": "mA"}[quantity.value]
    with pytest.raises(FormatError) as caught:
        parse_sensor_value("N/A\n", quantity)
    assert (caught.value.text, caught.value.expected) == ("N/A\n", f"a {quantity.value} in {unit}")


@pytest.mark.parametrize(
    ("text", "label"),
    [("PCI Total RMS PWR\n", "PCI Total RMS PWR"), ("Peak", "Peak"), ("", "7"), (" \n", "7"), (None, "7")],
)
def test_a_sensor_without_a_label_is_called_by_its_channel(text: str | None, label: str) -> None:
    assert parse_label(text, 7) == label
