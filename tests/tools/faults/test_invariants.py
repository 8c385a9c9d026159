"""What must hold: each check finds what is wrong, and nothing else."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from npu_core.arch import Arch, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import CardKey
from npu_core.partition import FUSION, SINGLE, Partitioning, UnitId
from testkit.standins.kubelet import ContainerGrant, DeviceNode, PluginDevice
from tools.faults.invariants import (
    Disabled,
    Expected,
    Holder,
    double_holds,
    grant_problems,
    lacking_files,
    listing_problems,
    offered_twice,
    vanished,
)

NPU, RNGD = "beta.furiosa.ai/npu", "beta.furiosa.ai/npu-renegade"
FAMILIES = {NPU: Arch.WARBOY, RNGD: Arch.RENEGADE}
W0, R0 = (Arch.WARBOY, 0), (Arch.RENEGADE, 0)


def holder(unit: str, pod: str = "a", resource: str = NPU, card: CardKey = W0, container: str = "main") -> Holder:
    return Holder(pod, container, resource, card, UnitId.parse(unit))


def listed(*healthy: str, bad: tuple[str, ...] = ()) -> list[PluginDevice]:
    return [PluginDevice(each, "Healthy") for each in healthy] + [PluginDevice(each, "Unhealthy") for each in bad]


def cores(*texts: str) -> frozenset[CoreRange]:
    return frozenset(map(CoreRange.parse, texts))


# -- cores are held once ----------------------------------------------------------------------------------------------


def test_two_pods_hold_a_core_together_by_equal_or_by_different_ids() -> None:
    assert list(double_holds([holder("npu0pe0"), holder("npu0pe0", "b")]))
    assert list(double_holds([holder("npu0pe0"), holder("npu0pe0-1", "b")]))


def test_a_card_is_the_same_under_two_resources_or_two_numbers() -> None:
    assert list(double_holds([holder("npu0pe0", card=R0), holder("npu0pe0", "b", RNGD, R0)]))
    assert list(double_holds([holder("npu0pe0"), holder("npu2pe0", "b")]))


def test_an_init_container_passes_a_unit_on_within_its_pod_under_its_id() -> None:
    assert not list(double_holds([holder("npu0pe0", container="init"), holder("npu0pe0")]))
    assert list(double_holds([holder("npu0pe0", container="init"), holder("npu0pe0-1")]))


# -- what the kubelet is told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "is_wrong"),
    [
        (listed("npu0pe0-1"), False),
        (listed("npu0pe0", "npu0pe1"), False),
        (listed("npu0pe0", "npu0pe1", bad=("npu0pe0-1",)), False),
        (listed(bad=("npu0pe0", "npu0pe0-1")), False),
        (listed("npu0pe0", "npu0pe0-1"), True),
        (listed("npu0pe0", bad=("npu0pe0",)), True),
        (listed("npu7pe0"), True),
        (listed("card-one"), True),
    ],
)
def test_of_ids_that_share_cores_one_may_be_healthy(devices: list[PluginDevice], *, is_wrong: bool) -> None:
    known = set(map(UnitId.parse, ("npu0pe0", "npu0pe1", "npu0pe0-1")))
    assert bool(list(listing_problems(devices, known, Arch.WARBOY))) is is_wrong


def test_a_held_id_stays_in_the_list_of_its_resource() -> None:
    held = [holder("npu0pe0-1")]
    assert not list(vanished(listed(bad=("npu0pe0-1",)), NPU, held))
    assert list(vanished(listed("npu0pe0"), NPU, held))
    assert not list(vanished(listed("npu0pe0"), RNGD, held))


@pytest.mark.parametrize(
    ("devices", "held", "is_wrong"),
    [
        (listed("npu0pe0-1"), holder("npu0pe0-1"), False),
        (listed("npu0pe1"), holder("npu0pe0"), False),
        (listed(bad=("npu0pe0",)), holder("npu0pe0-1"), False),
        (listed("npu0pe0"), holder("npu0pe0-1"), True),
        (listed("npu0pe0"), holder("npu0pe0", resource="beta.furiosa.ai/npu-warboy"), True),
        (listed("npu0pe0"), holder("npu0pe0", resource=RNGD, card=R0), False),
        (listed("npu2pe0"), holder("npu2pe0", card=(Arch.WARBOY, 1)), False),
        (listed("npu2pe0"), holder("npu1pe0", card=(Arch.WARBOY, 1)), True),
    ],
)
def test_nothing_healthy_shares_cores_with_what_is_held_under_another_name(
    devices: list[PluginDevice], held: Holder, *, is_wrong: bool
) -> None:
    cards = {0: W0, 2: (Arch.WARBOY, 1)}
    assert bool(list(offered_twice(devices, NPU, cards, [held]))) is is_wrong


# -- what a container gets --------------------------------------------------------------------------------------------


def grant(ids: Mapping[str, tuple[str, ...]], files: tuple[str, ...], names: str, devices: str) -> ContainerGrant:
    env = {
        "NPU_DEVNAME": names,
        "FURIOSA_DEVICES": devices,
        "NPU_NPUNAME": ",".join(dict.fromkeys(name.partition("pe")[0] for name in names.split(","))),
        "NPU_PENAME": ",".join("pe" + name.partition("pe")[2] for name in names.split(",")),
    }
    nodes = tuple(DeviceNode(f"/dev/{file}", f"/dev/{file}", "rw") for file in files)
    return ContainerGrant("main", ids, env, nodes, (), MappingProxyType({}), ())


def both(*more: str) -> ContainerGrant:
    """A container with a Warboy unit, and one of RNGD that needs two files."""
    files = ("npu0pe0", "npu0_mgmt", "rngd/npu0pe0-3", "rngd/npu0pe4-7", *more)
    return grant({NPU: ("npu0pe0",), RNGD: ("npu0pe0-7",)}, files, "npu0pe0", "npu:0:0")


def test_a_container_has_the_environment_of_its_first_resource_and_the_files_of_all() -> None:
    assert not list(grant_problems(both(), FAMILIES))
    assert list(grant_problems(both("npu0pe1"), FAMILIES))
    assert list(grant_problems(both("rngd/npu1pe0"), FAMILIES))


def test_files_that_were_not_given_are_those_of_the_card_and_of_the_units_cores() -> None:
    given = grant({NPU: ("npu0pe0",)}, ("npu0pe0", "npu0_mgmt", "npu0ch0", "npu0ch2"), "npu0pe0", "npu:0:0")
    assert set(lacking_files(given, FAMILIES)) == {(W0, "ch1"), (W0, "ch3")}


# -- after everything was healed --------------------------------------------------------------------------------------


def expected(wish: Partitioning = FUSION, *, disabled: tuple[Disabled, ...] = (), **ranges: str) -> Expected:
    """A Warboy card, with ranges of cores by the names of the fields."""
    held, otherwise, strays, recent = (
        cores(*ranges.get(name, "").split()) for name in ("held", "held_otherwise", "strays", "recent")
    )
    return Expected(W0, frozenset({0}), wish, held, otherwise, strays, recent, disabled)


NPU0 = Disabled("npu0", 0)


@pytest.mark.parametrize(
    ("truth", "units", "is_right"),
    [
        (expected(), {"npu0pe0-1": True}, True),
        (expected(), {"npu0pe0": True, "npu0pe1": True}, False),
        (expected(), {"npu0pe0-1": False}, False),
        (expected(SINGLE), {"npu0pe0": True, "npu0pe1": True}, True),
        (expected(SINGLE, held="0-1"), {"npu0pe0-1": True}, True),
        (expected(SINGLE, held="0-1"), {"npu0pe0": True, "npu0pe1": True}, False),
        (expected(SINGLE, recent="0-1"), {"npu0pe0-1": True}, True),
        (expected(SINGLE, recent="0-1"), {"npu0pe0": False, "npu0pe1": False, "npu0pe0-1": False}, True),
        (expected(held="0-1", disabled=(NPU0,)), {"npu0pe0-1": False}, True),
        (expected(held="0-1", disabled=(NPU0,)), {}, False),
        (expected(disabled=(NPU0,)), {}, True),
        (expected(disabled=(NPU0,)), {"npu0pe0-1": False}, False),
        (expected(SINGLE, held_otherwise="0"), {"npu0pe0": False, "npu0pe1": True}, True),
        (expected(SINGLE, held_otherwise="0"), {"npu0pe0": True, "npu0pe1": True}, False),
        (expected(strays="0-7"), {"npu0pe0-1": True, "npu0pe0-7": False}, True),
        (expected(strays="0-7"), {"npu0pe0-1": True}, False),
        (expected(), {"npu0pe0-1": True, "npu0pe0-7": False}, False),
        (expected(), {"npu0pe0-1": True, "npu5pe0": False}, True),
    ],
)
def test_a_card_is_listed_as_the_wish_and_its_holders_say(
    truth: Expected, units: dict[str, bool], *, is_right: bool
) -> None:
    problems = list(truth.problems({UnitId.parse(text): healthy for text, healthy in units.items()}))
    assert (not problems) is is_right, problems


def test_an_entry_without_a_family_means_the_cards_of_every_family() -> None:
    whole = arch_spec(Arch.WARBOY).cores
    assert NPU0.covers(Arch.WARBOY, {0}, whole)
    assert NPU0.covers(Arch.RENEGADE, {2, 0}, whole)
    assert not Disabled("uuid", 0, arch=Arch.WARBOY).covers(Arch.RENEGADE, {0}, whole)
    assert not Disabled("npu0pe0", 0, CoreRange(0, 0)).covers(Arch.WARBOY, {0}, CoreRange(1, 1))
