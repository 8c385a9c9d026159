"""The plugin as a whole, in one process: what ends it, what it waits for, and what its parts tell each other."""

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

from npu_core.allocations import Sources
from npu_core.arch import Arch
from npu_core.checkpoint import CHECKPOINT
from npu_core.config.reload import ReloadableSettings
from npu_core.testing import FakeHost, warboy
from npu_device_plugin.allocation.resource_state import Offer
from npu_device_plugin.app import POLL_INTERVAL, START_TIMEOUT, DevicePlugin
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet.allocation_tracker import AllocationTracker
from npu_device_plugin.settings import Settings
from testkit.services.direct import calls_to
from testkit.waiting import PATIENCE, eventually
from tests.device_plugin.clock import Clock
from tests.device_plugin.configs import following


class SupervisedToDeath(DevicePlugin):
    """A plugin one of whose supervisors meets with what it never thought of."""

    def _begin(self, offer: Offer) -> None:
        super()._begin(offer)
        self._start(self._die(), "supervisor of a/b")

    @staticmethod
    async def _die() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError("nobody thought of this")


def unlookable(given: Mapping[str, str]) -> ReloadableSettings[Settings]:
    """Settings that cannot be looked at any more."""
    settings = following(given)

    async def fail() -> bool:
        raise ZeroDivisionError("nobody thought of this")

    settings.follow = fail  # type: ignore[method-assign]  # as a fault of this program would do
    return settings


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A node with one card."""
    return FakeHost(tmp_path / "host", warboy(0))


@pytest.fixture
def given(host: FakeHost, socket_dir: Path) -> dict[str, str]:
    """Settings for that node, which has no kubelet."""
    return {
        "sysfs": host.sysfs,
        "devfs": host.devfs,
        "plugin-dir": str(socket_dir),
        "listen-address": "off",
        "interval": "0.1",
        "pod-resources-socket": f"{socket_dir}/nobody.sock",
    }


def plugin_of(given: Mapping[str, str]) -> DevicePlugin:
    return DevicePlugin(following(given), Counters())


@asynccontextmanager
async def running(plugin: DevicePlugin) -> AsyncIterator[None]:
    """The plugin runs for as long as the block."""
    stopped = asyncio.Event()
    task = asyncio.create_task(plugin.run(stopped))
    try:
        yield
    finally:
        stopped.set()
        await task


async def rounds(plugin: DevicePlugin, number: int) -> None:
    """Wait for the end of so many rounds; the first may have begun before."""
    async with asyncio.timeout(PATIENCE):
        for _ in range(number):
            before = plugin._heartbeat
            while plugin._heartbeat == before:  # noqa: ASYNC110  # the plugin tells nobody what it does
                await asyncio.sleep(0.01)


def begun(plugin: DevicePlugin) -> Callable[[], bool]:
    return lambda: bool(plugin._supervisors)


# -- what ends it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plugin", "settings", "part"),
    [
        (SupervisedToDeath, following, "supervisor of a/b"),
        (DevicePlugin, unlookable, "looking at the cards"),
    ],
)
async def test_a_part_that_ends_unexpectedly_ends_the_whole_and_is_named_once(
    given: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    plugin: type[DevicePlugin],
    settings: Callable[[Mapping[str, str]], ReloadableSettings[Settings]],
    part: str,
) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError, match="nobody thought of this"):
        await asyncio.wait_for(plugin(settings(given), Counters()).run(asyncio.Event()), PATIENCE)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(each.getMessage(), each.__dict__["npu_fields"]) for each in errors] == [(Event.PART_ENDED, {"part": part})]
    assert asyncio.all_tasks() == before
    assert os.listdir(given["plugin-dir"]) == []  # noqa: PTH208  # names are what is asked for


ENDING = """
import json, sys
from npu_core.service.event_loop import run_until_signal
from npu_device_plugin.app import DevicePlugin
from npu_device_plugin.counters import Counters
from tests.device_plugin.test_app import unlookable

run_until_signal(lambda: DevicePlugin(unlookable(json.loads(sys.argv[1])), Counters()), "asyncio")
"""


def test_the_process_then_ends_with_a_status_that_is_not_zero(given: dict[str, str]) -> None:
    command = [sys.executable, "-c", ENDING, json.dumps(given)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 1
    assert ended.stderr.rstrip().endswith("ZeroDivisionError: nobody thought of this")


# -- what it waits for ------------------------------------------------------------------------------------------------


async def test_a_checkpoint_that_stays_unreadable_delays_the_first_list_and_no_longer(
    given: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(Path(given["plugin-dir"], CHECKPOINT).write_text, "torn")
    clock = Clock()
    plugin = DevicePlugin(following(given), Counters(), clock)
    async with running(plugin):
        await eventually(lambda: Event.WAITING_FOR_CHECKPOINT in caplog.messages, "the wait")
        clock.now += START_TIMEOUT - 0.1
        await rounds(plugin, 1)
        assert not plugin._supervisors
        assert plugin._condition().why_not_ready
        clock.now += 0.1
        await eventually(begun(plugin), "the offer")
        assert Event.HOLDERS_UNKNOWN in caplog.messages


class KeptWaiting(AllocationTracker):
    """Asks a kubelet that lets the plugin wait: meanwhile time goes by, and the only card dies."""

    def __init__(self, clock: Clock, host: FakeHost) -> None:
        super().__init__("/nowhere", "/nowhere", clock, Counters())
        self._time, self._host = clock, host

    async def ask(self) -> None:
        """Take longer than a pulse."""
        self._time.now += POLL_INTERVAL + 0.1
        self._host.card(Arch.WARBOY, 0).die()
        self.sources = Sources(listed=(), is_listed=True)


async def test_what_happened_to_the_cards_while_the_kubelet_let_the_plugin_wait_is_in_the_list(
    given: dict[str, str], host: FakeHost
) -> None:
    clock = Clock()
    plugin = DevicePlugin(following(given | {"interval": "3600"}), Counters(), clock)
    plugin._tracker = KeptWaiting(clock, host)
    async with running(plugin):
        await eventually(begun(plugin), "the offer")
        [servicer] = plugin._servicers.values()
        assert [unit.healthy for unit in servicer.offer.units] == [False]


# -- what its parts tell each other -----------------------------------------------------------------------------------


async def test_a_unit_that_is_given_out_keeps_its_card_as_it_is_cut(
    given: dict[str, str], tmp_path: Path, socket_dir: Path
) -> None:
    """No source names the unit yet: the answer to Allocate alone tells that it is held."""
    config = tmp_path / "config.yaml"
    others = f"interval: 0.1\npluginDir: {socket_dir}\npodResourcesSocket: {socket_dir}/nobody.sock\n"
    config.write_text(f"{others}listenAddress: off\ndefaultPe: Fusion\n")
    environment = {"NPU_SYSFS": given["sysfs"], "NPU_DEVFS": given["devfs"]}
    plugin = DevicePlugin(following({"config-file": str(config)}, environment), Counters())
    async with running(plugin):
        await eventually((socket_dir / "furiosa-npu").is_socket, "the socket")
        async with calls_to(socket_dir / "furiosa-npu") as calls:
            await calls.allocate(["npu0pe0-1"])
        config.write_text(f"{others}listenAddress: off\ndefaultPe: Single\n")
        await eventually(lambda: plugin._scanner.fleet.pending, "a card that waits")
        [servicer] = plugin._servicers.values()
        assert [unit.id for unit in servicer.offer.listing] == ["npu0pe0-1"]


async def test_a_host_without_cards_is_told_once(
    given: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    empty = FakeHost(tmp_path / "empty")
    plugin = plugin_of(given | {"sysfs": empty.sysfs, "devfs": empty.devfs})
    async with running(plugin):
        await rounds(plugin, 3)
        assert caplog.messages.count(Event.NO_CARD) == 1
        empty.plug(warboy(0))
        await eventually(begun(plugin), "the offer")


async def test_two_instances_never_start_under_the_same_scratch_name(given: dict[str, str]) -> None:
    # In containers each of them is process 1, so the process id tells them not apart.
    names = set()
    for _ in range(2):
        plugin = plugin_of(given)
        async with running(plugin):
            await eventually(begun(plugin), "the offer")
            names.add(plugin._supervisors[Arch.WARBOY]._scratch_path)
    assert len(names) == 2
