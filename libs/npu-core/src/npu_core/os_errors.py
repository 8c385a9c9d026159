"""What an error of the operating system means for an operator: the path, where the path came from, and what to do.

The one place that makes sentences of :class:`OSError`, for logs, ``check`` and probes of every service.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator

_CAP_DAC_OVERRIDE = 1
_ADVICE = {
    errno.ENOENT: "it is not there: does it exist on the node, and is it mounted?",
    errno.ENOTDIR: "a part of the path is no directory",
    errno.EROFS: "it is mounted read-only: mount it writable",
    errno.ENOSPC: "no space or no inode is left there: free some",
    errno.EDQUOT: "the quota there is used up: free some space or raise it",
    errno.EMFILE: "this process has no file descriptor left: raise `ulimit -n`",
    errno.ENFILE: "the machine has no file descriptor left: raise fs.file-max",
    errno.EAGAIN: "a limit is reached, such as the one on processes: see pids.max of the pod's cgroup and `ulimit -u`",
    errno.ENOMEM: "no memory is left: raise the limit of the pod",
    errno.ECONNREFUSED: "nobody listens there: is the program behind it running?",
    errno.EADDRINUSE: "another process listens there",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.ESTALE: "the directory was removed and made anew: restart the pod",
}
_REFUSED = {errno.EACCES, errno.EPERM}
_SECURITY_MODULE = (
    "the file modes allow it, so a security module such as SELinux or AppArmor refuses it: see `ausearch -m avc` on "
    "the node, and seLinuxOptions in docs/install.md"
)


def explain(error: OSError, path: str, *, setting: str = "", purpose: str = "", wants: int = os.R_OK) -> str:
    """One sentence: ``/x (--plugin-dir): ENOSPC (No space left on device), for a socket: no space ... free some``.

    Args:
        error: what happened.
        path: the file, directory or address concerned.
        setting: the option or key that the path came from; empty if it came from none.
        purpose: what the path was needed for, as "for a socket" has it; empty if that is plain.
        wants: what was wanted of the path: ``os.R_OK``, ``os.W_OK`` or both.
    """
    place = f"{path} ({setting})" if setting else path
    return f"{place}: {meaning(error, path, purpose=purpose, wants=wants)}"


def meaning(error: OSError, path: str, *, purpose: str = "", wants: int = os.R_OK) -> str:
    """As :func:`explain`, for a sentence that has the path already."""
    number = error.errno or 0
    name = errno.errorcode.get(number)
    what = f"{name} ({error.strerror or os.strerror(number)})" if name else str(error)
    advice = _refusal(path, wants) if number in _REFUSED else _ADVICE.get(number, "")
    return ": ".join(filter(None, (f"{what}, for {purpose}" if purpose else what, advice)))


def removed_text(directories: Iterable[str]) -> str:
    """What a probe says of directories that were removed on the node while a container has them mounted."""
    return f"removed on the node, while this pod has the old directory: {', '.join(directories)}"


def _refusal(path: str, wants: int) -> str:
    """Why access is refused: by which directory's or file's mode, or else by a security module."""
    if not path.startswith("/"):
        return ""
    if _overrides_modes():
        return _SECURITY_MODULE
    for each, bits in _needed(path, wants):
        try:
            status = os.stat(each)  # noqa: PTH116  # pathlib is not loaded in the daemons
        except OSError:
            break
        if _bits_for_us(status) & bits != bits:
            mode = stat.S_IMODE(status.st_mode)
            return f"mode {mode:04o} of {each}, of user {status.st_uid}, keeps out user {os.geteuid()}"
    return _SECURITY_MODULE


def _needed(path: str, wants: int) -> Iterator[tuple[str, int]]:
    """Each directory on the way, which has to be searched, and what the last thing there has to allow."""
    parts = path.strip("/").split("/")
    for end in range(len(parts)):
        yield "/" + "/".join(parts[:end]), os.X_OK
    yield (path, wants) if os.path.lexists(path) else (os.path.dirname(path), os.W_OK)  # noqa: PTH120  # as above


def _bits_for_us(status: os.stat_result) -> int:
    """What a file's mode allows this process, as ``os.R_OK`` and the others."""
    if status.st_uid == os.geteuid():
        return status.st_mode >> 6 & 7
    if status.st_gid in {os.getegid(), *os.getgroups()}:
        return status.st_mode >> 3 & 7
    return status.st_mode & 7


def _overrides_modes() -> bool:
    """Whether this process may pass over file modes."""
    try:
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123  # as above
            sets = [int(line.split()[1], 16) for line in file if line.startswith(b"CapEff:")]
    except OSError:
        return False
    return any(each >> _CAP_DAC_OVERRIDE & 1 for each in sets)
