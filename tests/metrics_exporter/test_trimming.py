"""Names after a pipeline took type and unit suffixes off, as OpenTelemetry's collector does if it is told to."""

from collections import defaultdict

import pytest

from npu_metrics_exporter.metrics.families import TABLE
from npu_metrics_exporter.metrics.policy import Units
from testkit.deployments.exported import exported

UNITS = ("seconds", "celsius", "watts", "volts", "amperes", "hertz", "ratio", "bytes", "percent", "joules", "meters")
"""Suffixes that name a unit. Source: Prometheus' base units."""
TWINS = {family.sample: family.twin for family in TABLE if family.twin is not None}


def trimmed(name: str) -> str:
    """The name without what says its type and its unit."""
    base = name.removesuffix("_total")
    return next((base.removesuffix(f"_{unit}") for unit in UNITS if base.endswith(f"_{unit}")), base)


def meeting(units: Units) -> set[tuple[str, ...]]:
    """Names of all three services that become one, where the exporter has this choice of twins."""
    by_trimmed: dict[str, list[str]] = defaultdict(list)
    for name in exported():
        if units is Units.BOTH or TWINS.get(name, units) is units:
            by_trimmed[trimmed(name)].append(name)
    return {tuple(sorted(names)) for names in by_trimmed.values() if len(names) > 1}


@pytest.mark.parametrize("units", [Units.BASE, Units.SPEC])
def test_with_one_kind_of_units_no_two_names_meet(units: Units) -> None:
    assert meeting(units) == set()


def test_with_both_kinds_only_twins_meet_as_the_specification_has_it() -> None:
    """docs/monitoring.md says so, and what to do."""
    spec = "furiosa_npu_"
    assert meeting(Units.BOTH) == {
        (f"{spec}{name}", f"{spec}{name}_{unit}")
        for name, unit in (
            ("uptime", "seconds"),
            ("hw_temperature", "celsius"),
            ("hw_power", "watts"),
            ("hw_voltage", "volts"),
            ("hw_current", "amperes"),
            ("core_utilization", "ratio"),
            ("core_frequency", "hertz"),
        )
    }


def test_a_suffix_is_taken_off_once_and_only_if_it_is_one() -> None:
    assert trimmed("process_cpu_seconds_total") == "process_cpu"
    assert trimmed("furiosa_npu_hw_power_watts") == "furiosa_npu_hw_power"
    assert trimmed("furiosa_npu_clock_transfers_per_second") == "furiosa_npu_clock_transfers_per_second"
