"""Whether the system lets this process have threads, and why not."""

import errno
import threading

_CLONE3 = 435
"""The number of the system call, on every architecture."""


def refusal() -> str:
    """Start one thread, which does nothing. Returns why that is refused and what to do, in one line; or an empty text.

    For the start of a program, before gRPC is loaded: gRPC ends a process that is refused threads by SIGSEGV.
    """
    try:
        threading.Thread(target=_do_nothing, daemon=True).start()
    except RuntimeError as error:
        return f"{error}: {_why_no_thread()}"
    return ""


def _do_nothing() -> None:
    """Be there."""


def _why_no_thread() -> str:
    if _clone3_error() == errno.EPERM:
        return (
            "a seccomp filter refuses the system call clone3, which makes threads: the container runtime is older than "
            "the C library in the image. Update the runtime (Docker 20.10.10, containerd 1.4.11 or 1.5.7, or later), "
            "or set seccompProfile to Unconfined for this pod"
        )
    return (
        "the limit on processes and threads is reached, or memory is: see pids.max and memory.max of the pod's cgroup "
        "(podPidsLimit of the kubelet) and `ulimit -u`, and raise the limit"
    )


def _clone3_error() -> int:
    """The number of the error that clone3 gives where nothing is asked of it: EINVAL if it may be called at all."""
    import ctypes  # noqa: PLC0415  # loaded only by a process that is about to end

    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.syscall(_CLONE3, None, 0) != -1 else ctypes.get_errno()
