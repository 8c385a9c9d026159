"""What the kubelet is told, and what a container gets, for every family and way to cut a card."""

from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from npu_core.testing import CardPlan, rngd, warboy
from testkit.services.node import RENEGADE, RESOURCE, Node, side_by_side
from testkit.standins.kubelet import Admitted, DeviceNode, PluginDevice
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CARDS: dict[str, tuple[CardPlan, ...]] = {
    "warboy": (
        warboy(0, numa_node=1),
        warboy(1, numa_node=-1),
        warboy(2, numa_node=None, absent_files=frozenset({""})),
    ),
    "single": (warboy(0), warboy(1)),
    "rngd": (rngd(3),),
    "both": (warboy(0), rngd(0), rngd(1)),
}
_MACHINES: dict[str, tuple[str, ...]] = {
    "warboy": (),
    "single": ("--default-pe", "Single"),
    "rngd Fusion": ("--default-pe", "Fusion"),
    "rngd Single": ("--default-pe", "Single"),
    "rngd 2": ("--default-pe", "2"),
    "rngd 4": ("--default-pe", "4"),
    "both 4": ("--default-pe", "4"),
}
_RNGD_SHARED = ("mgmt", *(f"ch{n}" for n in range(8)), *(f"ch{n}r" for n in range(8)), "dmar", "bar0", "bar2", "bar4")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def machines() -> AsyncIterator[dict[str, Node]]:
    """All of them. Tests give back what their pods held."""
    nodes = {name: Node(*_CARDS[name.split()[0]]) for name in _MACHINES}
    async with side_by_side(nodes, lambda name, node: node.up(*_MACHINES[name])) as machines:
        yield machines


async def _pod(node: Node, count: int = 1, resource: str = RESOURCE, name: str = "pod") -> Admitted:
    """What a pod is given; it is gone afterwards."""
    try:
        return await node.kubelet.run_pod(name, {resource: count})
    finally:
        node.kubelet.delete_pod(name)


def _files(directory: str, card: str, suffixes: Iterable[str]) -> set[DeviceNode]:
    """Device files of a card, readable and writable, at the same place inside as outside."""
    paths = [f"{directory}/{card}{suffix}" for suffix in suffixes]
    return {DeviceNode(path, path, "rw") for path in paths}


async def test_a_fused_warboy_card_is_one_unit_with_the_numa_node_the_host_gives(machines: dict[str, Node]) -> None:
    assert machines["warboy"].listed() == (
        PluginDevice("npu0pe0-1", "Healthy", (1,)),
        # Neither -1 nor an empty topology: either would keep pods from being aligned.
        PluginDevice("npu1pe0-1", "Healthy", None),
        PluginDevice("npu2pe0-1", "Healthy", None),
    )


async def test_a_fused_warboy_card_comes_with_its_names_and_its_files(machines: dict[str, Node]) -> None:
    admitted = await _pod(machines["warboy"])

    assert admitted.device_ids == ("npu0pe0-1",)
    assert admitted.env == {
        "NPU_DEVNAME": "npu0pe0-1",
        "FURIOSA_DEVICES": "npu:0:0-1",
        "NPU_NPUNAME": "npu0",
        "NPU_PENAME": "pe0-1",
    }
    suffixes = ("", "_mgmt", "pe0", "pe1", "pe0-1", "ch0", "ch1", "ch2", "ch3")
    assert set(admitted.devices) == _files("/dev", "npu0", suffixes)
    assert len(admitted.devices) == len(suffixes)
    assert (admitted.mounts, admitted.annotations, admitted.cdi_devices) == ((), {}, ())


async def test_a_single_warboy_pe_is_a_unit_and_opens_no_other_pe(machines: dict[str, Node]) -> None:
    node = machines["single"]
    assert [device.id for device in node.listed()] == ["npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1"]

    admitted = await _pod(node)

    assert admitted.env == {
        "NPU_DEVNAME": "npu0pe0",
        "FURIOSA_DEVICES": "npu:0:0",
        "NPU_NPUNAME": "npu0",
        "NPU_PENAME": "pe0",
    }
    assert set(admitted.devices) == _files("/dev", "npu0", ("_mgmt", "pe0", "ch0", "ch1", "ch2", "ch3"))


async def test_two_single_pes_are_those_of_one_card_and_one_pe_is_of_a_card_in_use(machines: dict[str, Node]) -> None:
    kubelet = machines["single"].kubelet
    pods = {name: await kubelet.run_pod(name, {RESOURCE: count}) for name, count in (("a", 1), ("b", 2), ("c", 1))}

    assert pods["b"].env["NPU_DEVNAME"] == "npu1pe0,npu1pe1"
    assert {pods["a"].device_ids, pods["c"].device_ids} == {("npu0pe0",), ("npu0pe1",)}
    for name in pods:
        kubelet.delete_pod(name)


@pytest.mark.parametrize(
    ("machine", "count", "ranges", "pe_files"),
    [
        (
            "rngd Fusion",
            1,
            ("0-3", "4-7"),
            (*(str(core) for core in range(8)), "0-1", "2-3", "4-5", "6-7", "0-3", "4-7"),
        ),
        ("rngd Single", 1, ("0",), ("0",)),
        ("rngd Single", 2, ("0", "1"), ("0", "1")),
        ("rngd 2", 1, ("0-1",), ("0", "1", "0-1")),
        ("rngd 4", 1, ("0-3",), ("0", "1", "2", "3", "0-1", "2-3", "0-3")),
    ],
)
async def test_an_rngd_unit_comes_with_its_names_and_its_files(
    machines: dict[str, Node], machine: str, count: int, ranges: tuple[str, ...], pe_files: tuple[str, ...]
) -> None:
    admitted = await _pod(machines[machine], count)

    assert admitted.env == {
        "NPU_DEVNAME": ",".join(f"npu3pe{cores}" for cores in ranges),
        "FURIOSA_DEVICES": ",".join(f"npu:3:{cores}" for cores in ranges),
        "NPU_NPUNAME": "npu3",
        "NPU_PENAME": ",".join(f"pe{cores}" for cores in ranges),
    }
    suffixes = (*_RNGD_SHARED, *(f"pe{cores}" for cores in pe_files))
    assert set(admitted.devices) == _files("/dev/rngd", "npu3", suffixes)


async def test_two_families_on_one_node_are_two_resources_each_cut_as_it_can_be(machines: dict[str, Node]) -> None:
    node = machines["both 4"]
    await node.kubelet.until(lambda view: view.streams(RESOURCE) == view.streams(RENEGADE) == 1, PATIENCE)

    assert set(node.kubelet.view().resources) == {RESOURCE, RENEGADE}
    assert [device.id for device in node.listed()] == ["npu0pe0-1"]
    ids = ["npu0pe0-3", "npu0pe4-7", "npu1pe0-3", "npu1pe4-7"]
    assert [device.id for device in node.listed(RENEGADE)] == ids


async def test_a_pod_gets_files_of_the_family_it_asked_for_and_of_no_other(machines: dict[str, Node]) -> None:
    node = machines["both 4"]
    await node.kubelet.until(lambda view: bool(view.healthy(RESOURCE) and view.healthy(RENEGADE)), PATIENCE)

    warboys = await _pod(node, 1, RESOURCE)
    rngds = await _pod(node, 4, RENEGADE)

    assert not [node for node in warboys.devices if "rngd" in node.host_path]
    assert not [node for node in rngds.devices if "rngd" not in node.host_path]
    assert warboys.env["NPU_DEVNAME"] == "npu0pe0-1"
    assert rngds.env["NPU_DEVNAME"] == "npu0pe0-3,npu0pe4-7,npu1pe0-3,npu1pe4-7"
