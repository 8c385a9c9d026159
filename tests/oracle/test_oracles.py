"""The vendor's libraries and `npu_core` read the same simulated hosts, and agree on every field that both give.

What they are meant to differ in is in `test_warboy_differences.py` and `test_rngd_differences.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from npu_core.sensors import Quantity
from npu_core.testing import CardPlan, FakeCard, FakeHost, SensorPlan, Simulation, rngd, warboy
from npu_core.testing.layout import ERROR_KINDS
from tests.oracle.compare import Card, RngdCard, WarboyCard, disagreements, missing_fields
from tests.oracle.families import Family

pytestmark = pytest.mark.oracle


def assert_agreement(family: Family[Card], host: FakeHost) -> None:
    """The two list every card of the family that is there, and agree about each."""
    library = family.library(host)
    assert sorted(library) == sorted(card.name for card in present(family, host))
    assert disagreements(library, family.ours(host)) == []


def present(family: Family[Card], host: FakeHost) -> list[FakeCard]:
    return [card for card in host.cards if card.present and card.plan.arch is family.arch]


def relabelled(plan: CardPlan, labels: Iterable[str | None]) -> CardPlan:
    """The card with other labels on its first sensors."""
    changed = [replace(sensor, label=label) for sensor, label in zip(plan.sensors, labels, strict=False)]
    return replace(plan, sensors=(*changed, *plan.sensors[len(changed) :]))


def work_warboy(card: FakeCard) -> None:
    """Let every value of a Warboy card be another than at the start, and other than the values beside it."""
    for sensor in card.plan.sensors:
        card.set_sensor(sensor.quantity, sensor.channel, sensor.value + 13 * sensor.channel + 1)
    for count, kind in enumerate(ERROR_KINDS, 1):
        card.set_error(kind, count)
    for start, cores in enumerate(card.plan.spec.core_files, 7):
        card.set_perf_regs(cores, start << 40 | 0xFFFF_FFFF, 0xFFFF_FF00 + start, 0x8000_0000 + start)
    card.set_uptime(2_000_000_000)
    card.set_attribute("ne_clk_freq_info", "ne tensor (MHz): 1000\nne memory (MHz): 500\ndram (MT/s): 2133")
    card.die()


def work_rngd(card: FakeCard) -> None:
    """As :func:`work_warboy`, for RNGD."""
    for sensor in card.plan.sensors:
        card.set_sensor(sensor.quantity, sensor.channel, sensor.value + 13 * sensor.channel + 1)
    for start, cores in enumerate(card.plan.spec.core_files, 7):
        card.set_perf_regs(cores, start << 56 | 0xFFFF_FFFF, start << 48 | 1)
    card.set_attribute("pe_occupancy", "1\n0\n1\n1\n0\n0\n0\n1")
    card.set_attribute("npu_clocks", "\n".join(str(1_999_999_999 - 100_000_000 * core) for core in range(8)))
    card.set_attribute("npu_governor", "performance")
    card.set_attribute("throttle_reason", "1a")
    card.die()


# -- which cards there are ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "indices",
    [(0,), range(8), range(16), (0, 3, 11, 12), (9, 10, 99, 100, 255)],
    ids=["one", "eight", "sixteen", "with_holes_between", "of_one_to_three_digits"],
)
def test_every_card_of_a_host_is_read_alike(family: Family[Card], directory: Path, indices: Iterable[int]) -> None:
    assert_agreement(family, FakeHost(directory, *(family.plan(index) for index in indices)))


def test_a_host_without_cards_is_read_alike(family: Family[Card], directory: Path) -> None:
    assert_agreement(family, FakeHost(directory))


def test_families_with_the_same_indices_do_not_mix(
    warboys: Family[WarboyCard], rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0), rngd(0), warboy(3), rngd(3), rngd(4))

    assert_agreement(warboys, host)
    assert_agreement(rngds, host)


def test_a_card_that_left_the_bus_is_on_neither_list_until_it_is_back(family: Family[Card], directory: Path) -> None:
    host = FakeHost(directory, *(family.plan(index) for index in range(3)))
    family.card(host, 1).disappear()
    assert_agreement(family, host)

    family.card(host, 1).reappear()
    assert_agreement(family, host)


# -- what the cards are -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"serial": ""}, id="without_a_serial_number"),
        pytest.param({"uuid": ""}, id="without_a_uuid"),
        pytest.param({"serial": "", "uuid": "", "line_ends": False}, id="without_either_and_without_line_ends"),
        pytest.param({"line_ends": False}, id="without_line_ends"),
        pytest.param({"numa_node": -1}, id="on_a_machine_that_does_not_say_its_numa_node"),
        pytest.param({"numa_node": 3}, id="on_another_numa_node"),
        pytest.param({"absent_files": frozenset({"ch0"})}, id="without_a_channel_file"),
        pytest.param({"absent_files": frozenset({"pe0-1"})}, id="without_a_fused_file"),
    ],
)
def test_a_card_is_read_alike(family: Family[Card], directory: Path, changes: dict[str, object]) -> None:
    assert_agreement(family, FakeHost(directory, family.plan(0), family.plan(1, **changes)))


@pytest.mark.parametrize("version", ["2026.1.0", "2026.1.0, e28c5c0", "2026.1.0~rc1, e28c5c0", "1.0.0, 0abc"])
def test_a_version_in_any_of_the_drivers_forms_is_read_alike(
    family: Family[Card], directory: Path, version: str
) -> None:
    host = FakeHost(directory, family.plan(0, driver=version, firmware=version))
    # Dead to a driver of any generation; which number means alive is a difference.
    family.card(host).set_attribute("device_state", "9")

    assert_agreement(family, host)


@pytest.mark.parametrize("revision", ["A0", "B0", ""])
def test_a_warboy_card_of_any_revision_is_read_alike(
    warboys: Family[WarboyCard], directory: Path, revision: str
) -> None:
    assert_agreement(warboys, FakeHost(directory, warboy(0, soc_rev=revision)))


def test_a_warboy_card_without_a_firmware_version_is_read_alike(warboys: Family[WarboyCard], directory: Path) -> None:
    assert_agreement(warboys, FakeHost(directory, warboy(0, firmware="")))


# -- what the cards say -------------------------------------------------------------------------------------------


def test_hwmon_directories_may_have_any_number(family: Family[Card], directory: Path) -> None:
    host = FakeHost(directory, family.plan(0), family.plan(1))
    for _ in range(3):
        family.card(host, 0).renumber_hwmon()

    assert_agreement(family, host)


def test_warboy_sensors_without_a_label_and_with_equal_ones_are_read_alike(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    card = relabelled(warboy(0), [None, "Rail", "Rail", " Rail 3 "])

    assert_agreement(warboys, FakeHost(directory, card))


def test_warboy_sensors_come_in_the_order_of_their_channels(warboys: Family[WarboyCard], directory: Path) -> None:
    sensors = tuple(SensorPlan(Quantity.TEMPERATURE, channel, f"T{channel}", channel) for channel in (10, 2, 255, 1))
    host = FakeHost(directory, warboy(0, sensors=sensors))

    assert_agreement(warboys, host)
    assert warboys.ours(host)["npu0"].temperatures == (("T1", 1), ("T2", 2), ("T10", 10), ("T255", 255))


@pytest.mark.parametrize("millidegrees", [-55_000, -2, 0, 125_000, 150_000])
def test_a_temperature_may_be_anything_that_silicon_can_have(
    family: Family[Card], directory: Path, millidegrees: int
) -> None:
    host = FakeHost(directory, family.plan(0))
    family.card(host).set_temperature(millidegrees)

    assert_agreement(family, host)


@pytest.mark.parametrize("label", ["PEAK", "AMBIENT", "NPU_PE3"])
def test_one_rngd_temperature_that_changed_is_told_from_the_others(
    rngds: Family[RngdCard], directory: Path, label: str
) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_temperature(71_250, label)

    assert_agreement(rngds, host)


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_an_error_is_counted_under_its_own_kind(warboys: Family[WarboyCard], directory: Path, kind: str) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    warboys.card(host).set_error(kind, 2**32 - 2)

    assert_agreement(warboys, host)


def test_a_card_that_died_and_one_that_revived_are_told_from_each_other(family: Family[Card], directory: Path) -> None:
    host = FakeHost(directory, *(family.plan(index) for index in range(3)))
    family.card(host, 0).die()
    family.card(host, 1).die()
    family.card(host, 1).revive()

    assert_agreement(family, host)
    assert [card.alive for card in family.ours(host).values()] == [False, True, True]


@pytest.mark.parametrize("state", range(8))
def test_an_rngd_card_is_alive_in_state_0_alone(rngds: Family[RngdCard], directory: Path, state: int) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_attribute("device_state", str(state))

    assert_agreement(rngds, host)


@pytest.mark.parametrize("reason", ["0", "0x0", "10", "0x10", "ff", "0xFF"])
def test_the_throttle_reason_is_hexadecimal(rngds: Family[RngdCard], directory: Path, reason: str) -> None:
    host = FakeHost(directory, rngd(0))
    rngds.card(host).set_attribute("throttle_reason", reason)

    assert_agreement(rngds, host)


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("alive", "true"),
        ("alive", "01"),
        ("alive", ""),
        ("heartbeat", "soon"),
        ("heartbeat", "-1"),
        ("heartbeat", ""),
        ("heartbeat", "1.5"),
    ],
)
def test_neither_guesses_what_a_warboy_card_means(
    warboys: Family[WarboyCard], directory: Path, attribute: str, text: str
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    warboys.card(host).set_attribute(attribute, text)

    assert_agreement(warboys, host)
    assert missing_fields(warboys.ours(host)["npu0"]) == [{"heartbeat": "uptime"}.get(attribute, attribute)]


@pytest.mark.parametrize(
    ("attribute", "text", "fields"),
    [
        ("pe_occupancy", "\n".join("00200000"), ["occupancy", "counters"]),
        ("npu_clocks", "\n".join(["0x3b9aca00"] * 8), ["core_megahertz"]),
        ("npu_clocks", "\n".join(["1000 MHz"] * 8), ["core_megahertz"]),
        ("throttle_reason", "", ["throttle_reason"]),
        ("throttle_reason", "hot", ["throttle_reason"]),
    ],
)
def test_neither_guesses_what_an_rngd_card_means(
    rngds: Family[RngdCard], directory: Path, attribute: str, text: str, fields: list[str]
) -> None:
    host = FakeHost(directory, rngd(0), rngd(1))
    rngds.card(host).set_attribute(attribute, text)

    assert_agreement(rngds, host)
    assert missing_fields(rngds.ours(host)["npu0"]) == fields


@pytest.mark.parametrize("attribute", ["alive", "heartbeat", "atr_error", "ne_clk_freq_info", "version", "fw_version"])
def test_an_attribute_that_a_warboy_driver_lacks_is_one_field(
    warboys: Family[WarboyCard], directory: Path, attribute: str
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    warboys.card(host).remove_attribute(attribute)

    assert_agreement(warboys, host)
    assert len(missing_fields(warboys.ours(host)["npu0"])) == 1


@pytest.mark.parametrize("attribute", ["npu_clocks", "npu_governor", "throttle_reason"])
def test_an_attribute_that_an_rngd_driver_lacks_is_one_field(
    rngds: Family[RngdCard], directory: Path, attribute: str
) -> None:
    host = FakeHost(directory, rngd(0), rngd(1))
    rngds.card(host).remove_attribute(attribute)

    assert_agreement(rngds, host)
    assert len(missing_fields(rngds.ours(host)["npu0"])) == 1


# -- at work ------------------------------------------------------------------------------------------------------


def test_a_warboy_card_of_which_everything_changed_is_read_alike(warboys: Family[WarboyCard], directory: Path) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    work_warboy(warboys.card(host))

    assert_agreement(warboys, host)


def test_an_rngd_card_of_which_everything_changed_is_read_alike(rngds: Family[RngdCard], directory: Path) -> None:
    host = FakeHost(directory, rngd(0), rngd(1))
    work_rngd(rngds.card(host))

    assert_agreement(rngds, host)


def test_a_working_host_is_read_alike_at_every_moment(
    warboys: Family[WarboyCard], rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1), rngd(0), rngd(1))
    simulation = Simulation(host, seed=7)
    for seconds in (1.0, 30.0, 3_600.0):
        simulation.step(seconds)

        assert_agreement(warboys, host)
        assert_agreement(rngds, host)


# -- the comparison itself ----------------------------------------------------------------------------------------


def test_both_sides_give_every_field_that_is_compared(family: Family[Card], directory: Path) -> None:
    host = FakeHost(directory, family.plan(0))

    assert missing_fields(family.library(host)["npu0"]) == []
    assert missing_fields(family.ours(host)["npu0"]) == []


def test_a_change_between_the_two_readings_shows_in_every_field_of_a_warboy_card(
    warboys: Family[WarboyCard], directory: Path
) -> None:
    host = FakeHost(directory, warboy(0), warboy(1))
    library = warboys.library(host)
    work_warboy(warboys.card(host))

    lines = disagreements(library, warboys.ours(host))

    assert lines[0] == "npu0 alive: the library says True, npu_core False"
    assert [line.partition(":")[0].removeprefix("npu0 ") for line in lines] == [
        "alive",
        "errors",
        "uptime",
        "clocks",
        "currents",
        "voltages",
        "powers",
        "temperatures",
        "counters",
    ]


def test_a_change_between_the_two_readings_shows_in_every_field_of_an_rngd_card(
    rngds: Family[RngdCard], directory: Path
) -> None:
    host = FakeHost(directory, rngd(0), rngd(1))
    library = rngds.library(host)
    work_rngd(rngds.card(host))

    lines = disagreements(library, rngds.ours(host))

    assert [line.partition(":")[0].removeprefix("npu0 ") for line in lines] == [
        "alive",
        "occupancy",
        "counters",
        "core_megahertz",
        "performance_mode",
        "throttle_reason",
        "microwatts",
        "peak_millidegrees",
        "ambient_millidegrees",
    ]


def test_cards_of_which_one_side_knows_nothing_are_named(family: Family[Card], directory: Path) -> None:
    host = FakeHost(directory, family.plan(0), family.plan(1))
    library = family.library(host)
    family.card(host, 0).disappear()
    host.plug(family.plan(2))

    assert disagreements(library, family.ours(host)) == [
        "npu0: only the library lists it",
        "npu2: only npu_core lists it",
    ]
