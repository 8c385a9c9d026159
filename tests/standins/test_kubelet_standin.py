"""The stand-in kubelet's own process: start, stop, restart, and what it leaves where."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from testkit.standins.kubelet import (
    ConditionUnmetError,
    Cut,
    EventKind,
    Generation,
    KubeletSettings,
    StandInKubelet,
    StreamPlan,
    WipeRule,
    Wire,
)
from testkit.standins.scripted_plugin import RESOURCE, StartKubelet, StartPlugin, devices
from testkit.waiting import PATIENCE


def _fill(directory: Path) -> None:
    """A file of every kind that may lie in a plugin directory."""
    (directory / "lock").touch()
    (directory / "subdirectory").mkdir()
    (directory / "kubelet_internal_checkpoint").write_text("{}")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / "stale.sock"))


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


async def test_a_damaged_checkpoint_is_logged_and_the_kubelet_starts_empty(
    plugin_dir: Path, start_kubelet: StartKubelet
) -> None:
    (plugin_dir / "kubelet_internal_checkpoint").write_text('{"Data":')

    kubelet = await start_kubelet()

    assert kubelet.view().running
    assert len(kubelet.events_of(EventKind.CHECKPOINT_UNREADABLE)) == 1


async def test_a_wipe_at_will_removes_sockets_under_live_connections(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)

    assert kubelet.wipe(own_socket=True) == ("DEPRECATION", "kubelet.sock", "plugin.sock")
    plugin.send(devices("npu7"))

    await kubelet.until(lambda view: view.healthy(RESOURCE) == {"npu7"}, within=PATIENCE)
    assert not kubelet.socket.exists()


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


async def test_a_journal_may_forget_what_is_long_ago_and_still_counts_it(start_kubelet: StartKubelet) -> None:
    kubelet = await start_kubelet(remembered=2)
    for _ in range(5):
        kubelet.wipe()
    assert [event.kind for event in kubelet.events] == [EventKind.WIPED, EventKind.WIPED]
    assert kubelet.view().count(EventKind.WIPED) == 6
