"""Which faults, in which order: drawn by seed, and lived through."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path

from npu_core.arch import Arch, arch_spec
from npu_core.cores import CoreRange
from npu_core.partition import Partitioning
from npu_core.testing import CardPlan, rngd, warboy
from npu_core.testing.plan import all_suffixes
from testkit.services.configured import free_port
from testkit.standins.kubelet import (
    Cut,
    Generation,
    Phase,
    PodResourcesBehaviour,
    PodResourcesMode,
    TopologyPolicy,
    WipeRule,
)
from tools.faults import steps
from tools.faults.invariants import Disabled
from tools.faults.steps import Step
from tools.faults.world import Ask, BrokenError, Setup, Shape, World

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
        topology=rng.choice((TopologyPolicy.NONE, TopologyPolicy.BEST_EFFORT, TopologyPolicy.BEST_EFFORT)),
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
    """Cards of one family, or of both with numbers that may be the same."""
    families = rng.choices(((warboy,), (rngd,), (warboy, rngd)), (4, 2, 4))[0]
    most = 3 if families == (warboy,) else 2
    return tuple(
        make(index, numa_node=rng.choice((0, 0, 1, -1)))
        for make in families
        for index in rng.sample(range(4), rng.randint(1, most))
    )


def _families(plans: tuple[CardPlan, ...]) -> tuple[Arch, ...]:
    return tuple(arch for arch in Arch if any(plan.arch is arch for plan in plans))


def _partitioning(rng: random.Random, plans: tuple[CardPlan, ...]) -> Partitioning:
    sizes: tuple[int | None, ...] = (None, 1) if _families(plans) == (Arch.WARBOY,) else (None, 1, 2, 4)
    return Partitioning(rng.choice(sizes))


# -- each kind of step, with what is left to chance -------------------------------------------------------------------

_Maker = Callable[[random.Random, tuple[CardPlan, ...]], Step]
_TEXTS = ("", "\n", "garbage", "\x01\x02\x7f", "-1", "0", "99999999999999999999", "x" * 5000, None)
_ALIVE = {Arch.WARBOY: "alive", Arch.RENEGADE: "device_state"}
_ATTRIBUTES = ("device_type", "device_uuid", "device_sn", "busname", "dev", "version", "fw_version", "heartbeat")
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
    name = _ALIVE[rng.choice(_families(plans))] if rng.random() < 0.5 else rng.choice(_ATTRIBUTES)
    text = None if rng.random() < 0.3 else rng.choice(_TEXTS)
    return steps.SpoilAttribute(_number(rng), name, text)


def _suffixes(rng: random.Random, plans: tuple[CardPlan, ...]) -> tuple[str, ...]:
    """Every device file that a card of one of the families has and that a container may be given."""
    spec = arch_spec(rng.choice(_families(plans)))
    return tuple(suffix for suffix in all_suffixes(spec) if suffix.startswith("pe") or suffix in spec.granted_suffixes)


def _file(rng: random.Random, plans: tuple[CardPlan, ...]) -> Step:
    kind = rng.choice((steps.RemoveFile, steps.RestoreFile, steps.RestoreFile))
    return kind(_number(rng), rng.choice(_suffixes(rng, plans)))


def _load_driver(rng: random.Random, plans: tuple[CardPlan, ...]) -> Step:
    suffixes = _suffixes(rng, plans)
    late = rng.sample(suffixes, rng.randint(1, 5))
    return steps.LoadDriver(_number(rng), tuple(late), rng.choice((0.3, 1.0, 2.0)), rng.random() < 0.5)


def _start_pod(rng: random.Random, plans: tuple[CardPlan, ...]) -> Step:
    shape = Shape.MAIN if rng.random() < 0.5 else rng.choice(list(Shape))
    ask = rng.choices(list(Ask), (3, 2, 1))[0] if len(_families(plans)) > 1 else Ask.FIRST
    return steps.StartPod(rng.choice((1, 1, 1, 2)), shape, ask)


def _finish_pod(rng: random.Random, _: tuple[CardPlan, ...]) -> Step:
    return steps.FinishPod(_number(rng), rng.choice((Phase.SUCCEEDED, Phase.FAILED)))


def _disable(rng: random.Random, plans: tuple[CardPlan, ...]) -> Step:
    chosen = rng.sample(plans, rng.choice((0, 0, 1, 1, len(plans))))
    entries = [_entry(rng, plan) for plan in chosen]
    # Cards of two families may have one name, and no entry may come twice.
    return steps.Disable(tuple({entry.name: entry for entry in entries}.values()))


def _entry(rng: random.Random, plan: CardPlan) -> Disabled:
    cores = CoreRange(0, 0) if rng.random() < 0.5 else CoreRange(0, 1)
    return rng.choice(
        (
            Disabled(plan.name, plan.index),
            Disabled(plan.uuid, plan.index, arch=plan.arch),
            Disabled(plan.pci, plan.index, arch=plan.arch),
            Disabled(f"{plan.name}pe{cores}", plan.index, cores),
        )
    )


_MAKERS: tuple[tuple[_Maker, int], ...] = (
    (_restart_kubelet, 5),
    (_kill_kubelet, 4),
    (lambda _rng, _plans: steps.StopKubelet(), 2),
    (lambda _rng, _plans: steps.StartKubelet(), 4),
    (lambda _rng, _plans: steps.StopApiServer(), 4),
    (lambda _rng, _plans: steps.StartApiServer(), 6),
    (_wipe, 4),
    (_cut, 6),
    (_cut_next, 2),
    (_read_slowly, 3),
    (_refuse, 4),
    (_pod_resources, 8),
    (lambda rng, _plans: steps.DeleteSocket(_number(rng)), 3),
    (lambda rng, _plans: steps.ReplaceSocketByFile(_number(rng)), 2),
    (lambda rng, _plans: steps.ReplaceSocketByForeign(_number(rng)), 2),
    (lambda rng, _plans: steps.RestartPlugin(rng.random() < 0.5), 6),
    (lambda rng, _plans: steps.LeaveLogUnread(rng.choice((0.5, 2.0, 6.0))), 5),
    (lambda rng, _plans: steps.RefuseThreads(rng.choice((0.5, 2.0, 6.0))), 5),
    (lambda rng, _plans: steps.Die(_number(rng)), 4),
    (lambda rng, _plans: steps.Revive(_number(rng)), 9),
    (lambda rng, _plans: steps.LoseHeldCard(_number(rng), rng.random() < 0.5), 3),
    (_load_driver, 6),
    (lambda rng, _plans: steps.Disappear(_number(rng)), 4),
    (lambda rng, _plans: steps.Reappear(_number(rng)), 7),
    (_attribute, 7),
    (_file, 6),
    (lambda rng, _plans: steps.RenumberHwmon(_number(rng)), 1),
    (lambda rng, _plans: steps.RenumberCard(_number(rng)), 4),
    (lambda rng, plans: steps.CutCards(_partitioning(rng, plans)), 14),
    (_disable, 6),
    (lambda rng, _plans: steps.BadConfig(rng.choice(_BAD_CONFIGS)), 3),
    (_start_pod, 34),
    (_finish_pod, 6),
    (lambda rng, _plans: steps.DeletePod(_number(rng)), 9),
    (lambda rng, _plans: steps.RestartContainer(_number(rng)), 4),
)


# -- living through it ------------------------------------------------------------------------------------------------


async def live_through(seed: int, count: int) -> Outcome:
    """Let everything happen that the seed has drawn, heal it, and tell what came of it."""
    schedule, began, done = draw(seed, count), time.monotonic(), list[str]()
    setup = replace(schedule.setup, listen=f"127.0.0.1:{free_port()}")
    async with World(setup) as world:
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
            f"replay: python -m tools.faults --seed {seed} --steps {len(schedule.steps)}",
        )
    )
