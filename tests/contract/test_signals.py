"""Signals, alike in all three services: held back from the first line on, and SIGHUP asks for another look."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.service.lifetime import BLOCKED_SIGNALS
from npu_core.testing import FakeHost, warboy
from npu_device_plugin.events import Event
from testkit.services.configured import free_port
from testkit.services.exporter import ScrapedNode
from testkit.services.node import RESOURCE, MakeNode
from testkit.services.process import ServiceProcess, environment_of
from testkit.waiting import PATIENCE

ALIVE = "furiosa_npu_alive"
SERVICES = ("npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter")
FIRST_IMPORT = """
import importlib, signal, sys
entry = importlib.import_module(sys.argv[1] + ".entry")
before = set(sys.modules)

def held(event, arguments):
    if event == "import" and arguments[0] not in before:
        print(arguments[0], *sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        sys.stdout.flush()
        import os
        os._exit(0)

assert not [name for name in before if name.split(".")[0] == "npu_core"], "loaded before signals are held back"
sys.argv[1:] = ["--interval", "wrong"]
sys.addaudithook(held)
entry.main()
"""


@pytest.mark.parametrize("service", SERVICES)
def test_signals_are_held_back_before_anything_else_is_loaded(service: str) -> None:
    command = [sys.executable, "-c", FIRST_IMPORT, service]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    _, *numbers = done.stdout.split()
    assert sorted(map(int, numbers)) == sorted(BLOCKED_SIGNALS)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_hangup_at_any_time_does_not_end_a_service(service: str, tmp_path: Path, socket_dir: Path) -> None:
    arguments = {
        "npu_device_plugin": ["--plugin-dir", str(socket_dir), "--listen-address", "off"],
        "npu_feature_discovery": ["--output-file", str(socket_dir / "features")],
        "npu_metrics_exporter": ["--listen-address", f"127.0.0.1:{free_port()}", "--pod-labels", "off"],
    }[service]
    host = FakeHost(tmp_path / "host", warboy(0))
    async with ServiceProcess(service, arguments, environment_of(host)) as process:
        async with asyncio.timeout(PATIENCE):
            while not _holds(process.pid):  # noqa: ASYNC110  # another process's doing
                await asyncio.sleep(0.001)
        process.hang_up()
        await process.until_logged(Event.STARTING, PATIENCE)
        for _ in range(3):
            process.hang_up()
            await asyncio.sleep(0.05)
        assert await process.stop() == 0


def _holds(pid: int) -> bool:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk:")]
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGHUP - 1))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_hangup_makes_the_plugin_list_the_cards_and_read_its_file_and_keeps_the_registration(
    make_node: MakeNode,
) -> None:
    node = await make_node(warboy(0))
    await node.up("--interval", "3600")
    await node.offers("npu0pe0-1")
    node.host.plug(warboy(1))
    # A later change is seen: so there were looks, and none of them listed the cards.
    node.host.card(Arch.WARBOY, 0).die()
    await node.offers()
    assert not node.plugin.logged("card=npu1")

    node.plugin.hang_up()

    await node.offers("npu1pe0-1")
    assert node.kubelet.view().registrations(RESOURCE) == 1


async def test_a_hangup_makes_the_exporter_collect_at_once() -> None:
    async with ScrapedNode(warboy(0)) as node:
        await node.up("--interval", "3600")
        node.host.plug(warboy(1))
        assert not (await node.scrape()).rows(ALIVE, device="npu1")

        node.exporter.hang_up()

        await node.until(lambda scrape: bool(scrape.rows(ALIVE, device="npu1")))
