"""The stand-in kubelet's decisions, without a socket: the choice of devices, and the bookkeeping."""

from __future__ import annotations

import json
import random
from collections.abc import Set as AbstractSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.standins.kubelet.checkpoint import Checkpoint, from_json, to_json
from testkit.standins.kubelet.choice import Demand, Question, Rules, Stock, choose
from testkit.standins.kubelet.errors import CheckpointError, RefusedError
from testkit.standins.kubelet.holdings import Held, Holding, Holdings, by_numa
from testkit.standins.kubelet.topology import Affinity

R = "example.com/npu"
TWO_NODES = (0, 1)
RULES = Rules(rechecks_held=True, unregistered="cannot allocate unregistered device")
FOUR = frozenset({"a", "b", "c", "d"})


# Choice


def _choose(
    stock: Stock, count: int, affinity: Affinity | None = None, preferred: AbstractSet[str] = frozenset()
) -> tuple[frozenset[str] | None, Question | None]:
    """The choice, and what was asked on the way."""
    affinity = affinity or Affinity(frozenset(), frozenset(), stock.available)
    decision = choose(Demand("uid", "main", R, count), stock, affinity, RULES, random.Random(0))  # noqa: S311
    asked = None
    try:
        asked = next(decision)
        decision.send(preferred)
    except StopIteration as done:
        return done.value, asked
    raise AssertionError("asked twice")


def _stock(
    healthy: AbstractSet[str] | None = FOUR,
    in_use: AbstractSet[str] = frozenset(),
    held: AbstractSet[str] | None = None,
    reusable: AbstractSet[str] = frozenset(),
) -> Stock:
    return Stock(
        None if healthy is None else frozenset(healthy),
        frozenset(in_use),
        None if held is None else frozenset(held),
        frozenset(reusable),
    )


@pytest.mark.parametrize(
    ("stock", "count", "text"),
    [
        pytest.param(
            _stock(None, held={"a"}),
            2,
            f'pod "uid" container "main" changed request for resource "{R}" from 1 to 2',
            id="a changed request comes first",
        ),
        pytest.param(_stock(None), 1, f"cannot allocate unregistered device {R}", id="unknown"),
        pytest.param(_stock(None, held={"a"}), 1, f"cannot allocate unregistered device {R}", id="unknown though held"),
        pytest.param(
            _stock(set(), held={"a"}),
            1,
            f"no healthy devices present; cannot allocate unhealthy devices {R}",
            id="nothing healthy though held",
        ),
        pytest.param(
            _stock({"b"}, held={"a"}),
            1,
            f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {R}",
            id="held but not healthy",
        ),
        pytest.param(
            _stock(FOUR, in_use={"a", "b", "c"}, reusable={"a"}),
            3,
            f"requested number of devices unavailable for {R}. Requested: 2, Available: 1",
            id="too few besides the reused",
        ),
    ],
)
def test_a_demand_is_refused(stock: Stock, count: int, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        _choose(stock, count)

    assert str(caught.value) == text


@pytest.mark.parametrize("preferred", ["a", "b"])
def test_with_more_aligned_than_needed_the_question_is_about_those(preferred: str) -> None:
    affinity = Affinity(frozenset("ab"), frozenset("c"), frozenset())

    chosen, asked = _choose(_stock(in_use={"d"}, reusable={"d"}), 2, affinity, {preferred, "c"})

    assert asked == Question(frozenset("abd"), frozenset("d"), 2)
    assert chosen == frozenset({preferred, "d"})


def test_too_few_aligned_are_taken_and_the_question_is_about_everything() -> None:
    affinity = Affinity(frozenset("a"), frozenset("b"), frozenset("cd"))

    chosen, asked = _choose(_stock(), 2, affinity, {"d"})

    assert asked == Question(FOUR, frozenset("a"), 2)
    assert chosen == frozenset({"a", "d"})


IDS = st.frozensets(st.sampled_from("abcdefgh"))


@given(st.tuples(IDS, IDS, IDS), st.tuples(IDS, IDS), IDS, st.integers(min_value=1, max_value=9))
def test_every_choice_is_of_the_size_asked_and_takes_nothing_it_may_not(
    sets: tuple[frozenset[str], frozenset[str], frozenset[str]],
    lie: tuple[frozenset[str], frozenset[str]],
    preferred: frozenset[str],
    count: int,
) -> None:
    healthy, in_use, reusable = sets
    stock = _stock(healthy, in_use | reusable, None, reusable)
    near = lie[0] & stock.available
    far = (lie[1] & stock.available) - near
    affinity = Affinity(near, far, stock.available - near - far)

    try:
        chosen, asked = _choose(stock, count, affinity, preferred)
    except RefusedError:
        assert not healthy or len(stock.available | reusable) < count
        return

    assert chosen is not None
    assert len(chosen) == count
    assert chosen <= stock.available | reusable
    assert asked is None or asked.must_include <= asked.available & chosen


# Bookkeeping


def test_devices_are_grouped_by_numa_node_and_may_be_in_two_groups() -> None:
    assert by_numa("dcba", {"a": (0,), "b": (0, 1), "c": (), "d": None}) == {
        -1: ("c", "d"),
        0: ("a", "b"),
        1: ("b",),
    }


HOLDING = Holding("uid", "main", R, Held({0: ("a",), 1: ("a", "b")}, b"\x08\x01"))


def test_dropping_a_pod_makes_devices_free_and_leaked_ones_with_them() -> None:
    holdings = Holdings([HOLDING])
    holdings.mark(R, {"leaked"})

    assert holdings.pods_beside(["uid"]) == frozenset()
    holdings.drop(frozenset())
    assert holdings.in_use(R) == holdings.in_use_without(R, frozenset()) == {"a", "b", "leaked"}
    assert holdings.in_use_without(R, {"uid"}) == frozenset()
    assert holdings.pods_beside(["another"]) == {"uid"}
    holdings.drop({"uid"})
    assert holdings.in_use(R) == frozenset()


def test_a_checkpoint_has_the_kubelets_fields() -> None:
    document = json.loads(to_json(Checkpoint((HOLDING,), {R: ("b", "a")})))

    assert document["Data"] == {
        "PodDeviceEntries": [
            {
                "PodUID": "uid",
                "ContainerName": "main",
                "ResourceName": R,
                "DeviceIDs": {"0": ["a"], "1": ["a", "b"]},
                "AllocResp": "CAE=",
            }
        ],
        "RegisteredDevices": {R: ["a", "b"]},
    }
    assert isinstance(document["Checksum"], int)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Data":null}', "null"])
def test_a_damaged_checkpoint_is_not_believed(text: str) -> None:
    with pytest.raises(CheckpointError, match=r"^cannot be read: "):
        from_json(text)


def test_a_checkpoint_with_a_wrong_checksum_is_not_believed() -> None:
    document = json.loads(to_json(Checkpoint((HOLDING,), {})))
    document["Data"]["PodDeviceEntries"][0]["PodUID"] = "forged"

    with pytest.raises(CheckpointError, match=r"^checkpoint is corrupted$"):
        from_json(json.dumps(document))
