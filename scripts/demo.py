"""``make demo``: the device plugin at its main job, on a simulated node.

The plugin is the real program in a process of its own. Simulated are the NPUs, as a directory tree that
npu_core.testing writes and keeps moving, and the kubelet, by the stand-in that the tests use.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from npu_core import Arch
from npu_core.testing import FakeHost, Simulation, warboy
from standins.kubelet import (
    Admitted,
    Event,
    EventKind,
    KubeletSettings,
    NodeView,
    StandInKubelet,
    UnexpectedAdmissionError,
)

RESOURCE = "beta.furiosa.ai/npu"
_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Screen:
    """What the demo says: in colour on a terminal, plain in a pipe."""

    def __init__(self, stream: TextIO) -> None:
        """A screen that writes to ``stream``."""
        self._stream = stream
        self._coloured = stream.isatty() and "NO_COLOR" not in os.environ
        self._step = 0

    def paint(self, text: str, *colours: str) -> str:
        """The text in colour, where colours are shown."""
        if not self._coloured:
            return text
        return f"\x1b[{';'.join(_COLOURS[colour] for colour in colours)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """One line as it is."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def step(self, title: str) -> None:
        """A numbered heading."""
        self._step += 1
        self.line()
        self.line(self.paint(f"{self._step}. {title}", "bold", "cyan"))

    def fact(self, name: str, value: str, *colours: str) -> None:
        """A name and its value, aligned with the other facts."""
        self.line(f"   {self.paint(f'{name:<16}', 'dim')} {self.paint(value, *colours) if colours else value}")

    def block(self, text: str) -> None:
        """Somebody else's output, indented."""
        for line in text.splitlines():
            self.line(f"   {line}")


class Node:
    """The simulated node: its tree, its kubelet, and the real plugin process."""

    def __init__(self, root: Path, screen: Screen) -> None:
        """A node below ``root`` with two Warboy cards, on two NUMA nodes."""
        self.host = FakeHost(root, warboy(0, numa_node=0), warboy(1, numa_node=1))
        self.plugin_dir = root / "kubelet"
        self.environment = os.environ | {
            "NPU_SYSFS": self.host.sysfs,
            "NPU_DEVFS": self.host.devfs,
            "NPU_PROCFS": self.host.procfs,
        }
        self.kubelet = StandInKubelet(
            KubeletSettings(self.plugin_dir, devfs=Path(self.host.devfs)), listener=self._heard
        )
        self.speak = False
        self._screen = screen
        self._simulation = Simulation(self.host, seed=7)
        self._told: dict[str, str] = {}

    async def work(self) -> None:
        """Keep the cards working until cancelled."""
        while True:
            self._simulation.step(0.5)
            await asyncio.sleep(0.5)

    async def start_plugin(self) -> asyncio.subprocess.Process:
        """Start the real program."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "npu_device_plugin",
            *("--plugin-dir", str(self.plugin_dir), "--interval", "2"),
            env=self.environment,
            stderr=asyncio.subprocess.DEVNULL if not self.speak else None,
        )

    def npuctl(self, *arguments: str) -> str:
        """What npuctl says of the node."""
        command = [sys.executable, "-m", "npu_core.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout  # noqa: S603

    def _heard(self, event: Event) -> None:
        if not self.speak or event.kind is not EventKind.LIST_MESSAGE:
            return
        for device in event.devices:
            if self._told.get(device.id) != device.health:
                self._told[device.id] = device.health
                self._screen.fact("kubelet hears", f"{device.id} is {device.health}")


def show_capacity(screen: Screen, view: NodeView) -> None:
    """The node as the scheduler sees it."""
    capacity, allocatable = view.capacity(RESOURCE), view.allocatable(RESOURCE)
    colour = "green" if capacity == allocatable else "yellow"
    screen.fact("node status", f"{RESOURCE}: capacity {capacity}, allocatable {allocatable}", colour)


def show_pod(screen: Screen, admitted: Admitted) -> None:
    """What a pod's container was given."""
    screen.fact("pod", f"{admitted.pod}: admitted, given {', '.join(admitted.device_ids)}", "green")
    for name, value in sorted(admitted.env.items()):
        screen.fact("  environment", f"{name}={value}")
    _show_list(screen, "  device files", (device.container_path for device in admitted.devices))


def _show_list(screen: Screen, name: str, values: Iterable[str], per_line: int = 4) -> None:
    items = list(values)
    for first in range(0, len(items), per_line):
        screen.fact(
            name if first == 0 else "", "".join(f"{item:<16}" for item in items[first : first + per_line]).rstrip()
        )


async def tell(node: Node, screen: Screen, plugin: asyncio.subprocess.Process, started: float) -> None:
    """The story, step by step."""
    kubelet = node.kubelet
    view = await kubelet.until(lambda view: view.allocatable(RESOURCE) == 2, within=15)  # noqa: PLR2004  # two cards
    screen.fact("registered", f"{time.monotonic() - started:.1f} s after its start, as {RESOURCE}", "green")
    show_capacity(screen, view)

    screen.step("A pod asks for one NPU")
    show_pod(screen, await kubelet.run_pod("inference-1", {RESOURCE: 1}))

    screen.step("Card npu1 dies")
    moment = time.monotonic()
    node.host.card(Arch.WARBOY, 1).die()
    view = await kubelet.until(lambda view: view.allocatable(RESOURCE) == 1, within=10)
    screen.fact("kubelet hears", f"npu1pe0-1 is Unhealthy, {time.monotonic() - moment:.1f} s later", "red")
    show_capacity(screen, view)
    try:
        await kubelet.run_pod("inference-2", {RESOURCE: 1})
    except UnexpectedAdmissionError as error:
        screen.fact("pod", f"inference-2: refused by the kubelet: {error}", "yellow")

    screen.step("Card npu1 comes back")
    moment = time.monotonic()
    node.host.card(Arch.WARBOY, 1).revive()
    view = await kubelet.until(lambda view: view.allocatable(RESOURCE) == 2, within=10)  # noqa: PLR2004  # two cards
    screen.fact(
        "kubelet hears", f"npu1pe0-1 is Healthy after two good looks, {time.monotonic() - moment:.1f} s", "green"
    )
    show_pod(screen, await kubelet.run_pod("inference-3", {RESOURCE: 1}))

    screen.step("The kubelet restarts and wipes the plugin's socket")
    moment = time.monotonic()
    await kubelet.restart()
    view = await kubelet.until(lambda view: view.allocatable(RESOURCE) == 2, within=10)  # noqa: PLR2004  # two cards
    screen.fact(
        "registered anew", f"{time.monotonic() - moment:.1f} s later, by the same process {plugin.pid}", "green"
    )
    show_capacity(screen, view)


async def stay(node: Node, screen: Screen) -> None:
    """Wait for an interrupt, and say what to try meanwhile."""
    mgmt = f"{node.host.sysfs}/class/npu_mgmt"
    screen.step("The node stays up: try it from another terminal, end it here with Ctrl-C")
    for variable in ("NPU_SYSFS", "NPU_DEVFS", "NPU_PROCFS"):
        screen.line(f"   export {variable}={node.environment[variable]}")
    screen.line("   .venv/bin/npuctl info --full")
    screen.line("   .venv/bin/npuctl top")
    screen.line("   .venv/bin/k8s-device-plugin check")
    screen.line(f"   echo 0 > {mgmt}/npu0_mgmt/alive     # kill a card; 1 revives it")
    screen.line(f"   rm {node.plugin_dir}/furiosa-npu    # take the plugin's socket away")
    node.speak = True
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()


async def run(screen: Screen, *, keep: bool) -> int:
    """The demo; returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="npu-demo-") as directory:
        node = Node(Path(directory), screen)
        work = asyncio.create_task(node.work())
        screen.step("A simulated node with two Warboy cards")
        await asyncio.sleep(3)  # until the cards have warmed up a little
        screen.block(await asyncio.to_thread(node.npuctl, "info"))
        screen.step("The device plugin starts, beside a stand-in kubelet of generation B")
        async with node.kubelet:
            started = time.monotonic()
            plugin = await node.start_plugin()
            try:
                await tell(node, screen, plugin, started)
                if keep:
                    await stay(node, screen)
            finally:
                status = await stop(screen, node, plugin)
                work.cancel()
    return status


async def stop(screen: Screen, node: Node, plugin: asyncio.subprocess.Process) -> int:
    """End the plugin as a node's drain does."""
    screen.step("The plugin is asked to end")
    moment = time.monotonic()
    with suppress(ProcessLookupError):  # an interrupt from the terminal reaches it too
        plugin.terminate()
    status = await plugin.wait()
    left = (node.plugin_dir / "furiosa-npu").exists()
    socket = "still there" if left else "gone"
    screen.fact(
        "ended", f"{time.monotonic() - moment:.1f} s later, exit status {status}, its socket is {socket}", "green"
    )
    return status


def main() -> int:
    """The ``make demo`` command."""
    parser = argparse.ArgumentParser(prog="make demo", description="The device plugin on a simulated node.")
    parser.add_argument("--keep", action="store_true", help="stay up until interrupted")
    keep = parser.parse_args().keep
    screen = Screen(sys.stdout)
    screen.line(screen.paint("FuriosaAI NPUs for Kubernetes: the device plugin at work", "bold"))
    screen.line(
        "The NPUs and the kubelet are SIMULATED (a directory tree and a stand-in); the plugin is the real program."
    )
    return asyncio.run(run(screen, keep=keep))


if __name__ == "__main__":
    sys.exit(main())
