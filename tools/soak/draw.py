"""What happens in a round: drawn by seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from npu_core.testing import CardPlan
from npu_core.testing.layout import mgmt_attributes, value_file
from testkit.standins.kubelet import PodResourcesBehaviour
from tools.faults import steps
from tools.faults.schedule import draw_step
from tools.faults.world import Shape
from tools.soak.acts import (
    Act,
    Crowd,
    Fault,
    Hang,
    HangUp,
    HideAttribute,
    HideSensor,
    KubeletAway,
    Meddle,
    Meddling,
    RestartService,
    SetSensor,
    Unreadable,
)
from tools.soak.site import DISCOVERY, SERVICES

_Maker = Callable[[random.Random, tuple[CardPlan, ...]], Act]
_FAULTS = 0.6
"""Share of what happens that is a step of the fault schedules."""
_PODS = 0.6
"""How likely it is that a pod comes in a round, and that one goes, beside what else may happen."""
_STAND = 0.25
_STANDS = (4.0, 20.0)
"""How likely it is that faults stand for long, and for how many seconds: less and more than any grace."""
_MOST = 7
_LONGEST = 1.5
"""Seconds between two acts, at most."""
_EXTREMES = ("0", "-1", "-273150", "2147483647", "99999999999999999999", "garbage", "", "1e9", " 42 ", "\x00")
_MOVING = ("heartbeat", "pe_occupancy")
"""Attributes that the simulated cards write all the time, and so would heal at once."""
_REQUEST = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@dataclass(frozen=True, slots=True)
class Paced:
    """An act, and how many seconds nothing else happens after it."""

    act: Act
    pause: float

    def __str__(self) -> str:
        return f"{self.act}, then {self.pause:.2f} s"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What happens in one round.

    Attributes:
        acts: in this order.
        stands: for how many seconds the faults stand before they are healed.
    """

    acts: tuple[Paced, ...]
    stands: float


def draw_round(rng: random.Random, plans: tuple[CardPlan, ...], *, restarts: bool) -> Drawn:
    """What happens in one round; services are restarted only where that is asked for."""
    acts = [_draw(rng, plans) for _ in range(rng.randint(1, _MOST))]
    acts += [Fault(step) for step in _pods(rng) if rng.random() < _PODS]
    if restarts:
        acts.append(RestartService(rng.choice(SERVICES), rng.random() < 0.5))
    rng.shuffle(acts)
    paced = tuple(Paced(act, rng.random() ** 2 * _LONGEST) for act in acts)
    return Drawn(paced, rng.uniform(*_STANDS) if rng.random() < _STAND else 0.0)


def _pods(rng: random.Random) -> tuple[steps.Step, ...]:
    """A pod that comes, one that goes, and another one that comes."""
    return steps.StartPod(rng.choice((1, 1, 2))), steps.DeletePod(_number(rng)), steps.StartPod(1)


def _draw(rng: random.Random, plans: tuple[CardPlan, ...]) -> Act:
    if rng.random() < _FAULTS:
        return Fault(_step(rng, plans))
    makers, weights = zip(*_MAKERS, strict=True)
    maker: _Maker = rng.choices(makers, weights)[0]
    return maker(rng, plans)


def _step(rng: random.Random, plans: tuple[CardPlan, ...]) -> steps.Step:
    """Any step but those that end the plugin's process, cards under other numbers, and units for init containers.

    The exporter does not tell of the latter, and what it has to say of a card is written down by number.
    """
    while not _suits(step := draw_step(rng, plans)):
        pass
    return step


def _suits(step: steps.Step) -> bool:
    if isinstance(step, steps.StartPod):
        return step.shape is Shape.MAIN
    if isinstance(step, steps.LoadDriver):
        return not step.restart_plugin
    return not isinstance(step, steps.RestartPlugin | steps.LoseHeldCard | steps.RenumberCard)


def _number(rng: random.Random) -> int:
    return rng.randrange(12)


def _sensor(rng: random.Random, plans: tuple[CardPlan, ...]) -> str:
    return value_file(rng.choice(plans[0].sensors))


def _set_sensor(rng: random.Random, plans: tuple[CardPlan, ...]) -> Act:
    return SetSensor(_number(rng), _sensor(rng, plans), rng.choice(_EXTREMES))


def _hide_sensor(rng: random.Random, plans: tuple[CardPlan, ...]) -> Act:
    return HideSensor(_number(rng), _sensor(rng, plans), rng.choice(list(Unreadable)))


def _attribute(rng: random.Random, plans: tuple[CardPlan, ...]) -> str:
    return rng.choice([name for name in mgmt_attributes(plans[0]) if name not in _MOVING])


def _hide_attribute(rng: random.Random, plans: tuple[CardPlan, ...]) -> Act:
    return HideAttribute(_number(rng), _attribute(rng, plans), rng.choice(list(Unreadable)))


def _hang_attribute(rng: random.Random, plans: tuple[CardPlan, ...]) -> Act:
    return Fault(steps.SpoilAttribute(_number(rng), _attribute(rng, plans), None))


def _hang_pod_resources(_: random.Random, __: tuple[CardPlan, ...]) -> Act:
    return Fault(steps.PodResources(PodResourcesBehaviour(delay=60.0)))


def _hang(rng: random.Random, _: tuple[CardPlan, ...]) -> Act:
    return Hang(rng.choice((1, 1, 3, 20)), rng.choice(("", "GET /met", _REQUEST, f"{_REQUEST}\r\n")), rng.uniform(1, 6))


_MAKERS: tuple[tuple[_Maker, int], ...] = (
    (lambda rng, _: Fault(steps.Die(_number(rng))), 5),
    (lambda rng, _: Fault(steps.Disappear(_number(rng))), 6),
    (lambda rng, _: Fault(steps.Reappear(_number(rng))), 3),
    (_set_sensor, 5),
    (_hide_sensor, 4),
    (_hide_attribute, 4),
    (_hang_attribute, 4),
    (_hang_pod_resources, 2),
    (lambda rng, _: KubeletAway(rng.uniform(3, 12)), 1),
    (lambda rng, _: Meddle(rng.choice(list(Meddling))), 4),
    (lambda rng, _: Crowd(rng.choice((20, 60))), 2),
    (_hang, 3),
    (lambda _, __: HangUp(DISCOVERY), 2),
)
