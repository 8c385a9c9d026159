"""The stand-in kubelet towards plugins: Register."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.kubelet import (
    EventKind,
    Generation,
    OldStreamEnd,
    UnexpectedAdmissionError,
)
from testkit.standins.scripted_plugin import (
    RESOURCE,
    ScriptedPlugin,
    StartKubelet,
    StartPlugin,
    allocatable,
    devices,
    ended,
)
from testkit.waiting import PATIENCE


async def _refusal(plugin: ScriptedPlugin, **request: str) -> str:
    """What a refused Register says; the code is UNKNOWN or this fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await plugin.register(**request)  # type: ignore[arg-type]  # only texts are given
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    return caught.value.details() or ""


# What Register checks


async def test_the_next_registrations_fail_as_told_and_then_no_more(
    start_kubelet: StartKubelet, start_plugin: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await start_plugin()
    kubelet.fail_next_registers(2, "not now")

    assert [await _refusal(plugin), await _refusal(plugin)] == ["not now", "not now"]
    await plugin.register()


# Dialling, and the options


async def test_registration_waits_for_a_plugin_that_serves_late(start_kubelet: StartKubelet, plugin_dir: Path) -> None:
    kubelet = await start_kubelet(dial_deadline=PATIENCE)
    plugin = ScriptedPlugin(plugin_dir)
    register = asyncio.create_task(plugin.register())
    await kubelet.until(lambda view: view.registrations(RESOURCE) == 1, within=PATIENCE)

    await plugin.start()

    await register
    await plugin.stop()


async def test_generation_a_answers_before_it_dials(start_kubelet: StartKubelet, start_plugin: StartPlugin) -> None:
    kubelet = await start_kubelet(generation=Generation.A, dial_deadline=0.1)
    plugin = await start_plugin()
    await plugin.stop()

    await plugin.register()

    await kubelet.until(lambda view: view.count(EventKind.DIAL_FAILED, RESOURCE) == 1, within=PATIENCE)
    assert kubelet.events_of(EventKind.DIAL_FAILED)[0].text == "context deadline exceeded"
    assert kubelet.events_of(EventKind.REGISTERED) == ()


async def test_generation_a_takes_the_options_from_the_request(
    start_kubelet: StartKubelet, start_plugin: StartPlugin
) -> None:
    kubelet = await start_kubelet(generation=Generation.A)
    plugin = await start_plugin()
    plugin.listed = devices("npu0")

    await plugin.register(options=api.DevicePluginOptions(get_preferred_allocation_available=True))
    await allocatable(kubelet, 1)
    await kubelet.run_pod("pod-a", {RESOURCE: 1})

    assert plugin.options_calls == 0
    assert len(plugin.preferences) == 1


# Several registrations of one resource


@pytest.mark.parametrize(("generation", "setting"), [(Generation.A, None), (Generation.B, OldStreamEnd.HARMLESS)])
async def test_the_end_of_a_replaced_plugin_may_be_harmless(
    start_kubelet: StartKubelet,
    advertise: StartPlugin,
    generation: Generation,
    setting: OldStreamEnd | None,
) -> None:
    kubelet = await start_kubelet(generation=generation, old_stream_end=setting)
    old = await advertise(kubelet)
    new = await advertise(kubelet, socket="new.sock")

    await old.stop()
    await ended(kubelet)

    assert kubelet.view().allocatable(RESOURCE) == 2
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    assert len(new.allocations) == 1


async def test_in_generation_b_the_end_of_a_replaced_plugin_may_only_mark_the_new_one(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(old_stream_end=OldStreamEnd.MARKS_UNHEALTHY)
    old = await advertise(kubelet)
    new = await advertise(kubelet, socket="new.sock")

    await old.stop()
    await ended(kubelet)
    assert kubelet.view().allocatable(RESOURCE) == 0
    new.send(devices("npu0"))
    await allocatable(kubelet, 1)

    with pytest.raises(UnexpectedAdmissionError) as caught:
        await kubelet.run_pod("pod-a", {RESOURCE: 1})
    assert caught.value.cause == f"endpoint {kubelet.settings.plugin_dir}/new.sock has been stopped"
    assert kubelet.view().in_use(RESOURCE) == frozenset()
