"""Which faults, in which order: drawn by seed, and lived through."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

from faults import steps
from faults.invariants import Disabled
from faults.steps import Step
from faults.world import BrokenError, Setup, World
from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.partition import Partitioning
from npu_core.testing import CardPlan, rngd, warboy
from standins.kubelet import Cut, Generation, PodResourcesBehaviour, PodResourcesMode, WipeRule

_MOST_SETTLED = 0.6
"""Seconds between two steps, at most: less than what many of them need, so that they overlap."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A step, and how long nothing else happens after it."""

    step: Step
    pause: float

    def __str__(self) -> str:
        return f"{self.step} then {self.pause:.2f} s"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A machine and all that happens to it."""

    setup: Setup
    steps: tuple[Scheduled, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a schedule.

    Attributes:
        seconds: how long it took.
        report: what is to be known of a failure; empty if there was none.
    """

    seed: int
    steps: int
    seconds: float
    report: str = ""

    def __str__(self) -> str:
        verdict = "BROKEN" if self.report else "ok"
        return f"seed {self.seed}: {self.steps} steps in {self.seconds:.1f} s, {verdict}"


def draw(seed: int, count: int) -> Schedule:
    """The schedule of a seed: always the same."""
    rng = random.Random(seed)  # noqa: S311  # reproducible on purpose
    plans = _cards(rng)
    setup = Setup(
        cards=plans,
        generation=rng.choice(list(Generation)),
        default_pe=_partitioning(rng, plans),
        restart_at_end=rng.random() < 0.5,
        thorough=rng.random() < 0.2,
    )
    chosen = [draw_step(rng, plans) for _ in range(count)]
    # Squared: mostly short.
    return Schedule(setup, tuple(Scheduled(step, rng.random() ** 2 * _MOST_SETTLED) for step in chosen))


def draw_step(rng: random.Random, plans: tuple[CardPlan, ...]) -> Step:
    """Any step that may happen to a machine with these cards."""
    makers, weights = zip(*_MAKERS, strict=True)
    maker: _Maker = rng.choices(makers, weights)[0]
    return maker(rng, plans)


def _cards(rng: random.Random) -> tuple[CardPlan, ...]:
    if rng.random() < 0.3:
        return tuple(rngd(index) for index in range(rng.choice((1, 2))))
    return tuple(warboy(index) for index in rng.sample(range(5), rng.choice((1, 2, 3))))


def _partitioning(rng: random.Random, plans: tuple[CardPlan, ...]) -> Partitioning:
    sizes: tuple[int | None, ...] = (None, 1) if plans[0].arch is Arch.WARBOY else (None, 1, 2, 4)
    return Partitioning(rng.choice(sizes))


# -- each kind of step, with what is left to chance -------------------------------------------------------------------

_Maker = Callable[[random.Random, tuple[CardPlan, ...]], Step]
_TEXTS = ("", "\n", "garbage", "\x01\x02\x7f", "-1", "0", "99999999999999999999", "x" * 5000, None)
_ALIVE = {Arch.WARBOY: "alive", Arch.RENEGADE: "device_state"}
_ATTRIBUTES = ("device_type", "device_uuid", "device_sn", "busname", "dev", "version", "fw_version", "heartbeat")
_SUFFIXES = {
    Arch.WARBOY: ("pe0", "pe1", "pe0-1", "_mgmt", "ch0"),
    Arch.RENEGADE: ("pe0", "pe1", "pe0-1", "mgmt", "ch0"),
}
_BAD_CONFIGS = (
    None,
    "defaultPe: [",
    "defaultPe: Half\n",
    "surprise: 1\n",
    "- a list\n",
    "interval: -1\n",
    "disabledDevices:\n  - devName: npu999\n",
)
_BEHAVIOURS = (
    *(PodResourcesBehaviour(mode) for mode in PodResourcesMode if mode is not PodResourcesMode.SERVED),
    PodResourcesBehaviour(delay=0.3),
    PodResourcesBehaviour(delay=1.0),
    PodResourcesBehaviour(delay=3.0),
    PodResourcesBehaviour(terminal_pods=True),
)


def _number(rng: random.Random) -> int:
    return rng.randrange(12)


def _restart_kubelet(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    away = rng.choice((0.0, 0.1, 0.4))
    return steps.RestartKubelet(away, rng.random() < 0.8, rng.choice(list(Generation)))


def _kill_kubelet(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    return steps.KillKubelet(rng.choice((Cut.FREEZE, Cut.CLOSE, Cut.RESET)), rng.choice((0.0, 0.1, 0.4)))


def _wipe(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    return steps.WipeDirectory(rng.choice(list(WipeRule)), rng.random() < 0.3)


def _cut(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    return steps.CutStream(rng.choices(list(Cut), (3, 3, 3, 1))[0])


def _cut_next(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    return steps.CutNextStreams(rng.choice((0, 1, 1, 2)), rng.choice((Cut.CANCEL, Cut.CLOSE, Cut.RESET)), 0.4)


def _read_slowly(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    return steps.ReadSlowly(rng.choice((0.0, 0.0, 0.2, 0.5)))


def _refuse(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    return steps.RefuseRegisters(rng.choice((1, 2, 3)))


def _pod_resources(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    return steps.served() if rng.random() < 0.5 else steps.PodResources(rng.choice(_BEHAVIOURS))


def _attribute(rng: random.Random, plans: tuple[CardPlan, ...]) -> Step:
    name = _ALIVE[plans[0].arch] if rng.random() < 0.5 else rng.choice(_ATTRIBUTES)
    text = None if rng.random() < 0.3 else rng.choice(_TEXTS)
    return steps.SpoilAttribute(_number(rng), name, text)


def _file(rng: random.Random, plans: tuple[CardPlan, ...]) -> Step:
    kind = rng.choice((steps.RemoveFile, steps.RestoreFile, steps.RestoreFile))
    return kind(_number(rng), rng.choice(_SUFFIXES[plans[0].arch]))


def _disable(rng: random.Random, plans: tuple[CardPlan, ...]) -> Step:
    chosen = rng.sample(plans, rng.choice((0, 0, 1, 1, len(plans))))
    return steps.Disable(tuple(_entry(rng, plan) for plan in chosen))


def _entry(rng: random.Random, plan: CardPlan) -> Disabled:
    cores = CoreRange(0, 0) if rng.random() < 0.5 else CoreRange(0, 1)
    return rng.choice(
        (
            Disabled(plan.name, plan.index),
            Disabled(plan.uuid, plan.index),
            Disabled(plan.pci, plan.index),
            Disabled(f"{plan.name}pe{cores}", plan.index, cores),
        )
    )


_MAKERS: tuple[tuple[_Maker, int], ...] = (
    (_restart_kubelet, 5),
    (_kill_kubelet, 4),
    (lambda _rng, _plans: steps.StopKubelet(), 1),
    (_wipe, 4),
    (_cut, 6),
    (_cut_next, 2),
    (_read_slowly, 3),
    (_refuse, 4),
    (_pod_resources, 8),
    (lambda _rng, _plans: steps.DeleteSocket(), 3),
    (lambda _rng, _plans: steps.ReplaceSocketByFile(), 2),
    (lambda _rng, _plans: steps.ReplaceSocketByForeign(), 2),
    (lambda rng, _plans: steps.RestartPlugin(rng.random() < 0.5), 6),
    (lambda rng, _plans: steps.Die(_number(rng)), 4),
    (lambda rng, _plans: steps.Revive(_number(rng)), 9),
    (lambda rng, _plans: steps.Disappear(_number(rng)), 4),
    (lambda rng, _plans: steps.Reappear(_number(rng)), 7),
    (_attribute, 7),
    (_file, 6),
    (lambda rng, _plans: steps.RenumberHwmon(_number(rng)), 1),
    (lambda rng, plans: steps.CutCards(_partitioning(rng, plans)), 14),
    (_disable, 6),
    (lambda rng, _plans: steps.BadConfig(rng.choice(_BAD_CONFIGS)), 3),
    (lambda rng, _plans: steps.StartPod(rng.choice((1, 1, 1, 2))), 28),
    (lambda rng, _plans: steps.DeletePod(_number(rng)), 9),
    (lambda rng, _plans: steps.RestartContainer(_number(rng)), 4),
)


# -- living through it ------------------------------------------------------------------------------------------------


async def live_through(seed: int, count: int) -> Outcome:
    """Let everything happen that the seed has drawn, heal it, and tell what came of it."""
    schedule, began, done = draw(seed, count), time.monotonic(), list[str]()
    async with World(schedule.setup) as world:
        try:
            await _live(world, schedule, done)
        except Exception as error:  # noqa: BLE001  # whatever went wrong, the report says what led to it
            reason = str(error) if isinstance(error, BrokenError) else repr(error)
            return Outcome(seed, len(done), time.monotonic() - began, _report(seed, schedule, world, done, reason))
    return Outcome(seed, count, time.monotonic() - began)


def run_quietly(seed: int, count: int) -> Outcome:
    """The same, in an event loop of its own; what the plugin logs is in the report of a failure only."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        return asyncio.run(live_through(seed, count))


async def _live(world: World, schedule: Schedule, done: list[str]) -> None:
    for scheduled in schedule.steps:
        done.append(f"{time.monotonic():.3f} {scheduled}")
        await scheduled.step.apply(world)
        await asyncio.sleep(scheduled.pause)
        world.check()
    done.append(f"{time.monotonic():.3f} everything is healed")
    await world.heal()


def _report(seed: int, schedule: Schedule, world: World, done: list[str], reason: str) -> str:
    logs = [f"{plugin.pid}: {line}" for plugin in world.plugins for line in plugin.log]
    return "\n".join(
        (
            f"--- seed {seed} ---",
            f"machine: {schedule.setup}",
            "steps so far:",
            *done,
            "the kubelet's journal:",
            *map(str, world.kubelet.events),
            "the node:",
            str(world.kubelet.view()),
            "the plugin's log:",
            *logs,
            "broken:",
            reason,
            f"replay: python -m faults --seed {seed} --steps {len(schedule.steps)}",
        )
    )
