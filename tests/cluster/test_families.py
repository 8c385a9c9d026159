"""A node with Warboy and RNGD cards: the resource names, and what containers with one or both families get."""

from collections.abc import Iterator

import pytest

from testkit.waiting import until
from tools.cluster.held import cores_of
from tools.cluster.namespaces import NamespaceNode
from tools.cluster.node import Node
from tools.cluster.pods import RESOURCE, Container, manifest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

RNGD = f"{RESOURCE}-renegade"
_RANGES = ("0", "1", "2", "3", "4", "5", "6", "7", "0-1", "2-3", "4-5", "6-7", "0-3", "4-7")
"""The core ranges for which an RNGD card has device files."""


@pytest.fixture(scope="module")
def both() -> Iterator[Node]:
    """A node with two cards of each family, beside the one that the other tests share."""
    with NamespaceNode(warboys=2, rngds=2) as node:
        node.install(nfd=False)
        until(lambda: node.allocatable(RNGD), "the node offers both families")
        yield node
        assert (node.panics(), node.kubelet_lives) == (0, True)


@pytest.fixture
def mixed(both: Node) -> Iterator[Node]:
    """That node, with nothing on it but the services; so it is again after the test."""
    yield both
    both.configure()
    both.kubectl("delete", "pods", "--all", "--namespace=default")
    _await(both, 2, 2)


def _await(node: Node, warboys: int, rngds: int) -> None:
    def units() -> tuple[int, ...]:
        allocatable = node.node()["status"]["allocatable"]
        return tuple(int(allocatable.get(name, 0)) for name in (RESOURCE, RNGD))

    until(lambda: units() == (warboys, rngds), f"{warboys} units of Warboy and {rngds} of RNGD", instead=units)


def _files(node: Node, pod: str, container: str = "main") -> tuple[str, set[str], set[str]]:
    """NPU_DEVNAME of a container, and its device files of Warboy and of RNGD."""
    script = "echo units=$NPU_DEVNAME; ls -1 /dev | grep npu; ls -1 /dev/rngd 2>/dev/null | sed s,^,rngd/,"
    variable, *files = node.kubectl("exec", pod, f"--container={container}", "--", "sh", "-c", script).split()
    rngd = {file.removeprefix("rngd/") for file in files if file.startswith("rngd/")}
    return variable.removeprefix("units="), {file for file in files if not file.startswith("rngd/")}, rngd


def _of_warboy(units: str) -> set[str]:
    """The device files of whole Warboy cards."""
    suffixes = ("", "_mgmt", "ch0", "ch1", "ch2", "ch3", "pe0", "pe1", "pe0-1")
    return {f"{unit.partition('pe')[0]}{suffix}" for unit in units.split(",") for suffix in suffixes}


def _of_rngd(units: str) -> set[str]:
    """The device files of core ranges of RNGD cards, and those of each card that every container of it gets."""
    found = set()
    for card, _, cores in (unit.partition("pe") for unit in units.split(",")):
        first, last = int(cores.split("-")[0]), int(cores.split("-")[-1])
        within = {each for each in _RANGES if all(first <= int(core) <= last for core in each.split("-"))}
        channels = {f"ch{number}{end}" for number in range(8) for end in ("", "r")}
        others = {"mgmt", "dmar", "bar0", "bar2", "bar4", *channels}
        found |= {f"{card}{suffix}" for suffix in (*others, *(f"pe{each}" for each in within))}
    return found


def test_a_pod_of_each_family_gets_cards_of_that_family_alone(mixed: Node) -> None:
    mixed.apply_objects(manifest("warboy", Container(2)), manifest("rngd", Container(1), resource=RNGD))
    mixed.await_running("warboy")
    mixed.await_running("rngd")
    units, of_warboy, of_rngd = _files(mixed, "warboy")
    assert units == "npu0pe0-1,npu1pe0-1"
    assert (of_warboy, of_rngd) == (_of_warboy(units), set())
    units, of_warboy, of_rngd = _files(mixed, "rngd")
    # RNGD has no single device file for all eight cores.
    assert units in {"npu0pe0-3,npu0pe4-7", "npu1pe0-3,npu1pe4-7"}
    assert (of_warboy, of_rngd) == (set(), _of_rngd(units))


def test_a_pod_with_a_container_for_each_family_names_each_card_in_its_container(mixed: Node) -> None:
    pod = manifest("both", Container(1))
    [second] = manifest("both", Container(1), resource=RNGD)["spec"]["containers"]
    pod["spec"]["containers"].append({**second, "name": "second"})
    mixed.apply_objects(pod)
    mixed.await_running("both")
    mixed.await_running("both", "second")
    units, of_warboy, of_rngd = _files(mixed, "both")
    assert (of_warboy, of_rngd) == (_of_warboy(units), set())
    units, of_warboy, of_rngd = _files(mixed, "both", "second")
    assert (of_warboy, of_rngd) == (set(), _of_rngd(units))


def test_one_container_for_both_families_gets_the_files_of_both_and_the_names_of_one(mixed: Node) -> None:
    pod = manifest("one", Container(1))
    [container] = pod["spec"]["containers"]
    for amounts in container["resources"].values():
        amounts[RNGD] = "1"
    mixed.apply_objects(pod)
    mixed.await_running("one")
    units, of_warboy, of_rngd = _files(mixed, "one")
    warboys, rngds = ("npu0pe0-1", "npu1pe0-1"), ("npu0pe0-3,npu0pe4-7", "npu1pe0-3,npu1pe4-7")
    assert of_warboy in [_of_warboy(each) for each in warboys]
    assert of_rngd in [_of_rngd(each) for each in rngds]
    # The kubelet keeps one of the two values of a variable, at random.
    assert units in {*warboys, *rngds}


def test_each_family_is_cut_as_far_as_it_can_be_and_a_held_card_keeps_its_cut(mixed: Node) -> None:
    mixed.configure(defaultPe="Single")
    _await(mixed, 4, 16)
    mixed.apply_objects(manifest("core", Container(1), resource=RNGD))
    mixed.await_running("core")
    units, of_warboy, of_rngd = _files(mixed, "core")
    assert len(cores_of(units)) == 1
    assert (of_warboy, of_rngd) == (set(), _of_rngd(units))
    # A Warboy card cannot be cut into fours, and stays whole; one RNGD card is cut into two, and one is held in eight.
    mixed.configure(defaultPe="4")
    _await(mixed, 2, 10)
    mixed.apply_objects(manifest("rest", Container(9), resource=RNGD))
    mixed.await_running("rest")
    rest, of_warboy, of_rngd = _files(mixed, "rest")
    assert sorted(len(cores_of(unit)) for unit in rest.split(",")) == [1] * 7 + [4] * 2
    assert cores_of(rest).isdisjoint(cores_of(units))
    assert (of_warboy, of_rngd) == (set(), _of_rngd(rest))
