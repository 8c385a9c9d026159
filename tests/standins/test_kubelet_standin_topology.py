"""The stand-in kubelet towards pods: the topology manager."""

from __future__ import annotations

import pytest

from testkit.standins.kubelet import (
    Admitted,
    TopologyAffinityError,
    TopologyPolicy,
)
from testkit.standins.scripted_plugin import (
    RESOURCE,
    StartKubelet,
    StartPlugin,
    device,
)


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
