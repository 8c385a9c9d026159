"""The simulated node: its tree, its kubelet, and the real programs as processes."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from npu_core.testing import FakeHost, Simulation, warboy
from testkit.standins.kubelet import Event, EventKind, KubeletSettings, StandInKubelet
from tools.demo.screen import Screen

RESOURCE = "beta.furiosa.ai/npu"


class Node:
    """Two Warboy cards at work, and a stand-in for the kubelet."""

    def __init__(self, root: Path, screen: Screen) -> None:
        """A node below ``root``."""
        self.host = FakeHost(root, warboy(0, numa_node=0), warboy(1, numa_node=1))
        self.plugin_dir = root / "kubelet"
        self.pod_resources_dir = root / "pod-resources"
        self.pod_logs_dir = root / "pod-logs"
        self.pod_logs_dir.mkdir()
        self.features_dir = root / "features.d"
        self.features_dir.mkdir(mode=0o755)
        self.environment = os.environ | {
            "NPU_SYSFS": self.host.sysfs,
            "NPU_DEVFS": self.host.devfs,
            "NPU_PROCFS": self.host.procfs,
        }
        settings = KubeletSettings(
            self.plugin_dir, devfs=Path(self.host.devfs), pod_resources_dir=self.pod_resources_dir
        )
        self.kubelet = StandInKubelet(settings, listener=self._heard)
        self.speaks = False
        self._screen = screen
        self._simulation = Simulation(self.host, seed=7)
        self._told: dict[str, str] = {}
        self._programs: dict[str, asyncio.subprocess.Process] = {}

    async def work(self) -> None:
        """Keep the cards working until cancelled."""
        while True:
            self._simulation.step(0.5)
            await asyncio.sleep(0.5)

    async def start(self, module: str, *arguments: str) -> asyncio.subprocess.Process:
        """Start a real program of the project."""
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            env=self.environment,
            stderr=asyncio.subprocess.DEVNULL if not self.speaks else None,
        )
        self._programs[module] = program
        return program

    async def end(self, module: str) -> tuple[int, float]:
        """Ask a program to end, as a drain of the node does; its exit status, and how many seconds that took."""
        moment = time.monotonic()
        program = self._programs.pop(module)
        with suppress(ProcessLookupError):  # an interrupt from the terminal reaches it too
            program.terminate()
        return await program.wait(), time.monotonic() - moment

    async def end_all(self) -> None:
        """End what still runs."""
        for module in tuple(self._programs):
            await self.end(module)

    def npuctl(self, *arguments: str) -> str:
        """What npuctl says of the node."""
        command = [sys.executable, "-m", "npu_core.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def _heard(self, event: Event) -> None:
        if not self.speaks or event.kind is not EventKind.LIST_MESSAGE:
            return
        for device in event.devices:
            if self._told.get(device.id) != device.health:
                self._told[device.id] = device.health
                self._screen.fact("kubelet hears", f"{device.id} is {device.health}")
