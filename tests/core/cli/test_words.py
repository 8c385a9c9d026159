"""How npuctl says numbers, times and lists."""

from collections.abc import Callable

import pytest

from npu_core.cli import words
from npu_core.cores import CoreRange
from npu_core.counters import Clock
from npu_core.device import DeviceFile
from npu_core.sensors import Quantity, Reading, Sensor


def measurement(quantity: Quantity, value: int) -> str:
    return words.measurement(Reading(Sensor("npu0", quantity, 1, "x"), value))


@pytest.mark.parametrize(
    ("say", "value", "text"),
    [
        *((words.temperature, value, text) for value, text in ((40_000, "40°C"), (40_600, "41°C"), (0, "0°C"))),
        *((words.temperature, value, text) for value, text in ((-400, "0°C"), (-5_600, "-6°C"), (None, "-"))),
        *((words.power, value, text) for value, text in ((1_370_000, "1.37 W"), (0, "0.00 W"), (None, "-"))),
        (words.power, 101_234_000, "101.23 W"),
        *((words.share, value, text) for value, text in ((0.573, "57.3%"), (1.0, "100.0%"), (0.0, "0.0%"))),
        (words.share, None, "-"),
        (words.duration, 0, "00:00:00"),
        (words.duration, 14_649, "04:04:09"),
        (words.duration, 187_449, "2d 04:04:09"),
        (words.frequency, Clock("ne tensor", 2000, "MHz"), "2000 MHz"),
        (words.frequency, Clock("dram", 4266, "MT/s"), "4266 MT/s"),
        (words.frequency, Clock("pe0", 1_000_000_000, "Hz"), "1000 MHz"),
        (words.frequency, Clock("pe0", 0, "Hz"), "0 MHz"),
    ],
)
def test_a_value_is_said_in_its_unit(say: Callable[[object], str], value: object, text: str) -> None:
    assert say(value) == text


def test_every_quantity_has_its_unit() -> None:
    values = {Quantity.TEMPERATURE: 40_260, Quantity.POWER: 1_370_000, Quantity.VOLTAGE: 812, Quantity.CURRENT: 1_180}
    assert [measurement(*item) for item in values.items()] == ["40.3°C", "1.37 W", "0.812 V", "1.180 A"]


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
