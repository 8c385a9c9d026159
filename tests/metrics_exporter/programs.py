"""The ``npu-metrics-exporter`` command, run to its end."""

import os
import subprocess
import sys
from pathlib import Path

from testkit.waiting import PATIENCE

PROGRAM = Path(sys.executable).with_name("npu-metrics-exporter")


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command's end; of its settings, the environment has only what is given."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "NODE_"))}
    return subprocess.run(
        [PROGRAM, *arguments], env=others | environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
