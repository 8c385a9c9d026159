"""Real processes under a real limit on threads: a lack is told as that, is no fault of a card, and ends.

The limit is RLIMIT_NPROC, which does not bind root: the services run as a user that nothing else runs as.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.testing import warboy
from npu_device_plugin.events import Event
from testkit.services.exporter import Scrape, ScrapedNode
from testkit.services.node import RESOURCE, MakeNode, Node
from testkit.services.plugin import PluginProcess
from testkit.services.process import ServiceProcess
from testkit.standins.pod_teller import pod
from testkit.waiting import PATIENCE

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("prlimit") is None, reason="only root can run services as another user"
    ),
]


def user() -> int:
    """A user that nothing else runs as: tests may run beside each other."""
    return 100_000 + os.getpid() % 900_000


def give_to_user(directory: Path) -> None:
    """Let the user do as it likes with a machine's directory, now and later."""
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, user(), user(), follow_symlinks=False)


def limit(process: ServiceProcess, threads: int) -> None:
    """Let the user have no more than so many threads; those that it has stay."""
    become = ["setpriv", f"--reuid={user()}", f"--regid={user()}", "--clear-groups"]
    subprocess.run([*become, "prlimit", f"--pid={process.pid}", f"--nproc={threads}:"], check=True)


async def up(node: Node) -> PluginProcess:
    """A kubelet, and a plugin of that user that is registered with the kubelet."""
    await node.kubelet.start()
    give_to_user(node.home)
    plugin = PluginProcess(node.host, node.plugin_dir, run_as=user())
    await node.run_plugin(plugin)
    await node.offers(*(f"npu{index}pe0-1" for index in range(4)))
    return plugin


async def test_without_another_thread_one_card_that_hangs_costs_the_others_nothing(make_node: MakeNode) -> None:
    node = await make_node(*(warboy(index) for index in range(4)))
    plugin = await up(node)
    limit(plugin, 1)
    node.host.card(Arch.WARBOY, 0).hang("alive")
    node.host.card(Arch.WARBOY, 3).die()
    await node.offers("npu0pe0-1", "npu1pe0-1", "npu2pe0-1")
    limit(plugin, 1000)


async def test_without_another_thread_a_plugin_registers_with_a_kubelet_that_restarted(make_node: MakeNode) -> None:
    node = await make_node(*(warboy(index) for index in range(4)))
    plugin = await up(node)
    limit(plugin, 1)
    before = node.kubelet.view().registrations(RESOURCE)
    umask = os.umask(0)  # the kubelet's new socket is for everybody
    try:
        await node.kubelet.restart()
    finally:
        os.umask(umask)
    await node.kubelet.until(lambda view: view.registrations(RESOURCE) > before, PATIENCE)
    await node.offers(*(f"npu{index}pe0-1" for index in range(4)))
    assert await plugin.stop() == 0


async def test_a_question_that_no_thread_is_left_for_is_told_as_that_and_asked_again(make_node: MakeNode) -> None:
    """A plugin without cards has no server, so gRPC has to make its threads for each question."""
    node = await make_node()
    plugin = PluginProcess(
        node.host, node.plugin_dir, ["--pod-resources-socket", str(node.home / "nobody.sock")], run_as=user()
    )
    node.plugin_dir.mkdir()
    give_to_user(node.home)
    await node.run_plugin(plugin)
    await plugin.until_logged(Event.CANNOT_ASK_KUBELET, PATIENCE)
    limit(plugin, 1)
    assert "thread" in await plugin.until_logged("NO_THREAD", PATIENCE)
    assert plugin.running
    limit(plugin, 1000)
    node.host.plug(warboy(0))
    give_to_user(node.home)
    await plugin.until_logged(Event.CARD_FOUND, PATIENCE)
    await plugin.until_logged("UNAVAILABLE", PATIENCE, times=2)


async def test_an_exporter_without_another_thread_serves_its_cards_and_asks_again_when_there_is_one() -> None:
    async with ScrapedNode(warboy(0), warboy(1)) as node:
        node.kubelet.tell([pod("a", "npu0pe0-1")])
        umask = os.umask(0)
        try:
            await node.kubelet.start()
        finally:
            os.umask(umask)
        give_to_user(node.home)
        exporter = (await node.up(run_as=user())).exporter
        await node.until(lambda scrape: bool(scrape.rows("furiosa_npu_pod_info")))
        limit(exporter, 1)
        errors = "furiosa_npu_exporter_podresources_errors_total"
        await node.until(lambda scrape: bool(scrape.rows(errors, code="NO_THREAD")))
        node.host.card(Arch.WARBOY, 1).die()
        await node.until(lambda scrape: _lives(scrape) == [1, 0])
        limit(exporter, 1000)
        await node.until(lambda scrape: scrape.value("furiosa_npu_exporter_podresources_up") == 1)


def _lives(scrape: Scrape) -> list[float]:
    return [scrape.value("furiosa_npu_alive", device=device) for device in ("npu0", "npu1")]
