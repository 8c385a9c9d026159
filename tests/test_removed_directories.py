"""A directory of the node is removed and made anew: the service that has the old one is of no use, and says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from npu_core.testing import FakeHost, warboy
from testkit.services.configured import free_port, get
from testkit.waiting import PATIENCE, until

OTHERS = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "NODE_"))}


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("npu_device_plugin", ("--plugin-dir", "{}")),
        ("npu_device_plugin", ("--pod-resources-socket", "{}/kubelet.sock", "--plugin-dir", "/nowhere")),
        ("npu_device_plugin", ("--cdi-dir", "{}", "--device-injection", "both", "--plugin-dir", "/nowhere")),
        ("npu_feature_discovery", ("--output-file", "{}/file")),
        ("npu_metrics_exporter", ("--pod-resources-socket", "{}/kubelet.sock", "--interval", "1")),
        ("npu_metrics_exporter", ("--pod-logs-dir", "{}", "--interval", "1")),
    ],
)
def test_liveness_fails_and_says_which_directory(
    tmp_path: Path, pinned: tuple[Path, str], module: str, options: tuple[str, ...]
) -> None:
    directory, path = pinned
    host, port = FakeHost(tmp_path / "host", warboy(0)), free_port()
    arguments = [option.format(path) for option in options]

    def health() -> tuple[int, str]:
        return get(f"http://127.0.0.1:{port}/healthz")

    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments, "--listen-address", f"127.0.0.1:{port}"],
        env=OTHERS | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            until(lambda: health()[0] == 200, "the service is alive", instead=health)
            for left in directory.iterdir():
                subprocess.run(["/bin/rm", "-r", str(left)], check=True)
            directory.rmdir()
            directory.mkdir()
            until(lambda: health()[0] == 503, "the service is not alive", instead=health)
            assert path in health()[1]
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0
