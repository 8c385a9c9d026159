import pytest

from npu_core.cli import words
from npu_core.cores import CoreRange
from npu_core.counters import Clock
from npu_core.device import DeviceFile
from npu_core.sensors import Quantity, Reading, Sensor


@pytest.mark.parametrize(
    ("millicelsius", "text"),
    [(40_000, "40°C"), (40_600, "41°C"), (-400, "0°C"), (-5_600, "-6°C"), (0, "0°C"), (None, "-")],
)
def test_temperatures_are_given_to_the_degree(millicelsius: int | None, text: str) -> None:
    assert words.temperature(millicelsius) == text


@pytest.mark.parametrize(
    ("microwatts", "text"), [(1_370_000, "1.37 W"), (0, "0.00 W"), (101_234_000, "101.23 W"), (None, "-")]
)
def test_power_is_given_in_watts(microwatts: int | None, text: str) -> None:
    assert words.power(microwatts) == text


@pytest.mark.parametrize(
    ("quantity", "value", "text"),
    [
        (Quantity.TEMPERATURE, 40_260, "40.3°C"),
        (Quantity.POWER, 1_370_000, "1.37 W"),
        (Quantity.VOLTAGE, 812, "0.812 V"),
        (Quantity.CURRENT, 1_180, "1.180 A"),
    ],
)
def test_every_quantity_has_its_unit(quantity: Quantity, value: int, text: str) -> None:
    assert words.measurement(Reading(Sensor("npu0", quantity, 1, "x"), value)) == text


@pytest.mark.parametrize(("ratio", "text"), [(0.573, "57.3%"), (1.0, "100.0%"), (0.0, "0.0%"), (None, "-")])
def test_shares_are_given_in_percent(ratio: float | None, text: str) -> None:
    assert words.share(ratio) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00:00"), (14_649, "04:04:09"), (187_449, "2d 04:04:09")])
def test_durations_are_given_as_days_and_time(seconds: int, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("clock", "text"),
    [
        (Clock("ne tensor", 2000, "MHz"), "2000 MHz"),
        (Clock("dram", 4266, "MT/s"), "4266 MT/s"),
        (Clock("pe0", 1_000_000_000, "Hz"), "1000 MHz"),
        (Clock("pe0", 0, "Hz"), "0 MHz"),
    ],
)
def test_clocks_keep_the_drivers_unit_except_plain_hertz(clock: Clock, text: str) -> None:
    assert words.frequency(clock) == text


def test_long_texts_are_cut_to_one_short_line() -> None:
    assert words.short("a\tb\nc", 10) == "a b c"
    assert words.short("x" * 11, 10) == "x" * 9 + "…"


def test_file_names_are_broken_into_lines_and_keep_their_directory() -> None:
    files = [DeviceFile("npu0", f"pe{core}", CoreRange(core, core), "rngd") for core in range(5)]
    assert words.file_list(files) == ("rngd/npu0pe0 rngd/npu0pe1 rngd/npu0pe2\nrngd/npu0pe3 rngd/npu0pe4")
    assert words.file_list([]) == ""


def test_counts_have_their_plurals() -> None:
    assert [words.count(number, "NPU") for number in (0, 1, 2)] == ["0 NPUs", "1 NPU", "2 NPUs"]
    assert words.count(2, "process", "processes") == "2 processes"
