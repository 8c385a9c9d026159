"""The stand-in kubelet dies of a held device that the plugin's list lacks, as newer kubelets do."""

from __future__ import annotations

import asyncio
import stat

import pytest

from testkit.standins.kubelet import (
    EventKind,
    KubeletPanickedError,
    Phase,
    StandInKubelet,
    TopologyPolicy,
    Wire,
)
from testkit.standins.scripted_plugin import (
    RESOURCE,
    ScriptedPlugin,
    StartKubelet,
    StartPlugin,
    back,
    device,
    devices,
)
from testkit.waiting import PATIENCE

BOTH = [device("npu0", numa=[0]), device("npu1", numa=[1])]
PANIC = (
    "panic: runtime error: invalid memory address or nil pointer dereference: "
    "devicemanager.(*ManagerImpl).generateDeviceTopologyHints: "
    'resource "example.com/npu" has no device "npu0"'
)


async def _dead(kubelet: StandInKubelet, times: int = 1) -> None:
    await kubelet.until(lambda view: view.count(EventKind.PANICKED, RESOURCE) == times, within=PATIENCE)
    assert not kubelet.running
    assert not kubelet.view().running


async def _holder(kubelet: StandInKubelet, advertise: StartPlugin) -> ScriptedPlugin:
    """A plugin with one device of two free, and a pod that has npu0."""
    plugin: ScriptedPlugin = await advertise(kubelet, BOTH[:1])
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    return plugin


@pytest.mark.parametrize("wire", list(Wire))
async def test_after_a_restart_it_dies_of_a_holder_that_is_not_listed_until_it_is(
    start_kubelet: StartKubelet, advertise: StartPlugin, wire: Wire
) -> None:
    kubelet = await start_kubelet(topology_policy=TopologyPolicy.BEST_EFFORT, wire=wire)
    plugin = await _holder(kubelet, advertise)
    for times in (1, 2, 3):
        if kubelet.running:
            await kubelet.stop()
        await kubelet.start()
        await back(kubelet, plugin, BOTH[1:])
        await _dead(kubelet, times)
        await asyncio.wait_for(plugin.streams[-1].closed.wait(), PATIENCE)
        assert stat.S_ISSOCK(kubelet.socket.stat().st_mode)
        assert kubelet.view().pod("pod-a").running

    event = kubelet.events_of(EventKind.PANICKED)[0]
    assert (event.resource, event.ids, event.text) == (RESOURCE, ("npu0",), PANIC)
    await kubelet.start()
    await back(kubelet, plugin, [device("npu0", "Unhealthy", numa=[0]), *BOTH[1:]])
    # It has looked by then: this admission has its turn after that.
    await kubelet.run_pod("pod-b", {RESOURCE: 1})
    assert kubelet.running


async def test_the_first_list_counts_and_a_running_kubelet_does_not_look_again(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(topology_policy=TopologyPolicy.RESTRICTED)
    plugin = await _holder(kubelet, advertise)
    await kubelet.restart()
    await back(kubelet, plugin, BOTH)

    plugin.send(BOTH[1:])
    await kubelet.until(lambda view: view.healthy(RESOURCE) == {"npu1"}, within=PATIENCE)
    # Nor does it look at one pod when it admits another.
    await kubelet.run_pod("pod-b", {RESOURCE: 1})

    assert kubelet.running
    assert kubelet.events_of(EventKind.PANICKED) == ()


async def test_a_pod_that_is_admitted_after_a_reboot_kills_it_too_and_stays_pending(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(topology_policy=TopologyPolicy.BEST_EFFORT)
    plugin = await _holder(kubelet, advertise)
    await kubelet.reboot(readmit=False)
    await back(kubelet, plugin, BOTH[1:])

    with pytest.raises(KubeletPanickedError) as caught:
        await kubelet.readmit_pods()

    assert (str(caught.value), caught.value.resource, caught.value.device) == (PANIC, RESOURCE, "npu0")
    await _dead(kubelet)
    assert kubelet.view().pod("pod-a").phase is Phase.PENDING


@pytest.mark.parametrize("dies", [True, False])
async def test_a_device_that_leaves_the_list_during_its_allocate_kills_it_on_demand_whatever_the_policy(
    start_kubelet: StartKubelet, advertise: StartPlugin, *, dies: bool
) -> None:
    kubelet = await start_kubelet(dies_of_unlisted_grants=dies)
    plugin: ScriptedPlugin = await advertise(kubelet, devices("npu0"))
    plugin.hangs = True
    pod = asyncio.create_task(kubelet.run_pod("pod-a", {RESOURCE: 1}))
    await asyncio.wait_for(plugin.asked_to_allocate.wait(), PATIENCE)
    plugin.send(devices("npu1"))
    await kubelet.until(lambda view: view.healthy(RESOURCE) == {"npu1"}, within=PATIENCE)

    plugin.go_on.set()
    (result,) = await asyncio.wait_for(asyncio.gather(pod, return_exceptions=True), PATIENCE)

    assert isinstance(result, KubeletPanickedError) == dies
    assert kubelet.running != dies
