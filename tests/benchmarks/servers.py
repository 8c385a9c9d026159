"""The processes that are measured: the real exporter, and node_exporter with its hwmon collector alone."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Self

from benchmarks.client import Connection
from contract.configured import free_port
from footprint import Footprint, footprint
from npu_core.testing import FakeHost

NODE_EXPORTER = Path(__file__).resolve().parents[2] / ".venv-prometheus" / "usr" / "bin" / "prometheus-node-exporter"
_PATIENCE = 20.0


class Server:
    """A process that is scraped at a port of the loopback.

    Attributes:
        name: for the table.
        port: where it listens.
    """

    def __init__(self, name: str, command: list[str], port: int, environment: dict[str, str] | None = None) -> None:
        """Start it; returns at once."""
        self.name, self.port = name, port
        self._process = subprocess.Popen(  # the programs to measure
            command, env=os.environ | (environment or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        end = time.monotonic() + _PATIENCE
        while True:
            with suppress(OSError), Connection(self.port) as connection:
                if connection.get().status == HTTPStatus.OK:
                    return self
            if time.monotonic() > end:
                self.__exit__()
                raise TimeoutError(self.name)
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(_PATIENCE)

    @property
    def footprint(self) -> Footprint:
        """What it costs now."""
        return footprint(self._process.pid)


def exporter(host: FakeHost, *options: str) -> Server:
    """Our exporter, without pods."""
    port = free_port()
    command = [sys.executable, "-m", "npu_metrics_exporter", "--listen-address", f"127.0.0.1:{port}"]
    roots = {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs}
    return Server("npu-metrics-exporter", [*command, "--pod-labels", "off", *options], port, roots)


def node_exporter(host: FakeHost) -> Server:
    """Debian's node_exporter on the same tree, without anything but hwmon and without metrics of itself."""
    port = free_port()
    options = ["--collector.disable-defaults", "--collector.hwmon", "--web.disable-exporter-metrics"]
    command = [str(NODE_EXPORTER), *options, f"--path.sysfs={host.sysfs}", f"--web.listen-address=127.0.0.1:{port}"]
    return Server("node_exporter (hwmon)", command, port)
