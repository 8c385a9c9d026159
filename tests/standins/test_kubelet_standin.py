"""The stand-in kubelet's own process: start, stop, restart, and what it leaves where."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from testkit.standins.kubelet import (
    ConditionUnmetError,
    Cut,
    EventKind,
    FakeClock,
    Generation,
    KubeletSettings,
    StandInKubelet,
    StreamPlan,
    WipeRule,
    Wire,
)
from testkit.standins.scripted_plugin import RESOURCE, StartKubelet, StartPlugin, devices
from testkit.waiting import PATIENCE


def _is_socket(path: Path) -> bool:
    return path.exists() and stat.S_ISSOCK(path.stat().st_mode)


def _fill(directory: Path) -> None:
    """A file of every kind that may lie in a plugin directory."""
    (directory / "lock").touch()
    (directory / "subdirectory").mkdir()
    (directory / "kubelet_internal_checkpoint").write_text("{}")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / "stale.sock"))


async def test_the_plugin_directory_is_made_for_root_and_its_group(plugin_dir: Path) -> None:
    directory = plugin_dir / "device-plugins"
    async with StandInKubelet(KubeletSettings(directory)):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o750


@pytest.mark.parametrize(
    ("generation", "rule", "removed"),
    [
        (Generation.A, None, ("lock", "stale.sock")),
        (Generation.B, None, ("stale.sock",)),
        (Generation.B, WipeRule.EVERYTHING, ("lock", "stale.sock")),
        (Generation.C, None, ("stale.sock",)),
    ],
)
async def test_a_start_cleans_the_directory_by_the_rule_of_its_generation(
    plugin_dir: Path,
    start_kubelet: StartKubelet,
    generation: Generation,
    rule: WipeRule | None,
    removed: tuple[str, ...],
) -> None:
    _fill(plugin_dir)

    kubelet = await start_kubelet(generation=generation, wipe_rule=rule)

    assert kubelet.events_of(EventKind.WIPED)[0].ids == removed
    assert set(os.listdir(plugin_dir)) == {  # noqa: PTH208 - names alone
        *{"lock", "stale.sock", "subdirectory", "kubelet_internal_checkpoint"} - set(removed),
        "kubelet.sock",
        "DEPRECATION",
    }


async def test_between_the_wipe_and_the_listen_delay_there_is_no_socket(plugin_dir: Path) -> None:
    kubelet = StandInKubelet(KubeletSettings(plugin_dir, listen_delay=0.1))
    start = asyncio.create_task(kubelet.start())

    await kubelet.until(lambda view: view.count(EventKind.WIPED) == 1, within=PATIENCE)
    assert not kubelet.socket.exists()
    await start
    assert _is_socket(kubelet.socket)
    wiped, started = kubelet.events
    assert started.at - wiped.at >= 0.1
    await kubelet.aclose()


async def test_stopping_twice_is_stopping_and_starting_twice_is_an_error(start_kubelet: StartKubelet) -> None:
    kubelet = await start_kubelet()

    with pytest.raises(RuntimeError, match=r"^the kubelet is running$"):
        await kubelet.start()
    await kubelet.stop()
    await kubelet.stop()

    assert len(kubelet.events_of(EventKind.STOPPED)) == 1
    with pytest.raises(RuntimeError, match=r"^the kubelet is not running$"):
        await kubelet.run_pod("pod-a", {RESOURCE: 1})


async def test_a_killed_and_closed_kubelet_leaves_no_task_no_socket_and_no_private_directory(
    plugin_dir: Path, start_plugin: StartPlugin
) -> None:
    before = asyncio.all_tasks()
    async with StandInKubelet(KubeletSettings(plugin_dir)) as kubelet:
        plugin = await start_plugin()
        await plugin.register()
        stream = await plugin.opened(1)
        # What the plugin is connected through accepts nobody else.
        private = kubelet._machine.switchboard._directory
        assert private is not None
        assert list(private.glob("*")) == []
        await kubelet.kill()

    await asyncio.wait_for(stream.closed.wait(), PATIENCE)
    await plugin.stop()
    assert asyncio.all_tasks() <= before
    assert not kubelet.socket.exists()
    assert not private.exists()


async def test_the_plugin_sees_nothing_of_a_killed_kubelet(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)

    await kubelet.kill()
    await kubelet.start()
    await advertise(kubelet, resource="example.com/other", socket="other.sock")

    assert len(plugin.open_streams) == 1
    plugin.send(devices("npu9"))
    await kubelet.cut("example.com/other")
    await kubelet.until(lambda view: view.streams("example.com/other") == 0, within=PATIENCE)
    assert kubelet.view().healthy(RESOURCE) == frozenset()


@pytest.mark.parametrize("how", [Cut.CLOSE, Cut.RESET, Cut.CANCEL])
async def test_a_kill_can_close_or_reset_the_connections(
    start_kubelet: StartKubelet, advertise: StartPlugin, how: Cut
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)

    await kubelet.kill(how)

    await asyncio.wait_for(plugin.streams[0].closed.wait(), PATIENCE)


async def test_while_no_kubelet_runs_the_nodes_status_stays_as_it_was(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    await advertise(kubelet)

    await kubelet.kill()

    view = kubelet.view()
    assert not view.running
    assert (view.capacity(RESOURCE), view.allocatable(RESOURCE)) == (2, 2)


async def test_a_pod_that_ended_while_no_kubelet_ran_holds_nothing_afterwards(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    await advertise(kubelet)
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    kept = await kubelet.run_pod("pod-b", {RESOURCE: 1})
    await kubelet.stop()

    kubelet.delete_pod("pod-a")
    await kubelet.start()

    assert kubelet.view().in_use(RESOURCE) == set(kept.device_ids)


async def test_a_damaged_checkpoint_is_logged_and_the_kubelet_starts_empty(
    plugin_dir: Path, start_kubelet: StartKubelet
) -> None:
    (plugin_dir / "kubelet_internal_checkpoint").write_text('{"Data":')

    kubelet = await start_kubelet()

    assert kubelet.view().running
    assert len(kubelet.events_of(EventKind.CHECKPOINT_UNREADABLE)) == 1


async def test_a_resource_of_the_checkpoint_is_gone_after_the_grace(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    clock = FakeClock()
    kubelet = await start_kubelet(clock=clock)
    await advertise(kubelet)
    await kubelet.restart()

    clock.advance(300.1)
    kubelet.view()

    assert [event.resource for event in kubelet.events_of(EventKind.RESOURCE_REMOVED)] == [RESOURCE]


async def test_a_restart_may_be_an_upgrade(start_kubelet: StartKubelet, start_plugin: StartPlugin) -> None:
    kubelet = await start_kubelet(generation=Generation.A)
    await kubelet.restart(generation=Generation.B)
    plugin = await start_plugin()

    await plugin.register()

    assert plugin.options_calls == 1


async def test_a_wipe_at_will_removes_sockets_under_live_connections(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)

    assert kubelet.wipe(own_socket=True) == ("DEPRECATION", "kubelet.sock", "plugin.sock")
    plugin.send(devices("npu7"))

    await kubelet.until(lambda view: view.healthy(RESOURCE) == {"npu7"}, within=PATIENCE)
    assert not kubelet.socket.exists()


async def test_a_wipe_at_will_spares_the_kubelets_own_socket(start_kubelet: StartKubelet) -> None:
    kubelet = await start_kubelet()

    kubelet.wipe()

    assert _is_socket(kubelet.socket)


async def test_a_checkpoint_that_cannot_be_written_is_logged(
    plugin_dir: Path, start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)
    kubelet.checkpoint_path.unlink()
    (plugin_dir / "kubelet_internal_checkpoint").mkdir()

    plugin.send(devices("npu0"))

    await kubelet.until(lambda view: view.count(EventKind.CHECKPOINT_FAILED) == 1, within=PATIENCE)
    assert kubelet.view().allocatable(RESOURCE) == 1


async def test_direct_connections_cannot_be_frozen_or_reset(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(wire=Wire.DIRECT)
    plugin = await advertise(kubelet)

    with pytest.raises(ValueError, match=r"^freeze needs relayed connections$"):
        await kubelet.kill(Cut.FREEZE)
    with pytest.raises(ValueError, match=r"^reset needs relayed connections$"):
        kubelet.plan_streams(StreamPlan(messages=1, then=Cut.RESET))
    await kubelet.kill()

    await asyncio.wait_for(plugin.streams[0].closed.wait(), PATIENCE)


async def test_a_wait_in_vain_tells_what_happened_instead(start_kubelet: StartKubelet) -> None:
    kubelet = await start_kubelet()

    with pytest.raises(ConditionUnmetError) as caught:
        await kubelet.until(lambda view: view.allocatable(RESOURCE) == 2, within=0.01)

    first, *rest = str(caught.value).splitlines()
    assert first == "not within 0.01 s"
    assert rest[0] == "kubelet running"
    assert rest[-1].endswith("started text='B'")


async def test_events_are_in_the_order_of_their_times(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()
    await advertise(kubelet)

    times = [event.at for event in kubelet.events]

    assert times == sorted(times)
    assert [event.kind for event in kubelet.events] == [
        EventKind.WIPED,
        EventKind.STARTED,
        EventKind.REGISTER_REQUEST,
        EventKind.REGISTERED,
        EventKind.LIST_MESSAGE,
    ]


async def test_a_journal_may_forget_what_is_long_ago_and_still_counts_it(start_kubelet: StartKubelet) -> None:
    kubelet = await start_kubelet(remembered=2)
    for _ in range(5):
        kubelet.wipe()
    assert [event.kind for event in kubelet.events] == [EventKind.WIPED, EventKind.WIPED]
    assert kubelet.view().count(EventKind.WIPED) == 6
