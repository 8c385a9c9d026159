"""Where the vendor's library of Warboy cards and `npu_core` are meant to differ on the same host.

`npu_core` keeps what it can read and says that it does not know the rest; the library mostly gives up on more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from npu_core.cores import CoreRange
from npu_core.sensors import Quantity
from npu_core.testing import FakeHost, SensorPlan, warboy
from tests.oracle.compare import WarboyCard, missing_fields
from tests.oracle.families import Family
from tests.oracle.namespace import OracleError

pytestmark = pytest.mark.oracle


# -- which cards there are --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "field"),
    [
        ("busname", "busname"),
        ("dev", "pci_dev"),
        ("device_sn", "serial"),
        ("device_uuid", "uuid"),
        ("device_type", None),
        ("soc_rev", None),
        ("soc_uid", None),
    ],
)
def test_a_missing_attribute_costs_the_library_the_host_and_npu_core_that_field(
    warboys: Family[WarboyCard], directory: Path, attribute: str, field: str | None
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    warboys.card(host).remove_attribute(attribute)

    with pytest.raises(OracleError, match="panicked"):
        warboys.library(host)

    unknown = {field, "numa_node"} if attribute == "busname" else {field}
    assert set(missing_fields(warboys.ours(host)["npu0"])) == unknown - {None}
    assert missing_fields(warboys.ours(host)["npu1"]) == []


def test_a_device_type_that_is_not_known_costs_the_library_the_host_and_npu_core_that_card(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    warboys.card(host).set_attribute("device_type", "Frigate")

    with pytest.raises(OracleError, match="panicked"):
        warboys.library(host)

    assert list(warboys.ours(host)) == ["npu1"]
    assert [card.name for card in host.open().inventory().rejected] == ["npu0"]


def test_a_revision_that_is_not_known_costs_the_library_the_host_and_npu_core_nothing(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0, soc_rev="C0"))

    with pytest.raises(OracleError, match="panicked"):
        warboys.library(host)

    assert warboys.device(host).product == "warboyC0"


def test_a_card_that_does_not_name_its_platform_is_left_out_by_the_library_alone(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    warboys.card(host).remove_attribute("platform_type")

    assert (list(warboys.library(host)), list(warboys.ours(host))) == (["npu1"], ["npu0", "npu1"])


def test_a_development_board_of_another_maker_is_left_out_by_npu_core_alone(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    warboys.card(host).set_attribute("platform_type", "VITIS")

    assert (list(warboys.library(host)), list(warboys.ours(host))) == (["npu0", "npu1"], ["npu1"])


def test_a_card_without_hwmon_is_left_out_by_the_library_and_without_sensors_in_npu_core(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0, sensors=()), warboy(1))

    assert list(warboys.library(host)) == ["npu1"]
    ours = warboys.ours(host)["npu0"]
    assert (ours.currents, ours.voltages, ours.powers, ours.temperatures) == ((), (), (), ())


def test_a_bus_name_in_capitals_is_the_same_place_to_npu_core_alone(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0, pci="0000:6d:00.0"))
    warboys.card(host).set_attribute("busname", "0000:6D:00.0")

    assert warboys.library(host) == {}
    ours = warboys.ours(host)["npu0"]
    assert ours.busname == "0000:6d:00.0"
    assert ours.temperatures


def test_a_card_without_files_of_its_cores_is_left_out_by_the_library_alone(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    for file in warboys.device(host).files:
        if file.cores is not None:
            warboys.card(host).remove_file(file.suffix)

    assert (list(warboys.library(host)), list(warboys.ours(host))) == (["npu1"], ["npu0", "npu1"])


def test_the_cores_of_a_card_are_those_it_has_files_of_to_the_library_and_those_of_its_kind_to_npu_core(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0, absent_files=frozenset({"pe1", "pe0-1"})))

    assert warboys.differences(host) == {"cores": ((0,), (0, 1))}


# -- what the cards say -----------------------------------------------------------------------------------


def test_a_sensor_that_cannot_be_read_costs_the_library_the_quantity_and_npu_core_the_sensor(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0))
    whole = warboys.ours(host)["npu0"].temperatures
    assert whole is not None
    warboys.card(host).set_sensor(Quantity.TEMPERATURE, 1, "hot")

    assert warboys.differences(host) == {"temperatures": (None, whole[1:])}


def test_a_value_over_32_bits_costs_the_library_the_quantity_and_npu_core_that_sensor(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    sensors = (SensorPlan(Quantity.POWER, 1, "Total", 2**31), SensorPlan(Quantity.POWER, 2, "Core", 7))
    host = FakeHost(directory, warboy(0, sensors=sensors))

    assert warboys.differences(host) == {"powers": (None, (("Core", 7),))}


@pytest.mark.parametrize("millidegrees", [-1, -55_001, 150_001, 511_000, 2**31 - 1])
def test_a_temperature_that_cannot_be_is_a_value_to_the_library_alone(
    warboys: Family[WarboyCard], directory: Path, millidegrees: int
) -> None:
    host = FakeHost(directory, warboy(0, sensors=(SensorPlan(Quantity.TEMPERATURE, 1, "Peak", millidegrees),)))

    assert warboys.differences(host) == {"temperatures": ((("Peak", millidegrees),), ())}


def test_an_error_count_with_all_bits_set_is_one_to_the_library_alone(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0))
    warboys.card(host).set_error("device_error", 2**32 - 1)
    [errors] = warboys.differences(host).values()

    assert errors[0] is not None
    assert errors[1] is None


def test_registers_that_are_all_full_are_counters_to_the_library_alone(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0))
    warboys.card(host).set_perf_regs(CoreRange(1, 1), 2**64 - 1, 2**32 - 1, 2**32 - 1)

    assert warboys.differences(host).keys() == {"counters"}


def test_a_sensor_with_an_empty_label_has_none_in_the_library_and_its_number_in_npu_core(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0, sensors=(SensorPlan(Quantity.VOLTAGE, 3, "", 812),)))

    assert warboys.differences(host) == {"voltages": ((("", 812),), (("3", 812),))}


def test_a_sensor_numbered_over_255_is_left_out_by_the_library_alone(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0, sensors=(SensorPlan(Quantity.CURRENT, 256, "Rail", 310),)))

    assert warboys.differences(host) == {"currents": ((), (("Rail", 310),))}


def test_of_two_hwmon_chips_the_library_reads_one_and_npu_core_both(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    on_chip, on_board = (SensorPlan(Quantity.TEMPERATURE, 1, label, 40_000) for label in ("NE", "Board"))
    host = FakeHost(directory, warboy(0, sensors=(on_chip,), extra_sensors=(on_board,)))

    one, both = warboys.differences(host)["temperatures"]

    assert both == (("NE", 40_000), ("Board", 40_000))
    assert one in ((("NE", 40_000),), (("Board", 40_000),))


def test_perf_regs_without_the_high_half_are_left_out_by_the_library_and_32_bits_in_npu_core(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0))
    warboys.card(host).set_perf_regs(CoreRange(1, 1), 0xFFFF_FFFF, 2, 1)
    registers = warboys.entry(host, "npu0pe1") / "perf_regs"
    registers.write_text(registers.read_text().replace("CycleCountHigh: 0x0\n", ""))

    theirs, ours = warboys.library(host)["npu0"].counters, warboys.ours(host)["npu0"].counters

    assert theirs is not None
    assert ours is not None
    assert [str(counters.cores) for counters in theirs] == ["0", "0-1"]
    assert [(str(counters.cores), counters.cycles) for counters in ours] == [("0", 0), ("1", 0xFFFF_FFFF), ("0-1", 0)]


def test_a_line_that_is_no_error_counter_is_dropped_by_the_library_and_refused_by_npu_core(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0))
    warboys.card(host).set_attribute("atr_error", "AXI Post Error: 1\nDevice Error: many")

    assert warboys.differences(host) == {"errors": ({"axi_post_error": 1}, None)}


def test_an_empty_list_of_errors_is_one_to_the_library_and_unknown_to_npu_core(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0))
    warboys.card(host).set_attribute("atr_error", "")

    assert warboys.differences(host) == {"errors": ({}, None)}


def test_a_line_that_is_no_clock_is_dropped_by_the_library_and_refused_by_npu_core(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0))
    warboys.card(host).set_attribute("ne_clk_freq_info", "ne tensor (MHz): fast")

    assert warboys.differences(host) == {"clocks": ((), None)}


@pytest.mark.parametrize(("seconds", "theirs"), [(2**32, None), (2**32 - 1, 2**32 - 1), (2**31 + 1, 2**31 + 1)])
def test_a_heartbeat_of_many_years_is_none_to_npu_core(
    warboys: Family[WarboyCard], directory: Path, seconds: int, theirs: int | None
) -> None:
    host = FakeHost(directory, warboy(0))
    warboys.card(host).set_uptime(seconds)

    assert warboys.differences(host) == ({} if theirs is None else {"uptime": (theirs, None)})
