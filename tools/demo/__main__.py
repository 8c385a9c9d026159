"""The ``make demo`` command."""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tools.demo import labels_story, metrics_story, plugin_story
from tools.demo.node import Node
from tools.demo.screen import Screen


async def run(screen: Screen, *, keep: bool) -> int:
    """The demo; returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="npu-demo-") as directory:
        node = Node(Path(directory), screen)
        work = asyncio.create_task(node.work())
        screen.step("A simulated node with two Warboy cards")
        await asyncio.sleep(3)  # until the cards have warmed up a little
        screen.block(await asyncio.to_thread(node.npuctl, "info"))
        try:
            async with node.kubelet:
                return await _tell(node, screen, keep=keep)
        finally:
            await node.end_all()
            work.cancel()


async def _tell(node: Node, screen: Screen, *, keep: bool) -> int:
    await plugin_story.tell(node, screen)
    await labels_story.tell(node, screen)
    address = await metrics_story.tell(node, screen)
    if keep:
        await _stay(node, screen, address)
    ends = (metrics_story.end, labels_story.end, plugin_story.end)
    return max([abs(await end(node, screen)) for end in ends])


async def _stay(node: Node, screen: Screen, metrics: str) -> None:
    """Wait for an interrupt, and say what to try meanwhile."""
    mgmt = f"{node.host.sysfs}/class/npu_mgmt"
    screen.step("The node stays up: try it from another terminal, end it here with Ctrl-C")
    for variable in ("NPU_SYSFS", "NPU_DEVFS", "NPU_PROCFS"):
        screen.line(f"   export {variable}={node.environment[variable]}")
    screen.line("   .venv/bin/npuctl info --full")
    screen.line("   .venv/bin/npuctl top")
    screen.line("   .venv/bin/k8s-device-plugin check")
    screen.line("   .venv/bin/npu-feature-discovery check --nfd-version v0.11")
    screen.line(f"   curl http://{metrics}/metrics    # or look at http://{metrics}/")
    screen.line(f"   echo 0 > {mgmt}/npu0_mgmt/alive     # kill a card; 1 revives it")
    screen.line(f"   rm {node.plugin_dir}/furiosa-npu    # take the plugin's socket away")
    screen.line(f"   rm {node.features_dir}/*    # take the labels away")
    node.speaks = True
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()


def main() -> int:
    """Parse the command line and tell the story."""
    parser = argparse.ArgumentParser(prog="make demo", description="The services on a simulated node.")
    parser.add_argument("--keep", action="store_true", help="stay up until interrupted")
    keep = parser.parse_args().keep
    screen = Screen(sys.stdout)
    screen.line(screen.paint("FuriosaAI NPUs for Kubernetes: the services at work", "bold"))
    screen.line("The services are the real programs; the NPUs, the kubelet and NFD are SIMULATED.")
    return asyncio.run(run(screen, keep=keep))


if __name__ == "__main__":
    sys.exit(main())
