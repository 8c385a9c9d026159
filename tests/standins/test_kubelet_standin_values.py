"""The stand-in kubelet's decisions, without a socket: names, texts, topology."""

from __future__ import annotations

import grpc
import pytest

from testkit.standins.kubelet import gotext
from testkit.standins.kubelet.choice import Rules
from testkit.standins.kubelet.names import is_extended_resource_name
from testkit.standins.kubelet.topology import Affinity, Hint, Numa, TopologyPolicy, decide, hints, split

R = "example.com/npu"
TWO_NODES = (0, 1)
RULES = Rules(rechecks_held=True, unregistered="cannot allocate unregistered device")
FOUR = frozenset({"a", "b", "c", "d"})


# Names


@pytest.mark.parametrize(
    "name",
    [
        "beta.furiosa.ai/npu",
        "example.com/NPU_0.x-y",
        "a/b",
        "1.2/3",
        f"{'a' * 244}/x",
        f"example.com/{'x' * 63}",
    ],
)
def test_a_plugin_may_advertise(name: str) -> None:
    assert is_extended_resource_name(name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("npu", id="no domain"),
        pytest.param("/npu", id="empty domain"),
        pytest.param("example.com/", id="empty name"),
        pytest.param("kubernetes.io/npu", id="the native domain"),
        pytest.param("x.kubernetes.io/npu", id="below the native domain"),
        pytest.param("requests.example.com/npu", id="the quota prefix"),
        pytest.param("Example.com/npu", id="capital in the domain"),
        pytest.param("example..com/npu", id="empty label"),
        pytest.param("-example.com/npu", id="label begins with a hyphen"),
        pytest.param("example.com/a/b", id="two slashes"),
        pytest.param("example.com/-npu", id="name begins with a hyphen"),
        pytest.param("example.com/npu_", id="name ends with an underscore"),
        pytest.param("example.com/n pu", id="space"),
        pytest.param("example.com/npu\n", id="line feed"),
        pytest.param(f"example.com/{'x' * 64}", id="name too long"),
        pytest.param(f"{'a' * 245}/x", id="domain too long with the quota prefix"),
    ],
)
def test_a_plugin_may_not_advertise(name: str) -> None:
    assert not is_extended_resource_name(name)


# Texts


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('say "hi"\\', r'"say \"hi\"\\"'),
        ("a\tb\n", r'"a\tb\n"'),
        ("\x00\x7f", r'"\x00\x7f"'),
        ("한", '"한"'),
        ("\u200b", r'"\u200b"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_strings_are_quoted_as_go_does(text: str, quoted: str) -> None:
    assert gotext.quote(text) == quoted


def test_lists_of_strings_are_quoted_as_go_does() -> None:
    assert gotext.quote_all(["a", "b"]) == '["a" "b"]'


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (grpc.StatusCode.OK, "OK"),
        (grpc.StatusCode.CANCELLED, "Canceled"),
        (grpc.StatusCode.UNKNOWN, "Unknown"),
        (grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        (grpc.StatusCode.OUT_OF_RANGE, "OutOfRange"),
        (grpc.StatusCode.DATA_LOSS, "DataLoss"),
    ],
)
def test_status_codes_have_gos_names(code: grpc.StatusCode, name: str) -> None:
    assert gotext.rpc_error(code, "x") == f"rpc error: code = {name} desc = x"


# Topology


def _hint(*nodes: int, preferred: bool = True) -> Hint:
    return Hint(frozenset(nodes), preferred)


def test_hints_prefer_the_narrowest_set_that_could_ever_serve() -> None:
    numa: dict[str, Numa] = {"a": (0,), "b": (0,), "c": (1,), "d": (1,)}

    assert hints(1, numa, FOUR, set(), TWO_NODES) == (_hint(0), _hint(1), _hint(0, 1, preferred=False))
    assert hints(3, numa, FOUR, set(), TWO_NODES) == (_hint(0, 1),)


def test_how_narrow_is_possible_is_counted_over_devices_that_cannot_be_had_too() -> None:
    numa: dict[str, Numa] = {"a": (0,), "b": (0,), "c": (1,)}

    assert hints(2, numa, {"a", "c"}, set(), TWO_NODES) == (_hint(0, 1, preferred=False),)


def test_a_hint_must_cover_what_is_reused() -> None:
    numa: dict[str, Numa] = {"a": (0,), "b": (1,), "c": None}

    assert hints(1, numa, {"a"}, {"b", "c"}, TWO_NODES) == (_hint(1), _hint(0, 1, preferred=False))


def test_a_device_near_two_nodes_serves_both() -> None:
    assert hints(1, {"a": (0, 1)}, {"a"}, set(), TWO_NODES) == (
        _hint(0),
        _hint(1),
        _hint(0, 1, preferred=False),
    )


@pytest.mark.parametrize("numa", [(-1,), ()])
def test_no_hint_matches_an_unknown_node(numa: tuple[int, ...]) -> None:
    assert hints(1, {"a": numa}, {"a"}, set(), TWO_NODES) == ()


NARROW = (_hint(0), _hint(1), _hint(0, 1, preferred=False))
WIDE = (_hint(0, 1),)
SPLIT = (_hint(0, 1, preferred=False),)


@pytest.mark.parametrize(
    ("policy", "offers", "admitted", "nodes"),
    [
        (TopologyPolicy.NONE, [()], True, None),
        (TopologyPolicy.BEST_EFFORT, [NARROW], True, {0}),
        (TopologyPolicy.BEST_EFFORT, [SPLIT], True, {0, 1}),
        (TopologyPolicy.BEST_EFFORT, [()], True, {0, 1}),
        (TopologyPolicy.BEST_EFFORT, [None], True, {0, 1}),
        (TopologyPolicy.RESTRICTED, [NARROW], True, {0}),
        (TopologyPolicy.RESTRICTED, [WIDE], True, {0, 1}),
        (TopologyPolicy.RESTRICTED, [SPLIT], False, {0, 1}),
        (TopologyPolicy.RESTRICTED, [()], False, {0, 1}),
        (TopologyPolicy.RESTRICTED, [], True, {0, 1}),
        (TopologyPolicy.RESTRICTED, [(_hint(0),), (_hint(1),)], False, {0, 1}),
        (TopologyPolicy.RESTRICTED, [NARROW, (_hint(1),)], True, {1}),
        (TopologyPolicy.RESTRICTED, [WIDE, (_hint(0, preferred=False), _hint(0, 1))], True, {0, 1}),
        (TopologyPolicy.SINGLE_NUMA_NODE, [NARROW], True, {0}),
        (TopologyPolicy.SINGLE_NUMA_NODE, [NARROW, (_hint(1),)], True, {1}),
        (TopologyPolicy.SINGLE_NUMA_NODE, [WIDE], False, None),
        (TopologyPolicy.SINGLE_NUMA_NODE, [()], False, None),
        (TopologyPolicy.SINGLE_NUMA_NODE, [None], True, None),
        (TopologyPolicy.SINGLE_NUMA_NODE, [None, NARROW], True, {0}),
    ],
)
def test_the_policy_judges_the_merged_hints(
    policy: TopologyPolicy,
    offers: list[tuple[Hint, ...] | None],
    admitted: bool,  # noqa: FBT001 - a column of the table
    nodes: set[int] | None,
) -> None:
    verdict = decide(policy, offers, TWO_NODES)

    assert (verdict.admitted, verdict.nodes and set(verdict.nodes)) == (admitted, nodes)


def test_devices_are_split_by_how_they_lie_to_the_affinity() -> None:
    numa: dict[str, Numa] = {"a": (0,), "b": (1,), "c": (0, 1), "d": None, "e": (), "f": (-1,)}

    affinity = split({*FOUR, "e", "f"}, numa, frozenset({0}))

    assert affinity == Affinity(frozenset("ac"), frozenset("bf"), frozenset("de"))


def test_without_an_affinity_every_device_is_indifferent() -> None:
    assert split(FOUR, {"a": (0,)}, None).indifferent == FOUR
    assert split(FOUR, {"a": None}, frozenset({0})).indifferent == FOUR
