"""What a random life is made of, without a node."""

from itertools import islice

from tools.cluster.acts import Act, Delete, Draw, RestartKubelet, Start
from tools.cluster.held import Held, cores_of, overlaps


def _acts(seed: int, count: int) -> list[tuple[float, Act]]:
    draw = Draw(seed, cards=4)
    return [draw.next() for _ in range(count)]


def test_a_seed_gives_the_same_acts_again_and_another_gives_others() -> None:
    assert _acts(7, 200) == _acts(7, 200)
    assert _acts(7, 20) != _acts(8, 20)


def test_everything_is_drawn_sooner_or_later() -> None:
    drawn = [act for _, act in _acts(0, 500)]
    assert {type(act).__name__ for act in drawn} == {
        "Start",
        "Delete",
        "Cut",
        "ToCard",
        "RestartKubelet",
        "RestartPlugin",
        "RestartContainerd",
    }
    starts = [act for act in drawn if isinstance(act, Start)]
    kinds = {(act.main > 0, act.init is not None, act.sidecar is not None) for act in starts}
    assert (False, True, False) in kinds
    assert len(kinds) == 5
    assert any(act.without_api_server and act.lost_card is not None for act in drawn if isinstance(act, RestartKubelet))
    assert len(list(islice((act for act in drawn if isinstance(act, Delete)), 10))) == 10


def _held(pod: str, units: str) -> Held:
    return Held(pod, "main", pod, units, cores_of(units))


def test_a_core_in_two_containers_is_noticed_however_the_units_are_cut() -> None:
    fused, single, other = _held("a", "npu0pe0-1,npu1pe0-1"), _held("b", "npu1pe1"), _held("c", "npu2pe0,npu2pe1")
    assert overlaps([fused, single, other]) == [(fused, single)]
    assert overlaps([fused, other]) == []
