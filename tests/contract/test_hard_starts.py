"""Starts under bad stars: a card that hangs already, no directory to serve in, a signal before anything is ready."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.service.lifetime import BLOCKED_SIGNALS
from npu_core.testing import warboy
from npu_device_plugin.events import Event
from testkit.services.configured import free_port
from testkit.services.node import OFTEN, RESOURCE, MakeNode
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (INFO|WARNING|ERROR) ")
AS_FIRST_PROCESS = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


# -- cards that hang already -------------------------------------------------------------------------------------------


async def test_a_card_that_hangs_from_the_start_is_listed_as_unhealthy_and_healthy_when_it_is_back(
    make_node: MakeNode,
) -> None:
    node = await make_node(warboy(0))
    card = node.host.card(Arch.WARBOY, 0)
    card.hang("soc_rev")
    await node.kubelet.start()
    await node.start_plugin(*OFTEN)

    await node.kubelet.until(lambda view: view.unhealthy(RESOURCE) == {"npu0pe0-1"}, PATIENCE)
    await node.plugin.until_logged(Event.CARD_UNHEALTHY, PATIENCE)
    assert node.plugin.logged(Event.NO_CARD) == []

    card.set_attribute("soc_rev", "B0")
    await node.offers("npu0pe0-1")
    # The list may come before its line in the log.
    await node.plugin.until_logged(Event.CARD_HEALTHY, PATIENCE)
    assert len(node.plugin.logged(Event.CARD_HEALTHY)) == len(node.plugin.logged(Event.CARD_UNHEALTHY)) == 1


# -- no directory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_file", [True, False])
async def test_a_plugin_directory_that_is_missing_or_a_file_is_told_once_and_waited_for(
    make_node: MakeNode, *, is_file: bool
) -> None:
    """In one line, and in none by any library."""
    node = await make_node(warboy(0))
    if is_file:
        node.plugin_dir.write_text("not a directory\n")
    await node.start_plugin(*OFTEN, "--listen-address", "off")
    await node.plugin.until_logged(Event.CANNOT_REGISTER, PATIENCE)

    node.plugin_dir.unlink(missing_ok=True)
    await node.kubelet.start()

    await node.offers("npu0pe0-1")
    assert [line for line in node.plugin.log if not OWN_LINE.match(line)] == []


# -- as the first process of a container -------------------------------------------------------------------------------


def _namespaces_can_be_made() -> bool:
    if shutil.which(AS_FIRST_PROCESS[0]) is None:
        return False
    return subprocess.run([*AS_FIRST_PROCESS, "true"], capture_output=True, check=False).returncode == 0


async def _first_process_in(parent: int) -> int:
    """The process that is the first one of the namespace that ``parent`` makes."""
    async with asyncio.timeout(PATIENCE):
        while not (children := _children(parent)):  # noqa: ASYNC110  # another process's doing
            await asyncio.sleep(0.001)
    return children[0]


def _children(parent: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


# Exactly these: the C library holds all signals back for moments of its own, and lets them go again.
HELD_SIGNAL_BITS = sum(1 << (number - 1) for number in BLOCKED_SIGNALS)


async def _until_signals_wait(pid: int) -> None:
    """Return when a SIGTERM is not lost any more: what comes before the first line of the program always is."""
    async with asyncio.timeout(PATIENCE):
        while not _is_the_plugin(pid) or _held(pid) != HELD_SIGNAL_BITS:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.001)


def _is_the_plugin(pid: int) -> bool:
    """Not the program that makes the namespace: it is given the plugin's command line, and holds signals back too."""
    program, *_ = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return program == os.fsencode(sys.executable)


def _held(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk:")]
    return int(line.split()[1], 16)


@pytest.mark.skipif(not _namespaces_can_be_made(), reason="needs root: makes a process namespace with unshare")
@pytest.mark.parametrize(
    ("service", "moment"),
    [
        (service, moment)
        for service in ("npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter")
        for moment in (0.0, 0.15)
    ],
)
async def test_a_signal_in_the_first_moments_ends_the_first_process_of_a_container(
    make_node: MakeNode, service: str, moment: float
) -> None:
    node = await make_node(warboy(0))
    options = {
        "npu_device_plugin": ("--plugin-dir", str(node.plugin_dir)),
        "npu_feature_discovery": ("--output-file", str(node.home / "features")),
        "npu_metrics_exporter": ("--listen-address", f"127.0.0.1:{free_port()}"),
    }[service]
    command = (sys.executable, "-m", service, *options)
    environment = os.environ | {"NPU_SYSFS": node.host.sysfs, "NPU_DEVFS": node.host.devfs}
    process = await asyncio.create_subprocess_exec(
        *AS_FIRST_PROCESS, *command, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        plugin = await _first_process_in(process.pid)
        await _until_signals_wait(plugin)
        await asyncio.sleep(moment)

        os.kill(plugin, signal.SIGTERM)

        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
