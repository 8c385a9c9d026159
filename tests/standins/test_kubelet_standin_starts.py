"""The stand-in kubelet towards pods: starts, restarts, reboots."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from testkit.standins.kubelet import (
    CreateContainerConfigError,
    CreateContainerError,
    Phase,
    UnexpectedAdmissionError,
)
from testkit.standins.scripted_plugin import (
    PRE_STARTS,
    RESOURCE,
    Failure,
    StartKubelet,
    StartPlugin,
    allocatable,
    devices,
)
from testkit.waiting import PATIENCE

# Starting once more


async def test_after_a_reboot_pods_are_admitted_before_the_plugin_is_back_and_fail(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)
    await kubelet.run_pod("pod-a", {RESOURCE: 1})

    results = await kubelet.reboot()

    await asyncio.wait_for(plugin.streams[0].closed.wait(), PATIENCE)
    error = results["pod-a"]
    assert isinstance(error, UnexpectedAdmissionError)
    assert error.cause == f"no healthy devices present; cannot allocate unhealthy devices {RESOURCE}"
    assert kubelet.view().pod("pod-a").phase is Phase.FAILED


async def test_after_a_reboot_a_pod_gets_its_devices_back_once_the_plugin_is_there(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)
    first = await kubelet.run_pod("pod-a", {RESOURCE: 1})
    await plugin.stop()
    assert await kubelet.reboot(readmit=False) == {}
    assert kubelet.view().pod("pod-a").phase is Phase.PENDING
    await plugin.start()
    await plugin.register()
    await allocatable(kubelet, 2)

    assert await kubelet.readmit_pods() == {"pod-a": first}
    assert len(plugin.allocations) == 1
    assert kubelet.view().pod("pod-a").starts == 2


# PreStartContainer and the runtime


async def test_pre_start_is_called_before_every_start_when_required(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet, devices("npu0"), PRE_STARTS)

    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    await kubelet.restart_container("pod-a")

    assert plugin.pre_starts == [("npu0",), ("npu0",)]


async def test_a_container_whose_pre_start_failed_keeps_its_devices_and_is_tried_again(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(container_back_off=0.01)
    plugin = await advertise(kubelet, devices("npu0"), PRE_STARTS)
    plugin.on_pre_start = Failure(grpc.StatusCode.FAILED_PRECONDITION, "busy")

    with pytest.raises(CreateContainerConfigError) as caught:
        await kubelet.run_pod("pod-a", {RESOURCE: 1})
    assert caught.value.message == (
        "device plugin PreStartContainer rpc failed with err: rpc error: code = FailedPrecondition desc = busy"
    )
    assert kubelet.view().held(RESOURCE) == {"npu0"}
    assert kubelet.view().pod("pod-a").phase is Phase.WAITING
    plugin.on_pre_start = None

    await kubelet.until(lambda view: view.pod("pod-a").running, within=PATIENCE)
    assert len(plugin.pre_starts) > 1
    assert len(plugin.allocations) == 1


async def test_pre_start_has_a_deadline(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet(pre_start_deadline=0.05)
    plugin = await advertise(kubelet, devices("npu0"), PRE_STARTS)
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    plugin.hangs = True

    with pytest.raises(CreateContainerConfigError) as caught:
        await asyncio.wait_for(kubelet.restart_container("pod-a"), PATIENCE)

    assert caught.value.message == (
        "device plugin PreStartContainer rpc failed with err: "
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    )


async def test_a_missing_device_file_holds_the_container_up_until_it_appears(
    start_kubelet: StartKubelet, advertise: StartPlugin, tmp_path: Path
) -> None:
    kubelet = await start_kubelet(devfs=tmp_path, container_back_off=0.01)
    plugin = await advertise(kubelet, devices("npu0"))

    with pytest.raises(CreateContainerError) as caught:
        await kubelet.run_pod("pod-a", {RESOURCE: 1})
    assert caught.value.message == (
        'error gathering device information while adding custom device "/dev/npu0": no such file or directory'
    )
    assert kubelet.view().pod("pod-a").reason == "CreateContainerError"
    assert kubelet.view().held(RESOURCE) == {"npu0"}
    (tmp_path / "npu0").symlink_to("/dev/null")

    await kubelet.until(lambda view: view.pod("pod-a").running, within=PATIENCE)
    assert len(plugin.allocations) == 1
