"""``npuctl``: what the NPUs of this machine are, how they fare and who uses them. Needs ``npu-core[cli]``.

This module starts the program and imports nothing heavy itself: importing :mod:`npu_core.cli` is free.
"""

import signal
import sys

from npu_core.service.terminal import print_on_any_terminal

_PARTS_OF_EXTRA = {"typer", "yaml"}


def main() -> None:
    """The console script: parses the command line, prints, exits with 0, 1 (the host) or 2 (the command line)."""
    # A reader that closes the pipe early (head, grep -q) ends the program as it ends any other: without a word.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print_on_any_terminal()
    try:
        from npu_core.cli.app import app  # noqa: PLC0415  # typer is loaded by the program, not by an import
    except ModuleNotFoundError as error:
        if error.name not in _PARTS_OF_EXTRA:
            raise
        sys.exit(f"npuctl: {error.name} is not installed; it comes with the extra [cli] of npu-core")
    app(prog_name="npuctl")
