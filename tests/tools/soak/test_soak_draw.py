import random

from npu_core.testing import warboy
from tools.soak.acts import Fault
from tools.soak.draw import Drawn, draw_round

CARDS = (warboy(0), warboy(1))


def draw(seed: int, count: int, *, restarts: bool = False) -> list[Drawn]:
    rng = random.Random(seed)  # noqa: S311  # the same each time
    return [draw_round(rng, CARDS, restarts=restarts) for _ in range(count)]


def test_a_seed_always_draws_the_same() -> None:
    assert draw(3, 20) == draw(3, 20)
    assert draw(3, 20) != draw(4, 20)


def test_everything_that_can_happen_does_in_time() -> None:
    acts = [paced.act for each in draw(1, 400) for paced in each.acts]
    kinds = {type(act.step if isinstance(act, Fault) else act).__name__ for act in acts}
    assert kinds >= {"SetSensor", "HideSensor", "HideAttribute", "KubeletAway", "Meddle", "Crowd", "Hang", "HangUp"}
    assert kinds >= {
        "Die",
        "Disappear",
        "KillKubelet",
        "WipeDirectory",
        "CutStream",
        "BadConfig",
        "StartPod",
        "CutCards",
    }
