"""Run by the image's own interpreter, inside of it: whether all that is there can be loaded, and is compiled.

Fails with what is wrong.
"""

import ctypes
import subprocess
import sys
import sysconfig
from importlib.util import MAGIC_NUMBER
from pathlib import Path

UNCHECKED = 1
"""The flags of a compiled file that is never compared with its source."""
OURS = ("npu_core", "npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter")

places = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")}
modules = {path for place in places for path in place.rglob("*.pyc")}
sources = {path for place in places for path in place.rglob("*.py")}
assert modules, "there are no modules"
for module in sorted(modules):
    head = module.read_bytes()[:8]
    assert head[:4] == MAGIC_NUMBER, f"{module} is of another Python"
    assert int.from_bytes(head[4:8], "little") == UNCHECKED, f"{module} is compared with its source"
for source in sorted(sources):
    assert source.relative_to(sysconfig.get_path("purelib")).parts[0] in OURS, f"{source} is the source of others"
    beside = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
    assert beside in modules, f"{source} is not compiled"

# Importing some has consequences; that each can be loaded is what stripping may have broken.
for library in sorted(path for place in places for path in place.rglob("*.so*")):
    ctypes.CDLL(str(library))

commands = [path for path in Path("/usr/bin").iterdir() if path.read_bytes().startswith(b"#!")]
assert commands, "there is no command"
for command in commands:
    arguments = ["version"] if command.name == "npuctl" else ["--version"]
    told = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-v", str(command), *arguments], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, f"{command} fails:\n{told.stderr}"
    loaded = [line for line in told.stderr.splitlines() if line.startswith("# code object from '")]
    assert loaded, f"{command} does not say what it loads"
    compiled_now = [line for line in loaded if line.endswith(".py'")]
    assert compiled_now == [], f"{command} compiles: {compiled_now}"
    print(command, told.stdout.strip().partition("\n")[0])  # noqa: T201  # a line in the build's output
