"""The plugin as a whole, in one process: what ends it, and what two of them on a node do not share."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.checkpoint import CHECKPOINT
from npu_core.testing import FakeHost, warboy
from npu_device_plugin.app import START_PATIENCE, DevicePlugin
from npu_device_plugin.offer import Offer
from npu_device_plugin.reload import Reloader
from npu_device_plugin.telemetry import Telemetry
from testkit.waiting import PATIENCE
from tests.device_plugin.clock import Clock


class SupervisedToDeath(DevicePlugin):
    """A plugin one of whose supervisors meets with what it never thought of."""

    def _begin(self, offer: Offer) -> None:
        super()._begin(offer)
        self._start(self._die(), "supervisor of a/b")

    @staticmethod
    async def _die() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError("nobody thought of this")


class Unlookable(Reloader):
    """Settings that cannot be looked at any more."""

    async def follow(self) -> bool:
        """Fail in a way that nobody expects."""
        raise ZeroDivisionError("nobody thought of this")


def options(host: FakeHost, plugin_dir: Path) -> dict[str, str]:
    return {
        "sysfs": host.sysfs,
        "devfs": host.devfs,
        "plugin-dir": str(plugin_dir),
        "listen-address": "off",
        "interval": "0.1",
        "pod-resources-socket": f"{plugin_dir}/nobody.sock",
    }


@pytest.fixture
def given(tmp_path: Path, socket_dir: Path) -> dict[str, str]:
    """Settings for a node with one card and no kubelet."""
    return options(FakeHost(tmp_path, warboy(0)), socket_dir)


@asynccontextmanager
async def running(given: Mapping[str, str]) -> AsyncIterator[DevicePlugin]:
    """A plugin that has begun to serve."""
    plugin, stopped = DevicePlugin(Reloader(given, {}, Telemetry())), asyncio.Event()
    task = asyncio.create_task(plugin.run(stopped))
    try:
        async with asyncio.timeout(PATIENCE):
            while not plugin._supervisors:  # noqa: ASYNC110  # the plugin tells nobody when it begins
                await asyncio.sleep(0.01)
        yield plugin
    finally:
        stopped.set()
        await task


@pytest.mark.parametrize(
    ("plugin", "reloader", "part"),
    [
        (SupervisedToDeath, Reloader, "supervisor of a/b"),
        (DevicePlugin, Unlookable, "looking at the cards"),
    ],
)
async def test_a_part_that_ends_unexpectedly_ends_the_whole_and_is_named_once(
    given: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    plugin: type[DevicePlugin],
    reloader: type[Reloader],
    part: str,
) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError, match="nobody thought of this"):
        async with asyncio.timeout(PATIENCE):
            await plugin(reloader(given, {}, Telemetry())).run(asyncio.Event())
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(record.getMessage(), record.__dict__["npu_fields"]) for record in told] == [
        ("a part that never ends has ended", {"part": part})
    ]
    assert asyncio.all_tasks() == before
    assert os.listdir(given["plugin-dir"]) == []  # noqa: PTH208  # names are what is asked for


ENDING = """
import asyncio, json, sys
from npu_device_plugin import daemon
from npu_device_plugin.reload import Reloader
from npu_device_plugin.telemetry import Telemetry

class Unlookable(Reloader):
    async def follow(self):
        raise ZeroDivisionError("nobody thought of this")

asyncio.run(daemon._run(Unlookable(json.loads(sys.argv[1]), {}, Telemetry())))
"""


def test_the_process_then_ends_with_a_status_that_is_not_zero(given: dict[str, str]) -> None:
    command = [sys.executable, "-c", ENDING, json.dumps(given)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 1
    assert ended.stderr.rstrip().endswith("ZeroDivisionError: nobody thought of this")


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():  # noqa: ASYNC110  # the plugin tells nobody what it does
            await asyncio.sleep(0.01)


async def test_a_checkpoint_that_stays_unreadable_delays_the_first_list_and_no_longer(
    given: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(Path(given["plugin-dir"], CHECKPOINT).write_text, "torn")
    clock, stopped = Clock(), asyncio.Event()
    plugin = DevicePlugin(Reloader(given, {}, Telemetry()), clock)
    task = asyncio.create_task(plugin.run(stopped))

    await until(lambda: "waiting for the kubelet checkpoint before offering units" in caplog.messages)
    clock.now += START_PATIENCE - 0.1
    before = plugin._heartbeat
    await until(lambda: plugin._heartbeat > before)
    assert (plugin._supervisors, plugin._condition().ready) == ({}, False)
    clock.now += 0.1
    await until(lambda: bool(plugin._supervisors))
    assert "offering units without knowing what containers hold" in caplog.messages
    stopped.set()
    await task


async def test_two_instances_never_start_under_the_same_scratch_name(given: dict[str, str]) -> None:
    # In containers each of them is process 1, so the process id tells them not apart.
    names = []
    for _ in range(2):
        async with running(given) as plugin:
            names.append(plugin._supervisors[Arch.WARBOY]._scratch_path)
    assert names[0] != names[1]
