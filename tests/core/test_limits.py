"""Numbers that are no measurement: what no such sensor can read, and what hardware says that has no answer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core import Host
from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.counters import Clock
from npu_core.device import Device
from npu_core.errors import ImpossibleError, Reason
from npu_core.limits import LIMITS, NO_VALUES, Measure, Span, possible, possible_clocks
from npu_core.parse.perf_regs import parse_perf_regs
from npu_core.sensors import Quantity, Readings
from npu_core.testing import EACCES, EIO, FakeHost, FaultyFS, garbage, rngd, warboy
from npu_core.testing.layout import perf_regs_text
from testkit.strategies import quantities

MEASURES = st.sampled_from(list(Measure))
FILES = {Quantity.TEMPERATURE: "temp1_input", Quantity.POWER: "power1_average", Quantity.VOLTAGE: "in1_input",
         Quantity.CURRENT: "curr1_input"}  # fmt: skip


def card(host: FakeHost, arch: Arch = Arch.WARBOY) -> Device:
    device = host.open().inventory().device(arch, 0)
    assert device is not None
    return device


def read(host: FakeHost, fs: FaultyFS | None = None) -> Readings:
    return host.open(fs).readings(card(host))


def failures(readings: Readings) -> list[tuple[str, Reason]]:
    return [(failure.subject, failure.reason) for failure in readings.unreadable]


def of(readings: Readings, quantity: Quantity, channel: int = 1) -> int | None:
    wanted = (each for each in readings.values if (each.sensor.quantity, each.sensor.channel) == (quantity, channel))
    return next((each.value for each in wanted), None)


def just_within(measure: Measure) -> tuple[float, float]:
    return LIMITS[measure].least, LIMITS[measure].most


def test_the_limits_are_what_the_documentation_says() -> None:
    """docs/host-contract.md has them for people; whoever changes one changes what everybody's exporter believes."""
    assert {measure: (span.least, span.most, measure.unit) for measure, span in LIMITS.items()} == {
        Measure.TEMPERATURE: (-55, 150, "°C"),
        Measure.POWER: (-1, 1000, "W"),
        Measure.VOLTAGE: (-1, 60, "V"),
        Measure.CURRENT: (-1, 1000, "A"),
        Measure.FREQUENCY: (0, 10_000_000_000, "Hz"),
        Measure.TRANSFERS: (0, 100_000_000_000, "T/s"),
        Measure.UPTIME: (0, 2_000_000_000, "s"),
    }


@pytest.mark.parametrize(
    ("clock", "most"),
    [
        (Clock("pe0", 10_000_000_001, "Hz"), "a frequency from 0 to 10000000000 Hz"),
        (Clock("ne", 10_001, "MHz"), "a frequency from 0 to 10000000000 Hz (0 to 10000 as the driver counts)"),
        (
            Clock("dram", 100_001, "MT/s"),
            "a rate of transfers from 0 to 100000000000 T/s (0 to 100000 as the driver counts)",
        ),
    ],
)
def test_a_clock_may_go_as_far_as_the_limit_of_its_unit_and_not_beyond(clock: Clock, most: str) -> None:
    slower = replace(clock, frequency=clock.frequency - 1)
    assert possible_clocks((slower,), LIMITS) == (slower,)
    with pytest.raises(ImpossibleError) as caught:
        possible_clocks((slower, clock), LIMITS)
    assert caught.value.expected == most


@pytest.mark.parametrize("quantity", list(Quantity))
def test_a_sensor_may_read_as_far_as_the_limit_and_not_beyond(tmp_path: Path, quantity: Quantity) -> None:
    host = FakeHost(tmp_path, warboy(0))
    span, scale = LIMITS[Measure(quantity)], quantity.per_base
    for value in (span.least * scale, span.most * scale):
        host.cards[0].set_sensor(quantity, 1, int(value))
        assert of(read(host), quantity) == int(value)
    for value in (span.least * scale - 1, span.most * scale + 1):
        host.cards[0].set_sensor(quantity, 1, int(value))
        found = read(host)
        assert of(found, quantity) is None
        assert failures(found) == [(f"npu0/{FILES[quantity]}", Reason.IMPOSSIBLE)]


@given(quantities, st.sampled_from(sorted(NO_VALUES)))
def test_all_bits_set_and_the_largest_number_are_no_measurement_whatever_the_limit(
    quantity: Quantity, value: int
) -> None:
    with pytest.raises(ImpossibleError):
        possible(value, Measure(quantity), Span(-1e30, 1e30), 1)


@pytest.mark.parametrize("bits", [32, 64])
def test_the_numbers_of_no_value_are_those_of_both_widths_and_either_sign(bits: int) -> None:
    assert {-1, (1 << bits) - 1, (1 << (bits - 1)) - 1, -(1 << (bits - 1))} <= NO_VALUES


@pytest.mark.parametrize("value", [3892313987, (1 << 63) - 1, (1 << 64) - 1, (1 << 32) - 1, (1 << 31) - 1, -1])
@pytest.mark.parametrize("quantity", list(Quantity))
def test_what_a_broken_sensor_says_is_a_read_error_and_costs_no_other_sensor(
    tmp_path: Path, quantity: Quantity, value: int
) -> None:
    host = FakeHost(tmp_path, warboy(0))
    whole = read(host)
    host.cards[0].set_sensor(quantity, 1, value)
    found = read(host)
    assert failures(found) == [(f"npu0/{FILES[quantity]}", Reason.IMPOSSIBLE)]
    assert len(found.values) == len(whole.values) - 1
    assert set(found.sensors) == set(whole.sensors)


def test_limits_can_be_given_to_a_host(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.cards[0].set_sensor(Quantity.TEMPERATURE, 1, 160_000)
    widened = Host(host.sysfs, host.devfs, limits={**LIMITS, Measure.TEMPERATURE: Span(0, 200)})
    assert of(widened.readings(card(host)), Quantity.TEMPERATURE) == 160_000
    assert of(widened.glance().readings(card(host)), Quantity.TEMPERATURE) == 160_000


@given(MEASURES, st.integers(-(1 << 65), 1 << 65), st.sampled_from([1, 1000, 1_000_000]))
def test_a_number_is_kept_as_it_is_or_refused(measure: Measure, value: int, scale: int) -> None:
    least, most = just_within(measure)
    try:
        assert possible(value, measure, LIMITS[measure], scale) == value
    except ImpossibleError:
        assert value in NO_VALUES or not least <= value / scale <= most
    else:
        assert least <= value / scale <= most


# -- what the driver marks ----------------------------------------------------------------------------------------


def with_fault(tmp_path: Path, text: str) -> FakeHost:
    host = FakeHost(tmp_path, warboy(0))
    (chip,) = (tmp_path / f"sys/bus/pci/devices/{host.cards[0].plan.pci}/hwmon").iterdir()
    (chip / "temp1_fault").write_text(text, encoding="utf-8")
    return host


def test_a_sensor_that_the_driver_calls_faulty_has_no_value(tmp_path: Path) -> None:
    found = read(with_fault(tmp_path, "1\n"))
    assert of(found, Quantity.TEMPERATURE) is None
    assert failures(found) == [("npu0/temp1_input", Reason.FAULT)]
    assert "temp1_fault" in found.unreadable[0].detail
    assert [sensor.channel for sensor in found.silent] == [1]


@pytest.mark.parametrize(
    ("fault", "reason"), [(EIO, Reason.IO), (EACCES, Reason.ACCESS), (garbage("2"), Reason.FORMAT)]
)
def test_a_sensor_whose_fault_cannot_be_told_has_no_value(tmp_path: Path, fault: object, reason: Reason) -> None:
    host, fs = with_fault(tmp_path, "0\n"), FaultyFS()
    fs.put("*/temp1_fault", fault)  # type: ignore[arg-type]
    assert failures(read(host, fs)) == [("npu0/temp1_input", reason)]


# -- what is no sensor --------------------------------------------------------------------------------------------

Attribute = Callable[[Host, Device], object]


@pytest.mark.parametrize(
    ("family", "name", "text", "attribute"),
    [
        (Arch.WARBOY, "heartbeat", "4294967295", lambda host, device: host.uptime(device)),
        (Arch.WARBOY, "heartbeat", "3892313987", lambda host, device: host.uptime(device)),
        (Arch.WARBOY, "atr_error", "Device Error: 4294967295", lambda host, device: host.errors(device)),
        (Arch.WARBOY, "atr_error", f"Device Error: {(1 << 64) - 1}", lambda host, device: host.errors(device)),
        (Arch.WARBOY, "ne_clk_freq_info", "ne tensor (MHz): 999999999", lambda host, device: host.clocks(device)),
        (Arch.WARBOY, "ne_clk_freq_info", "dram (MT/s): 999999999", lambda host, device: host.clocks(device)),
        (Arch.RENEGADE, "npu_clocks", "1000000000\n4294967295000", lambda host, device: host.clocks(device)),
        (Arch.RENEGADE, "throttle_reason", "0xffffffff", lambda host, device: host.throttle_reason(device)),
        (Arch.RENEGADE, "throttle_reason", "ffffffffffffffff", lambda host, device: host.throttle_reason(device)),
    ],
)
def test_what_no_attribute_can_mean_is_an_error_that_names_the_file(
    tmp_path: Path, family: Arch, name: str, text: str, attribute: Attribute
) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    host.card(family, 0).set_attribute(name, text)
    with pytest.raises(ImpossibleError) as caught:
        attribute(host.open(), card(host, family))
    assert (caught.value.path or "").endswith(f"/{name}")


def test_a_clock_in_a_unit_that_nobody_knows_is_not_judged(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.cards[0].set_attribute("ne_clk_freq_info", "ne tensor (furlong): 999999999")
    assert [clock.frequency for clock in host.open().clocks(card(host))] == [999_999_999]


@pytest.mark.parametrize(
    ("family", "values"),
    [
        (Arch.WARBOY, ((1 << 32) - 1, (1 << 32) - 1, (1 << 32) - 1)),
        (Arch.WARBOY, ((1 << 64) - 1, (1 << 32) - 1, (1 << 32) - 1)),
        (Arch.RENEGADE, ((1 << 64) - 1, 7, 0)),
        (Arch.RENEGADE, (7, (1 << 64) - 1, 0)),
    ],
)
def test_registers_of_a_card_that_is_off_the_bus_are_an_error(
    tmp_path: Path, family: Arch, values: tuple[int, int, int]
) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    host.card(family, 0).set_perf_regs(CoreRange(0, 0), *values)
    with pytest.raises(ImpossibleError):
        host.open().pe_counters(card(host, family), CoreRange(0, 0))


@pytest.mark.parametrize("name", ["CycleCount", "CycleCountHigh", "TaskExecutionTime", "TensorExecutionTime"])
def test_a_register_of_more_than_32_bits_is_an_error(name: str) -> None:
    text = perf_regs_text(5_000_000_000, 3, 2)
    wide = "".join(f"{name}: 0x100000000\n" if line.startswith(f"{name}:") else line for line in text.splitlines(True))
    assert wide != text
    with pytest.raises(ImpossibleError):
        parse_perf_regs(wide, CoreRange(0, 0))


def test_one_register_that_is_full_is_an_ordinary_moment_of_a_counter(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.cards[0].set_perf_regs(CoreRange(0, 0), 5_000_000_000, (1 << 32) - 1, 7)
    assert host.open().pe_counters(card(host), CoreRange(0, 0)).task_cycles == (1 << 32) - 1
