"""The stand-in kubelet's decisions, without a socket: names, texts, topology."""

from __future__ import annotations

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


def test_which_names_a_plugin_may_advertise() -> None:
    good = ["beta.furiosa.ai/npu", "example.com/NPU_0.x-y", "a/b", "1.2/3", f"{'a' * 244}/x", f"example.com/{'x' * 63}"]
    assert [name for name in good if not is_extended_resource_name(name)] == []
    no_domain = ["", "npu", "/npu", "Example.com/npu", "example..com/npu", "-example.com/npu", f"{'a' * 245}/x"]
    of_kubernetes = ["kubernetes.io/npu", "x.kubernetes.io/npu", "requests.example.com/npu"]
    no_name = [f"example.com/{name}" for name in ("", "a/b", "-npu", "npu_", "n pu", "npu\n", "x" * 64)]
    assert [name for name in (*no_domain, *of_kubernetes, *no_name) if is_extended_resource_name(name)] == []


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
