"""Whether the system lets this process have the threads that it needs, and why not.

If the system refuses a thread or a file descriptor while gRPC's core starts, the core crashes the process. So a process
makes as many threads and descriptors as gRPC needs, for a test, before the process lets gRPC start.
"""

import errno
import os
import threading
import time
from contextlib import ExitStack

NO_THREAD = "NO_THREAD"
"""Error code of a request to the kubelet for which the system refused threads. The other codes are gRPC's."""
OWN_THREADS = 6
"""Threads of a service beside the main thread and gRPC's: standard error, two kinds of reads of cards, the kubelet's
files, the settings file, the web configuration."""
_GRPC_FIXED = 3
"""Threads of gRPC's core outside its pool: for timers, for the management of the pool, for completions."""
_GRPC_POOL = (4, 16)
"""The fewest and the most threads of gRPC's pool, which has one for each processor."""
_GRPC_ASYNCIO = 1
"""Threads of gRPC's layer for asyncio, which polls for completions."""
_GRPC_DESCRIPTORS = 8
"""Descriptors that gRPC opens when it starts: six of its core's, one of a channel's socket, one of a server's."""
_ENDED = 0.1
"""Seconds to wait at most until threads with nothing to do have ended."""
_TASKS = "/proc/self/task"
_CLONE3 = 435
"""The number of the system call, on every architecture."""


def grpc_threads() -> int:
    """How many threads gRPC makes when it starts."""
    fewest, most = _GRPC_POOL
    return _GRPC_FIXED + min(max(os.cpu_count() or fewest, fewest), most)


def foreign_threads() -> int:
    """How many threads of this process Python did not start. A running gRPC has :func:`grpc_threads` minus one of them.

    0 if no /proc is mounted, because then the number is unknown.
    """
    try:
        tasks = os.listdir(_TASKS)  # noqa: PTH208  # pathlib is not loaded in the daemons
    except FileNotFoundError:
        return 0
    return len(tasks) - threading.active_count()


def refusal(count: int = 1) -> str:
    """Start ``count`` threads that all exist at one time, and end them.

    Returns the system's reason if it refuses one of them; else an empty text.
    """
    go_on, before = threading.Event(), foreign_threads()
    try:
        for _ in range(count):
            threading.Thread(target=go_on.wait, daemon=True).start()
    except (RuntimeError, MemoryError) as error:
        return str(error) or "out of memory"
    finally:
        go_on.set()
        # A thread counts for the limit until the kernel has ended it, a moment after Python has.
        ends = time.monotonic() + _ENDED
        while foreign_threads() > before and time.monotonic() < ends:
            time.sleep(0)
    return ""


def grpc_refusal() -> str:
    """Why gRPC must not start now, or make a channel: the system refuses the threads that gRPC needs. Empty if it may.

    gRPC's core keeps its threads while something of gRPC's is there. Its layer for asyncio makes one more for the first
    channel or server, and writes a traceback if the system refuses that thread.

    Raises:
        OSError: if the system refuses the file descriptors that gRPC would open.
    """
    if foreign_threads() >= grpc_threads() - 1:
        return refusal(_GRPC_ASYNCIO)
    _try_descriptors(_GRPC_DESCRIPTORS)
    return refusal(grpc_threads() + _GRPC_ASYNCIO)


def _try_descriptors(count: int) -> None:
    with ExitStack() as opened:
        for _ in range(count):
            opened.callback(os.close, os.eventfd(0, os.EFD_CLOEXEC))


def refusal_at_start(count: int) -> str:
    """As :func:`refusal`, for the start of a program: one line with the likely cause and what to do."""
    refused = refusal(count)
    return f"{refused} ({count} are needed): {_why_no_thread()}" if refused else ""


def _why_no_thread() -> str:
    if _clone3_error() == errno.EPERM:
        return (
            "a seccomp filter refuses the system call clone3, which makes threads: the container runtime is older than "
            "the C library in the image. Update the runtime (Docker 20.10.10, containerd 1.4.11 or 1.5.7, or later), "
            "or set seccompProfile to Unconfined for this pod"
        )
    return (
        "the limit on processes and threads is reached, or the memory limit: see pids.max and memory.max of the cgroup "
        "of the pod (podPidsLimit of the kubelet) and `ulimit -u`, and raise the limit"
    )


def _clone3_error() -> int:
    """The errno of a call of clone3 without arguments: EINVAL if the process may call clone3, EPERM under a filter."""
    import ctypes  # noqa: PLC0415  # loaded only by a process that is about to end

    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.syscall(_CLONE3, None, 0) != -1 else ctypes.get_errno()
