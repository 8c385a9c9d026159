"""What a program prints, on whatever terminal."""

import io
import sys


def print_on_any_terminal() -> None:
    """Let characters that standard output or standard error cannot encode be replaced, instead of ending the program.

    A terminal, a pipe or ``PYTHONIOENCODING`` may know ASCII alone; card names, units (``°``) and paths may have more.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
