"""A simulated host at work: what it shows hangs together as on a real one."""

from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.counters import PeCounters, Utilization
from npu_core.device import Device
from npu_core.sensors import Quantity, Reading
from npu_core.testing import CardPlan, FakeHost, SensorPlan, Simulation, rngd, warboy

every_family = pytest.mark.parametrize("plan", [warboy(0), rngd(0)], ids=["warboy", "rngd"])


def start(root: Path, *plans: CardPlan, seed: int = 1) -> tuple[FakeHost, Simulation, Device]:
    host = FakeHost(root, *plans)
    return host, Simulation(host, seed), host.open().inventory().devices[0]


def shown(host: FakeHost) -> list[object]:
    view = host.open()
    return [
        (view.readings(device), view.uptime(device), [view.pe_counters(device, pe) for pe in device.cores.split(1)])
        for device in view.inventory().devices
    ]


def headline(host: FakeHost, device: Device) -> tuple[int, int]:
    """Temperature and power."""
    found = host.open().readings(device)
    temperature = found.find(Quantity.TEMPERATURE, device.spec.temperature_labels)
    power = found.find(Quantity.POWER, [device.spec.power_label])
    assert isinstance(temperature, Reading)
    assert isinstance(power, Reading)
    return temperature.value, power.value


def test_a_seed_gives_one_course_of_things_and_another_seed_another(tmp_path: Path) -> None:
    runs = [start(tmp_path / name, warboy(0), rngd(0), seed=seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))]
    before = runs[0][0].open().inventory()
    for _ in range(5):
        for _, simulation, _ in runs:
            simulation.step(1.0)
        one, alike, other = (shown(host) for host, _, _ in runs)
        assert one == alike
        assert one != other
    assert runs[0][0].open().inventory() == before


@every_family
def test_the_heartbeat_counts_the_seconds_that_pass(tmp_path: Path, plan: CardPlan) -> None:
    host, simulation, device = start(tmp_path, plan)
    uptimes = []
    for _ in range(4):
        simulation.step(0.5)
        uptimes.append(host.open().uptime(device))
    assert uptimes == [0, 1, 1, 2]


@every_family
def test_work_makes_heat_and_takes_power(tmp_path: Path, plan: CardPlan) -> None:
    host, simulation, device = start(tmp_path, plan)
    cool, idle = headline(host, device)
    seen = []
    for _ in range(60):
        simulation.step(1.0)
        seen.append(headline(host, device))
    assert cool + 5_000 < max(heat for heat, _ in seen) < 100_000
    assert 1.5 * idle < max(power for _, power in seen) < 200_000_000


@every_family
def test_a_card_with_nothing_to_do_stays_cool(tmp_path: Path, plan: CardPlan) -> None:
    host, simulation, device = start(tmp_path, plan)
    for core in simulation._states[0].cores:
        core.until = 1e9
    for _ in range(30):
        simulation.step(1.0)
    heat, power = headline(host, device)
    assert heat < 45_000
    assert power < 1.1 * simulation._states[0].model.idle_power * 1e6


@every_family
def test_the_utilization_that_the_library_sees_is_the_load(tmp_path: Path, plan: CardPlan) -> None:
    host, simulation, device = start(tmp_path, plan)
    parts = device.cores.split(1)
    fused = [CoreRange(0, 1)] if plan.arch is Arch.WARBOY else []

    def look() -> list[PeCounters]:
        return [host.open().pe_counters(device, pe) for pe in (*parts, *fused)]

    simulation.step(1.0)
    for _ in range(12):
        earlier = look()
        simulation.step(1.0)
        loads = [core.load for core in simulation._states[0].cores]
        mean = [sum(loads) / len(loads)] * len(fused)
        for before, after, load in zip(earlier, look(), [*loads, *mean], strict=True):
            work = Utilization.between(before, after)
            assert work is not None
            assert work.busy == pytest.approx(load, abs=1e-6)
            assert work.computing is None or not work.busy or 0.79 <= work.computing <= 0.96
        if plan.arch is Arch.RENEGADE:
            targets = [core.target > 0 for core in simulation._states[0].cores]
            assert list(host.open().occupancy(device)) == targets


def test_a_card_that_is_away_does_not_work(tmp_path: Path) -> None:
    host, simulation, device = start(tmp_path, warboy(0), warboy(1))
    simulation.step(1.0)
    host.card(Arch.WARBOY, 0).disappear()
    simulation.step(10.0)
    assert not host.open().vitals(device).present
    host.card(Arch.WARBOY, 0).reappear()
    simulation.step(1.0)
    assert [host.open().uptime(each) for each in host.open().inventory().devices] == [2, 12]


def test_sensors_of_any_name_can_be_simulated(tmp_path: Path) -> None:
    odd = tuple(
        SensorPlan(Quantity.TEMPERATURE, channel, label, 40_000)
        for channel, label in enumerate([None, "", "NPU_PE9", "PEAK", "peak"], 1)
    )
    host, simulation, device = start(tmp_path, warboy(0, sensors=odd))
    simulation.step(1.0)
    assert len(host.open().readings(device).values) == 5
