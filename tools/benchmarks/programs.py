"""The programs that are measured, each as operators install it: packages copied and compiled, one environment each."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from npu_core.testing import FakeHost
from testkit.footprint import Footprint, footprint
from testkit.services.configured import free_port

ROOT = Path(__file__).resolve().parents[2]
NODE_EXPORTER = ROOT / ".venv-prometheus" / "usr" / "bin" / "prometheus-node-exporter"
_MINIMAL_PLUGIN = Path(__file__).with_name("minimal_plugin.py")
_PATIENCE = 30.0
_OURS = ("NPU_", "NODE_", "PYTHON")
"""What an environment may begin with that changes what our services do."""


class Program:
    """A process under measurement. Used as ``with program:``; it is asked to end at the end.

    Attributes:
        name: what the tables call it.
    """

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        """A program that is not started yet."""
        self.name = name
        self._command = command
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(_OURS)},
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.begun = time.monotonic()
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def footprint(self) -> Footprint:
        """What it costs now."""
        assert self._process is not None
        return footprint(self._process.pid)

    def until(self, holds: Callable[[], bool], pause: float = 0.001) -> float:
        """Wait until something holds; returns the seconds since the process was started.

        Raises:
            RuntimeError: if the process has ended.
            TimeoutError: if it does not in time.
        """
        asked = time.monotonic()
        while not holds():
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self._process.returncode}: {self._command}")
            if time.monotonic() - asked > _PATIENCE:
                raise TimeoutError(self.name)
            time.sleep(pause)
        return time.monotonic() - self.begun


class Server(Program):
    """A program that is scraped.

    Attributes:
        port: where it listens, on the loopback.
    """

    def __init__(self, name: str, command: list[str], port: int, environment: Mapping[str, str] | None = None) -> None:
        """A server that is not started yet."""
        super().__init__(name, command, environment)
        self.port = port


def _installed(service: str, command: str) -> str:
    """Where ``scripts/bench-setup`` has put a command."""
    return str(ROOT / f".venv-bench-{service}" / "bin" / command)


def _roots(host: FakeHost) -> dict[str, str]:
    return {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs}


def device_plugin(host: FakeHost, home: Path, *options: str, name: str = "device plugin") -> Server:
    """Our plugin with its endpoint on, registering in ``home/p`` and asking ``home/r`` who holds what."""
    port = free_port()
    places = ["--plugin-dir", str(home / "p"), "--pod-resources-socket", str(home / "r" / "kubelet.sock")]
    command = [_installed("device-plugin", "k8s-device-plugin"), "--listen-address", f"127.0.0.1:{port}"]
    return Server(name, [*command, *places, *options], port, _roots(host))


def configured_device_plugin(host: FakeHost, home: Path, config: Path, name: str = "device plugin, file") -> Server:
    """Our plugin as its manifest starts it: everything from a file. ``config`` is written."""
    port = free_port()
    config.write_text(configuration(home, port, "Fusion"))
    command = [_installed("device-plugin", "k8s-device-plugin"), "--config-file", str(config)]
    return Server(name, command, port, _roots(host))


def configuration(home: Path, port: int, default_pe: str) -> str:
    """The text of that file."""
    lines = (
        f"defaultPe: {default_pe}",
        f"pluginDir: {home / 'p'}",
        f"podResourcesSocket: {home / 'r' / 'kubelet.sock'}",
        f"listenAddress: 127.0.0.1:{port}",
    )
    return "".join(f"{line}\n" for line in lines)


def minimal_plugin(host: FakeHost, home: Path) -> Program:
    """A plugin that does nothing but gRPC: the floor. In the environment of ours, so with the same gRPC."""
    python = _installed("device-plugin", "python")
    cards = [card.name for card in host.cards]
    return Program("minimal plugin", [python, str(_MINIMAL_PLUGIN), str(home / "p"), *cards])


def exporter(host: FakeHost, *options: str, name: str = "metrics exporter") -> Server:
    """Our exporter, without pods unless ``options`` say so."""
    port = free_port()
    command = [_installed("metrics-exporter", "npu-metrics-exporter"), "--listen-address", f"127.0.0.1:{port}"]
    return Server(name, [*command, *(options or ("--pod-labels", "off"))], port, _roots(host))


def node_exporter(host: FakeHost) -> Server:
    """Debian's node_exporter on the same tree, without anything but hwmon and without metrics of itself."""
    port = free_port()
    options = ["--collector.disable-defaults", "--collector.hwmon", "--web.disable-exporter-metrics"]
    command = [str(NODE_EXPORTER), *options, f"--path.sysfs={host.sysfs}", f"--web.listen-address=127.0.0.1:{port}"]
    return Server("node_exporter", command, port)


def feature_discovery(host: FakeHost, file: Path) -> Program:
    """Our discovery with its default sink, the feature file."""
    command = [_installed("feature-discovery", "npu-feature-discovery"), "--output-file", str(file)]
    return Program("feature discovery", command, _roots(host))
