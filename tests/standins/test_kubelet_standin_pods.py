"""The stand-in kubelet towards pods: what they get, and why they do not."""

from __future__ import annotations

import asyncio

import pytest

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.kubelet import (
    BindMount,
    DeviceNode,
    EventKind,
    UnexpectedAdmissionError,
)
from testkit.standins.scripted_plugin import FOUR, OTHER, RESOURCE, StartKubelet, StartPlugin, answer, devices
from testkit.waiting import PATIENCE


async def test_a_pod_gets_what_the_plugin_answered(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet, devices("npu0"))
    plugin.on_allocate = lambda _: answer(
        envs={"NPUS": "0"},
        devices=[api.DeviceSpec(container_path="/dev/a", host_path="/dev/b", permissions="rw")],
        mounts=[api.Mount(container_path="/c", host_path="/d", read_only=True)],
        annotations={"key": "value"},
        cdi_devices=[api.CDIDevice(name="example.com/npu=0")],
    )

    admitted = await kubelet.run_pod("pod-a", {RESOURCE: 1})

    assert admitted.device_ids == ("npu0",)
    assert admitted.env == {"NPUS": "0"}
    assert admitted.devices == (DeviceNode("/dev/a", "/dev/b", "rw"),)
    assert admitted.mounts == (BindMount("/c", "/d", read_only=True),)
    assert admitted.annotations == {"key": "value"}
    assert admitted.cdi_devices == ("example.com/npu=0",)
    assert kubelet.view().pod("pod-a").running


async def test_of_two_answers_the_first_wins_and_the_conflict_is_noted(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    first = await advertise(kubelet, devices("npu0"))
    second = await advertise(kubelet, devices("x0"), resource=OTHER, socket="other.sock")
    first.on_allocate = lambda _: answer(envs={"A": "1", "SAME": "x"}, cdi_devices=[api.CDIDevice(name="b")])
    second.on_allocate = lambda _: answer(
        envs={"A": "2", "B": "3", "SAME": "x"},
        cdi_devices=[api.CDIDevice(name="b"), api.CDIDevice(name="a")],
    )

    admitted = await kubelet.run_pod("pod-a", {RESOURCE: 1, OTHER: 1})

    assert admitted.env == {"A": "1", "B": "3", "SAME": "x"}
    assert admitted.cdi_devices == ("a", "b")
    assert [event.text for event in kubelet.events_of(EventKind.ENV_CONFLICT)] == ["A"]


async def test_device_files_and_mounts_are_one_per_path_in_the_container(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet, devices("npu0"))
    plugin.on_allocate = lambda _: answer(
        devices=[api.DeviceSpec(container_path="/dev/a", host_path=host, permissions="rw") for host in ("/1", "/2")],
        mounts=[api.Mount(container_path="/c", host_path=host) for host in ("/1", "/2")],
    )

    admitted = await kubelet.run_pod("pod-a", {RESOURCE: 1})

    assert [node.host_path for node in admitted.devices] == ["/1"]
    assert [mount.host_path for mount in admitted.mounts] == ["/1"]


async def test_without_a_preference_the_choice_depends_on_the_seed_alone(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    choices = []
    for seed in (0, 0, *range(1, 8)):
        kubelet = await start_kubelet(seed=seed)
        plugin = await advertise(kubelet, devices(*FOUR))
        choices.append((await kubelet.run_pod("pod-a", {RESOURCE: 2})).device_ids)
        await kubelet.aclose()
        kubelet.checkpoint_path.unlink()
        await plugin.stop()

    assert choices[0] == choices[1]
    assert len(set(choices)) > 2


async def test_a_kubelet_that_dies_during_allocate_fails_the_call_and_nothing_hangs(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)
    plugin.hangs = True
    pod = asyncio.create_task(kubelet.run_pod("pod-a", {RESOURCE: 1}))
    await asyncio.wait_for(plugin.asked_to_allocate.wait(), PATIENCE)

    await kubelet.kill()

    with pytest.raises(UnexpectedAdmissionError) as caught:
        await asyncio.wait_for(pod, PATIENCE)
    text = "rpc error: code = Canceled desc = grpc: the client connection is closing"
    assert caught.value.cause == text
