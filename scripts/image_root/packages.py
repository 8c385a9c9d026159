"""What pip installed, and the commands that it brings."""

import shutil
import stat
from importlib import metadata
from pathlib import Path

_OTHERS_UNUSED = ("kubernetes/aio", "aiohttp", "aiohttp-*.dist-info")
"""Of packages of others: nothing of ours imports it. The client once more, for asyncio, is 40 MB of sources."""
_INSTALLERS = ("bin", "__pycache__", "direct_url.json")
_READ_BY_COMPILERS = ("*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "tests")
_PROGRAM = """\
#!{interpreter} -P
import sys

from {module} import {function}

sys.exit({function}())
"""


def copy(others: Path, ours: Path, site: Path) -> None:
    """Copy what was installed to where the interpreter looks for it."""
    for source in (others, ours):
        shutil.copytree(
            source, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_INSTALLERS, *_READ_BY_COMPILERS)
        )
    for pattern in _OTHERS_UNUSED:
        for unused in list(site.glob(pattern)):
            shutil.rmtree(unused)


def write_commands(ours: Path, root: Path, interpreter: Path) -> list[str]:
    """Write the commands of our packages into /usr/bin; returns their names.

    Raises:
        ValueError: if there is none.
    """
    found = metadata.Distribution.discover(path=[str(ours)])
    scripts = [entry for package in found for entry in package.entry_points if entry.group == "console_scripts"]
    if not scripts:
        raise ValueError(f"no package of {ours} has a command")
    for entry in scripts:
        program = root / "usr/bin" / entry.name
        text = _PROGRAM.format(interpreter=interpreter, module=entry.module, function=entry.attr)
        program.write_text(text, encoding="ascii")
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return sorted(entry.name for entry in scripts)
