"""Processes that the system refuses threads, for tests: this one for a while, others as old runtimes refuse them."""

import ctypes
import os
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM = 1
_CLONE3 = 435


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def without_clone3(command: Sequence[str]) -> list[str]:
    """The command, under a filter that answers EPERM to clone3."""
    return [sys.executable, __file__, *command]


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Meanwhile the system refuses this process every thread: each would have a stack beyond the address space."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


def _refuse_clone3() -> None:
    instructions = b"".join(
        struct.pack("HBBI", code, jump_true, jump_false, value)
        for code, jump_true, jump_false, value in (
            (_LOAD, 0, 0, 0),  # the number of the system call
            (_JUMP_IF_EQUAL, 0, 1, _CLONE3),
            (_RETURN, 0, 0, _ERRNO | _EPERM),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    program = _Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)):
        given = [ctypes.byref(each) if isinstance(each, _Program) else ctypes.c_ulong(each) for each in arguments]
        if libc.prctl(*given) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    _refuse_clone3()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606  # no shell is meant
