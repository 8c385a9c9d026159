"""A process that the system refuses threads says so, and what to do, and ends; it blames no card and does not crash."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from npu_core.testing import FakeHost, warboy
from testkit.refused_threads import without_clone3
from testkit.waiting import PATIENCE

OTHERS = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "NODE_"))}


@pytest.mark.parametrize("arguments", [(), ("check",)], ids=["service", "check"])
@pytest.mark.parametrize("module", ["npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter"])
def test_a_program_that_seccomp_refuses_threads_says_so_in_one_line(
    tmp_path: Path, module: str, arguments: tuple[str, ...]
) -> None:
    host = FakeHost(tmp_path, warboy(0))
    ended = subprocess.run(
        without_clone3([sys.executable, "-m", module, *arguments]),
        env=OTHERS | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert "clone3" in line
    assert "seccompProfile" in line
