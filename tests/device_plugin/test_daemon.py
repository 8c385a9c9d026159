"""The resting process: the command's own, without the weight of the command line."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from npu_core.testing import FakeHost, warboy
from testkit.services.configured import free_port
from testkit.waiting import PATIENCE

OTHERS = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "NODE_"))}
TOO_HEAVY = {"typer", "pydantic", "rich", "click", "kubernetes", "uvloop"}
SAYS_WHAT_IT_LOADED = """\
import atexit, sys
from npu_device_plugin.entry import main
loaded = lambda: {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
atexit.register(lambda: print(*sorted(loaded())))
main()
"""


@asynccontextmanager
async def started(host: FakeHost, plugin_dir: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The plugin as operators start it, in a directory without a kubelet."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "npu_device_plugin", "--plugin-dir", str(plugin_dir), *options),
        env=OTHERS | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def lines_until(process: asyncio.subprocess.Process, text: str) -> list[str]:
    """The next lines of the log, up to the first that has a text."""
    assert process.stderr is not None
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE):
        async for line in process.stderr:
            lines.append(line.decode())
            if text in lines[-1]:
                return lines
    pytest.fail(f"it ended without logging {text!r}")


async def ended(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), PATIENCE)


@pytest.mark.parametrize(("loop", "extra"), [("asyncio", set()), ("uvloop", {"uvloop"})])
async def test_it_does_not_load_what_it_has_no_use_for(
    tmp_path: Path, socket_dir: Path, loop: str, extra: set[str]
) -> None:
    """In the process itself, after a scrape of its endpoint, which says at its end what it has loaded."""
    host, port, config = FakeHost(tmp_path, warboy(0)), free_port(), tmp_path / "config.yaml"
    config.write_text(f"pluginDir: {socket_dir}\nlistenAddress: 127.0.0.1:{port}\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", SAYS_WHAT_IT_LOADED, "--config-file", str(config)),
        env=OTHERS | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs, "NPU_EVENT_LOOP": loop},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await lines_until(process, "serving")
    with await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == HTTPStatus.OK
    process.send_signal(signal.SIGTERM)
    output, _ = await process.communicate()
    modules = set(output.decode().split())
    assert {"npu_device_plugin", "grpc", "yaml"} <= modules
    assert modules & TOO_HEAVY == extra


def test_signals_are_held_before_anything_heavy_is_loaded() -> None:
    program = "import json, sys, npu_device_plugin.entry; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, check=True).stdout
    modules = {name.partition(".")[0] for name in json.loads(printed)}
    assert modules & (TOO_HEAVY | {"asyncio", "grpc", "yaml", "prometheus_client", "ssl", "urllib"}) == set()


def test_the_library_of_metrics_is_not_loaded_before_the_first_scrape() -> None:
    program = "import json, sys, npu_device_plugin.app; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, check=True).stdout
    assert "prometheus_client" not in json.loads(printed)
