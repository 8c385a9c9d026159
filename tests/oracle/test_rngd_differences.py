"""Where the vendor's library of RNGD cards and `npu_core` are meant to differ on the same host.

`npu_core` keeps what it can read and says that it does not know the rest; the library mostly gives up on more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from npu_core.cores import CoreRange
from npu_core.sensors import Quantity
from npu_core.testing import FakeHost, SensorPlan, rngd
from tests.oracle.compare import RngdCard, Version, missing_fields
from tests.oracle.families import Family

pytestmark = pytest.mark.oracle

INFO_FIELDS = {"bdf", "serial", "uuid", "dev", "numa_node", "firmware", "core_count"}


@pytest.mark.parametrize("alive", [True, False], ids=["alive", "dead"])
def test_the_state_of_an_old_driver_is_read_the_other_way_round_by_npu_core_alone(
    rngds: Family[RngdCard], directory: Path, *, alive: bool
) -> None:
    host = FakeHost(directory, rngd(0, driver="1.0.0, 0abcdef"))
    if not alive:
        rngds.card(host).die()

    assert rngds.differences(host) == {"alive": (not alive, alive)}


@pytest.mark.parametrize("text", ["", "fine", None])
def test_a_state_that_cannot_be_read_is_death_to_the_library_and_unknown_to_npu_core(
    rngds: Family[RngdCard], directory: Path, text: str | None
) -> None:
    host = FakeHost(directory, rngd(0))
    if text is None:
        rngds.card(host).remove_attribute("device_state")
    else:
        rngds.card(host).set_attribute("device_state", text)

    assert rngds.differences(host) == {"alive": (False, None)}


def test_blanks_before_a_serial_number_or_uuid_are_cut_by_npu_core_alone(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0, serial="  SN ", uuid=" U "))

    assert rngds.differences(host) == {"serial": ("  SN", "SN"), "uuid": (" U", "U")}


@pytest.mark.parametrize(
    ("attribute", "field"),
    [("device_sn", "serial"), ("device_uuid", "uuid"), ("dev", "dev"), ("fw_version", "firmware")],
)
def test_a_missing_attribute_costs_the_library_all_that_the_card_is_and_npu_core_that_field(
    rngds: Family[RngdCard], directory: Path, attribute: str, field: str
) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).remove_attribute(attribute)

    assert set(missing_fields(rngds.library(host)["npu0"])) == INFO_FIELDS
    assert missing_fields(rngds.ours(host)["npu0"]) == [field]


def test_a_missing_firmware_version_or_numa_node_costs_the_library_all_that_the_card_is(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0, firmware=""), rngd(1, numa_node=None))

    library, ours = rngds.library(host), rngds.ours(host)

    assert {name: set(missing_fields(card)) for name, card in library.items()} == dict.fromkeys(ours, INFO_FIELDS)
    assert missing_fields(ours["npu0"]) == ["firmware"]
    assert missing_fields(ours["npu1"]) == ["numa_node"]


def test_a_card_that_does_not_say_where_it_is_is_left_out_by_the_library_alone(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0), rngd(1))
    rngds.card(host).remove_attribute("busname")

    assert (list(rngds.library(host)), list(rngds.ours(host))) == (["npu1"], ["npu0", "npu1"])


def test_a_card_without_files_of_its_cores_is_left_out_by_the_library_alone(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0), rngd(1))
    for file in rngds.device(host).files:
        if file.cores is not None:
            rngds.card(host).remove_file(file.suffix)

    assert (list(rngds.library(host)), list(rngds.ours(host))) == (["npu1"], ["npu0", "npu1"])


def test_a_card_without_a_link_to_its_driver_is_lost_to_the_library_and_whole_to_npu_core(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0))
    Path(host.sysfs, "bus/pci/devices", rngds.card(host).plan.pci, "driver").unlink()

    (lost,) = rngds.library(host).values()

    assert lost.device_files is None
    assert missing_fields(rngds.ours(host)["npu0"]) == []


def test_the_driver_is_that_of_the_first_card_to_the_library_and_its_own_of_each_to_npu_core(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0), rngd(1, driver="2027.2.0, e28c5c0"))

    drivers = [
        [card.driver and card.driver.major for card in cards.values()]
        for cards in (rngds.library(host), rngds.ours(host))
    ]

    assert drivers == [[2026, 2026], [2026, 2027]]


def test_the_reference_of_a_driver_before_its_release_is_lost_to_the_library_alone(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0, driver="2025.4.0-dev2+0e9e56a, e28c5c0"))

    theirs, ours = rngds.differences(host)["driver"]

    assert theirs == Version(2025, 4, 0, None)
    assert ours == Version(2025, 4, 0, "e28c5c0")


def test_idle_cores_count_nothing_to_the_library_and_what_the_driver_says_to_npu_core(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_perf_regs(CoreRange(2, 2), 1_000, 250)

    (card,) = cast("dict[str, Any]", rngds.answer(host))["cards"]
    assert [core["cycle_count"] for core in card["performance_counters"]] == [0] * 8
    ours = host.open().pe_counters(rngds.device(host), CoreRange(2, 2))
    assert (ours.cycles, ours.task_cycles) == (1_000, 250)


def test_an_occupied_core_without_counters_costs_the_library_all_of_them_and_npu_core_its_own(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_attribute("pe_occupancy", "\n".join("11000000"))
    (rngds.entry(host, "npu0pe1") / "metrics").unlink()

    theirs, ours = rngds.library(host)["npu0"].counters, rngds.ours(host)["npu0"].counters

    assert theirs is None
    assert ours is not None
    assert [str(counters.cores) for counters in ours] == ["0"]


def test_a_core_of_which_the_driver_leaves_out_a_counter_has_zeros_in_the_library_and_none_in_npu_core(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_attribute("pe_occupancy", "\n".join("10000000"))
    (rngds.entry(host, "npu0pe0") / "metrics").write_text("TaskCycleCount: 0x8\n")

    theirs, ours = rngds.library(host)["npu0"].counters, rngds.ours(host)["npu0"].counters

    assert theirs is not None
    assert [(counters.cycles, counters.task_cycles) for counters in theirs] == [(0, 0)]
    assert ours == ()


def test_lines_beyond_the_cores_are_ignored_by_the_library_and_passed_on_by_npu_core(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_attribute("pe_occupancy", "\n".join("000000001"))

    assert rngds.differences(host) == {"occupancy": ((False,) * 8, (*(False,) * 8, True))}


def test_a_governor_that_is_not_known_is_refused_by_the_library_and_passed_on_by_npu_core(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_attribute("npu_governor", "ondemand")

    assert rngds.differences(host) == {"performance_mode": (None, "ondemand")}


def test_one_temperature_that_cannot_be_read_costs_the_library_all_and_npu_core_that_one(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0))
    whole = rngds.ours(host)["npu0"]
    rngds.card(host).set_sensor(Quantity.TEMPERATURE, 4, "hot")

    assert rngds.differences(host) == {
        "peak_millidegrees": (None, whole.peak_millidegrees),
        "ambient_millidegrees": (None, whole.ambient_millidegrees),
    }


def test_the_case_of_a_temperature_label_matters_to_the_library_alone(rngds: Family[RngdCard], directory: Path) -> None:
    sensors = tuple(
        SensorPlan(Quantity.TEMPERATURE, channel, label, 40_000) for channel, label in ((1, "Peak"), (2, "Ambient"))
    )
    host = FakeHost(directory, rngd(0, sensors=sensors))

    assert rngds.differences(host) == {
        "peak_millidegrees": (None, 40_000),
        "ambient_millidegrees": (None, 40_000),
    }


@pytest.mark.parametrize(("microwatts", "theirs"), [(2**31, None), (2**31 - 1, 2**31 - 1), (1_000_000_001,) * 2])
def test_a_power_that_no_card_can_draw_is_none_to_npu_core(
    rngds: Family[RngdCard], directory: Path, microwatts: int, theirs: int | None
) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_sensor(Quantity.POWER, 1, microwatts)

    assert rngds.differences(host) == ({} if theirs is None else {"microwatts": (theirs, None)})
