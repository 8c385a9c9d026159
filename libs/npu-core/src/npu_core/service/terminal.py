"""Output that works on terminals of any character encoding."""

import io
import os
import sys
from typing import Literal, TextIO

_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2
"""Descriptors of a process."""


def print_on_any_terminal() -> None:
    """Replace characters that standard output or standard error cannot encode, instead of failing.

    A terminal, a pipe or ``PYTHONIOENCODING`` may allow ASCII only. Card names, units (``°``) and paths may have other
    characters.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def have_standard_streams() -> None:
    """Open /dev/null in the place of standard input, output and error that a program was started without.

    Else the next files that are opened get these descriptors: what is meant for people is written into them, and libuv
    ends a process that closes one of them by SIGABRT.
    """
    for descriptor in range(_STANDARD_ERROR + 1):
        if not _is_open(descriptor):
            # What is printed would be lost unseen, so writing to standard output has to fail.
            mode = os.O_RDONLY if descriptor == _STANDARD_OUTPUT else os.O_RDWR
            # The system gives the lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdin = sys.stdin or _null(0, "r")
    sys.stdout = sys.stdout or _null(_STANDARD_OUTPUT, "w")
    sys.stderr = sys.stderr or _null(_STANDARD_ERROR, "w")


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _null(descriptor: int, mode: Literal["r", "w"]) -> TextIO:
    return open(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
