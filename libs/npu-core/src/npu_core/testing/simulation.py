"""A simulated host that works: load comes and goes, power and heat follow it, counters run."""

import math
import random
import re
from dataclasses import dataclass, field

from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.sensors import Quantity
from npu_core.testing.card import FakeCard
from npu_core.testing.host import FakeHost
from npu_core.testing.plan import SensorPlan


@dataclass(frozen=True, slots=True)
class _Model:
    """How a family of cards behaves under load."""

    clock: int
    """Hz."""
    idle_power: float
    """Watts of the whole card."""
    full_power: float
    """Watts of the whole card with all PEs busy."""
    degrees_per_watt: float
    """Kelvin above ambient, when settled."""


_MODELS = {
    Arch.WARBOY: _Model(2_000_000_000, idle_power=9.5, full_power=52.0, degrees_per_watt=0.95),
    Arch.RENEGADE: _Model(1_000_000_000, idle_power=38.0, full_power=178.0, degrees_per_watt=0.28),
}
_AMBIENT = 29.0
_THERMAL_SECONDS = 18.0
_LOAD_SECONDS = 1.5
_BUSY_SECONDS = (8.0, 40.0)
_IDLE_SECONDS = (4.0, 20.0)
_CORE_SPREAD = 1.5
_DROOP = 0.02
_NOISE = 0.002
_CORE_LABEL = re.compile(r"_PE([0-9])$")


@dataclass(slots=True)
class _Core:
    load: float = 0.0
    target: float = 0.0
    until: float = 0.0
    cycles: int = 0
    task: int = 0
    tensor: int = 0


@dataclass(slots=True)
class _CardState:
    card: FakeCard
    model: _Model
    cores: list[_Core]
    degrees: float
    uptime: float = field(default=0.0)

    @property
    def load(self) -> float:
        return sum(core.load for core in self.cores) / len(self.cores)

    @property
    def watts(self) -> float:
        return self.model.idle_power + (self.model.full_power - self.model.idle_power) * self.load


class Simulation:
    """Moves every present card of a host on by a span of time, deterministically for a seed.

    Each PE is busy and idle in turn; the card's power follows the load at once and its temperature slowly; the
    heartbeat counts seconds and the performance registers count cycles.
    """

    def __init__(self, host: FakeHost, seed: int = 0) -> None:
        """A simulation of the cards that ``host`` has now."""
        self._random = random.Random(seed)  # noqa: S311  # a simulation, not a secret
        self._now = 0.0
        self._states = [self._start(card) for card in host.cards]

    @staticmethod
    def _start(card: FakeCard) -> _CardState:
        model = _MODELS[card.plan.arch]
        cores = [_Core() for _ in range(card.plan.spec.pe_count)]
        return _CardState(card, model, cores, _AMBIENT + model.idle_power * model.degrees_per_watt)

    def step(self, seconds: float) -> None:
        """Let ``seconds`` pass and write what the cards then show."""
        self._now += seconds
        for state in self._states:
            if state.card.present:
                self._work(state, seconds)
                self._write(state)

    def _work(self, state: _CardState, seconds: float) -> None:
        for core in state.cores:
            if self._now >= core.until:
                self._change_load(core)
            core.load += (core.target - core.load) * (1 - math.exp(-seconds / _LOAD_SECONDS))
            cycles = round(state.model.clock * seconds)
            task = round(cycles * core.load)
            core.cycles += cycles
            core.task += task
            core.tensor += round(task * self._random.uniform(0.8, 0.95))
        settled = _AMBIENT + state.watts * state.model.degrees_per_watt
        state.degrees += (settled - state.degrees) * (1 - math.exp(-seconds / _THERMAL_SECONDS))
        state.uptime += seconds

    def _change_load(self, core: _Core) -> None:
        busy = core.target == 0.0
        core.target = self._random.uniform(0.55, 1.0) if busy else 0.0
        core.until = self._now + self._random.uniform(*(_BUSY_SECONDS if busy else _IDLE_SECONDS))

    def _write(self, state: _CardState) -> None:
        card = state.card
        card.set_uptime(int(state.uptime))
        for core, work in enumerate(state.cores):
            card.set_perf_regs(CoreRange(core, core), work.cycles, work.task, work.tensor)
        for cores in card.plan.spec.fused_ranges:
            parts = [state.cores[core] for core in cores]
            card.set_perf_regs(
                cores,
                parts[0].cycles,
                sum(part.task for part in parts) // len(parts),
                sum(part.tensor for part in parts) // len(parts),
            )
        if card.plan.arch is Arch.RENEGADE:
            card.set_attribute("pe_occupancy", "\n".join(str(int(core.target > 0)) for core in state.cores))
        for sensor in card.plan.sensors:
            value = _sensor_value(state, sensor) * self._random.uniform(1 - _NOISE, 1 + _NOISE)
            card.set_sensor(sensor.quantity, sensor.channel, round(value))


def _sensor_value(state: _CardState, sensor: SensorPlan) -> float:
    """What the sensor reads, in its quantity's unit. Declared values are those of an idle card."""
    match sensor.quantity:
        case Quantity.TEMPERATURE:
            return 1000 * _degrees(state, sensor.label or "")
        case Quantity.POWER | Quantity.CURRENT:
            return sensor.value * state.watts / state.model.idle_power
        case Quantity.VOLTAGE:
            return sensor.value * (1 - _DROOP * state.load)


def _degrees(state: _CardState, label: str) -> float:
    if label == "AMBIENT":
        return _AMBIENT + 2 * state.load
    if label.lower() == "peak":
        return state.degrees + 2 * _CORE_SPREAD
    match = _CORE_LABEL.search(label)
    if match and int(match[1]) < len(state.cores):
        return state.degrees + _CORE_SPREAD * (state.cores[int(match[1])].load - state.load)
    return state.degrees
