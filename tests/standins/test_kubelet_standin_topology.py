"""The stand-in kubelet towards pods: the topology manager."""

from __future__ import annotations

import json

import pytest

from standins.kubelet import (
    Admitted,
    TopologyAffinityError,
    TopologyPolicy,
)
from standins.scripted_plugin import (
    FOUR,
    PREFERS,
    RESOURCE,
    StartKubelet,
    StartPlugin,
    device,
)


async def test_devices_are_taken_from_one_numa_node_when_the_policy_wants_it(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(topology_policy=TopologyPolicy.SINGLE_NUMA_NODE)
    listed = [device(name, numa=[int(name[-1]) // 2]) for name in FOUR]
    plugin = await advertise(kubelet, listed, PREFERS)

    one = await kubelet.run_pod("pod-a", {RESOURCE: 1})
    two = await kubelet.run_pod("pod-b", {RESOURCE: 2})

    assert set(plugin.preferences[0].available_deviceIDs) == {"npu0", "npu1"}
    assert one.device_ids < ("npu2",)
    assert two.device_ids == ("npu2", "npu3")
    # The second needed all that was aligned, so nobody was asked.
    assert len(plugin.preferences) == 1
    with pytest.raises(TopologyAffinityError, match=r"^Resources cannot be allocated with Topology locality$"):
        await kubelet.run_pod("pod-c", {RESOURCE: 2})
    assert kubelet.view().pod("pod-c").reason == "TopologyAffinityError"


@pytest.mark.parametrize("numa", [[-1], []])
@pytest.mark.parametrize("policy", [TopologyPolicy.RESTRICTED, TopologyPolicy.SINGLE_NUMA_NODE])
async def test_an_unknown_numa_node_that_is_sent_all_the_same_fails_every_pod(
    start_kubelet: StartKubelet, advertise: StartPlugin, policy: TopologyPolicy, numa: list[int]
) -> None:
    kubelet = await start_kubelet(topology_policy=policy)
    await advertise(kubelet, [device("npu0", numa=numa)])

    with pytest.raises(TopologyAffinityError):
        await kubelet.run_pod("pod-a", {RESOURCE: 1})


@pytest.mark.parametrize("policy", list(TopologyPolicy))
async def test_devices_without_topology_are_admitted_under_every_policy(
    start_kubelet: StartKubelet, advertise: StartPlugin, policy: TopologyPolicy
) -> None:
    kubelet = await start_kubelet(topology_policy=policy)
    await advertise(kubelet)

    admitted: Admitted = await kubelet.run_pod("pod-a", {RESOURCE: 2})

    assert admitted.device_ids == ("npu0", "npu1")


async def test_best_effort_aligns_what_it_can_and_asks_about_the_rest(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(topology_policy=TopologyPolicy.BEST_EFFORT, numa_nodes=(0, 1, 2))
    listed = [device(name, numa=[number]) for name, number in zip(FOUR, (0, 1, 1, 2), strict=True)]
    plugin = await advertise(kubelet, listed, PREFERS)
    plugin.on_prefer = lambda _: ["npu3"]

    admitted = await kubelet.run_pod("pod-a", {RESOURCE: 3})

    # Nodes 0 and 1 hold the three, so the hint is theirs and the preference has no say.
    assert admitted.device_ids == ("npu0", "npu1", "npu2")
    assert plugin.preferences == []


async def test_the_checkpoint_keeps_devices_by_numa_node(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()
    await advertise(kubelet, [device("npu0", numa=[1]), device("npu1")])

    await kubelet.run_pod("pod-a", {RESOURCE: 2})

    entry = json.loads(kubelet.checkpoint_path.read_text())["Data"]["PodDeviceEntries"][0]
    assert entry["DeviceIDs"] == {"-1": ["npu1"], "1": ["npu0"]}
