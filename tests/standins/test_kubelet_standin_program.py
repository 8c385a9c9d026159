"""The stand-in kubelet on another event loop, and as a program."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop

from testkit.standins.kubelet import (
    Cut,
    KubeletSettings,
    StandInKubelet,
)
from testkit.standins.scripted_plugin import RESOURCE, ScriptedPlugin, StartPlugin, allocatable, devices
from testkit.waiting import PATIENCE


@pytest.mark.parametrize("how", [Cut.FREEZE, Cut.RESET, Cut.CLOSE])
def test_it_runs_on_uvloop_too(plugin_dir: Path, how: Cut) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            kubelet = await stack.enter_async_context(StandInKubelet(KubeletSettings(plugin_dir)))
            plugin = ScriptedPlugin(plugin_dir)
            await plugin.start()
            stack.push_async_callback(plugin.stop)
            plugin.listed = devices("npu0")
            await plugin.register()
            await allocatable(kubelet, 1)
            await kubelet.run_pod("pod-a", {RESOURCE: 1})
            await kubelet.kill(how)
            await kubelet.aclose()
            await asyncio.wait_for(plugin.streams[0].closed.wait(), PATIENCE)

    uvloop.run(run())


async def test_as_a_program_it_prints_events_and_ends_when_told(plugin_dir: Path, start_plugin: StartPlugin) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "testkit.standins.kubelet", "--plugin-dir", str(plugin_dir), "--generation", "C"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None

    async def next_event() -> dict[str, object]:
        assert process.stdout is not None
        event: dict[str, object] = json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE))
        return event

    assert (await next_event())["kind"] == "wiped"
    assert await next_event() | {"at": 0} == {"kind": "started", "text": "C", "at": 0}
    plugin = await start_plugin()
    plugin.listed = devices("npu0")
    await plugin.register()
    assert [(await next_event())["kind"] for _ in range(3)] == ["register_request", "registered", "list_message"]
    process.send_signal(signal.SIGTERM)

    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    assert json.loads((await process.stdout.read()).splitlines()[-1])["kind"] == "stopped"
    assert not (plugin_dir / "kubelet.sock").exists()
