"""Sensors, their labels and how one is found."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npu_core.sensors import Quantity, Reading, Readings, Sensor, distinct_labels
from testkit.strategies import sensors


def temperature(channel: int, label: str, chip: str = "npu0", card: str = "npu0") -> Sensor:
    return Sensor(card, Quantity.TEMPERATURE, channel, label, chip)


def labels_of(*chosen: Sensor) -> list[str]:
    return list(distinct_labels(chosen).values())


def test_a_label_that_stands_alone_is_kept() -> None:
    assert labels_of(temperature(1, "NE"), temperature(2, "Peak")) == ["NE", "Peak"]


def test_equal_labels_get_their_channels() -> None:
    assert labels_of(temperature(1, "NE"), temperature(4, "NE"), temperature(5, "Peak")) == ["NE_1", "NE_4", "Peak"]


def test_equal_labels_of_equal_channels_get_their_chips_too() -> None:
    found = labels_of(temperature(1, "NE", "npu0"), temperature(1, "NE", "board"), temperature(2, "NE", "board"))
    assert found == ["npu0_NE_1", "board_NE_1", "NE_2"]


def test_labels_are_distinct_within_a_card_and_a_quantity_only() -> None:
    power = Sensor("npu0", Quantity.POWER, 1, "NE", "npu0")
    assert labels_of(temperature(1, "NE"), temperature(1, "NE", card="npu1"), power) == ["NE", "NE", "NE"]


def test_a_sensor_that_is_called_as_another_would_be_keeps_its_label() -> None:
    found = labels_of(temperature(1, "A"), temperature(2, "A"), temperature(3, "A_1"))
    assert found == ["npu0_A_1", "A_2", "A_1"]


def test_labels_that_nothing_else_tells_apart_are_numbered() -> None:
    alike = [temperature(1, "b_A", "a"), temperature(1, "A", "a_b")]
    others = [temperature(1, "b_A", "z"), temperature(1, "A", "y")]
    labels = distinct_labels([*alike, *others])
    assert list(labels.values()) == ["a_b_A_1_3", "a_b_A_1_2", "z_b_A_1", "y_A_1"]


@pytest.mark.parametrize("chip", ["a", "b", "c", "d", "e", "f", "g", "h"])
def test_numbers_are_given_by_label(chip: str) -> None:
    early, late = temperature(1, "A", f"{chip}_b"), temperature(1, "b_A", chip)
    others = [temperature(1, "b_A", "z"), temperature(1, "A", "y")]
    labels = distinct_labels([late, early, *others])
    assert (labels[early], labels[late]) == (f"{chip}_b_A_1_2", f"{chip}_b_A_1_3")


def test_these_are_the_words_for_what_is_measured_and_a_chip_without_a_name_has_an_empty_one() -> None:
    assert [quantity.value for quantity in Quantity] == ["temperature", "power", "voltage", "current"]
    assert Sensor("npu0", Quantity.POWER, 1, "NE").chip == ""


def test_the_same_sensor_twice_is_one_sensor() -> None:
    assert labels_of(temperature(1, "A"), temperature(1, "A")) == ["A"]


@given(st.lists(sensors(), max_size=14))
@example([temperature(1, "A"), temperature(2, "A"), temperature(3, "A_1")])
@example([temperature(1, "A", "a"), temperature(1, "A", "b"), temperature(2, "a_A_1"), temperature(3, "a_A_1_2")])
@example([temperature(1, "A", "a"), temperature(1, "a_A", ""), temperature(1, "A", ""), temperature(1, "a_A", "a")])
@example([temperature(1, "1", ""), temperature(1, "1_1", ""), temperature(1, "_1_1", "1")])
def test_no_two_sensors_of_a_card_and_quantity_share_a_label(chosen: list[Sensor]) -> None:
    labels = distinct_labels(chosen)
    keys = [(sensor.card, sensor.quantity, label) for sensor, label in labels.items()]
    assert list(labels) == list(dict.fromkeys(chosen))
    assert len(set(keys)) == len(keys)


@given(st.lists(sensors(), max_size=10), st.data())
def test_a_label_does_not_depend_on_the_order_of_the_sensors(chosen: list[Sensor], data: st.DataObject) -> None:
    assert distinct_labels(data.draw(st.permutations(chosen))) == distinct_labels(chosen)


@given(st.lists(sensors(), max_size=10))
def test_a_label_that_nobody_else_has_is_never_changed(chosen: list[Sensor]) -> None:
    labels = distinct_labels(chosen)
    names = [(sensor.card, sensor.quantity, sensor.label) for sensor in labels]
    for sensor, label in labels.items():
        if names.count((sensor.card, sensor.quantity, sensor.label)) == 1:
            assert label == sensor.label


POWER = Reading(Sensor("npu0", Quantity.POWER, 1, "Peak"), 9_666_000)
AVERAGE = Reading(temperature(2, "Average"), 40_000)
PEAK = Reading(temperature(9, "Peak"), 42_000)
LATER_PEAK = Reading(temperature(11, "peak"), 50_000)
LOOK = Readings((AVERAGE, PEAK, LATER_PEAK, POWER))


@pytest.mark.parametrize(
    ("quantity", "labels", "found"),
    [
        (Quantity.TEMPERATURE, ("Average", "Peak"), AVERAGE),
        (Quantity.TEMPERATURE, ("Peak", "Average"), PEAK),
        (Quantity.TEMPERATURE, ("PEAK",), PEAK),
        (Quantity.TEMPERATURE, ("AMBIENT", "average"), AVERAGE),
        (Quantity.POWER, ("Peak",), POWER),
        (Quantity.POWER, ("Average",), None),
        (Quantity.VOLTAGE, ("Peak",), None),
        (Quantity.TEMPERATURE, (), None),
    ],
)
def test_the_first_label_there_is_finds_its_reading_in_any_case(
    quantity: Quantity, labels: tuple[str, ...], found: Reading | None
) -> None:
    assert LOOK.find(quantity, labels) == found
