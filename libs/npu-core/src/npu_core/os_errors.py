"""What an error of the operating system means for an operator: the path, the option that set it, and what to do.

Every service makes the sentences of its logs, ``check`` and probes about an :class:`OSError` with this module.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator

_CAP_DAC_OVERRIDE = 1
_ADVICE = {
    errno.ENOENT: "the path does not exist: check that it exists on the node and that the pod mounts it",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EROFS: "the file system is mounted read-only: mount it writable",
    errno.ENOSPC: "the file system has no free space or no free inode: delete files there",
    errno.EDQUOT: "the disk quota is used up: delete files or raise the quota",
    errno.EMFILE: "this process has no file descriptor left: raise `ulimit -n`",
    errno.ENFILE: "the machine has no file descriptor left: raise fs.file-max",
    errno.EAGAIN: "a limit is reached, perhaps the limit on processes: see pids.max of the pod's cgroup, `ulimit -u`",
    errno.ENOMEM: "no memory is left: raise the memory limit of the pod",
    errno.ECONNREFUSED: "no process listens there: check that the program is running",
    errno.EADDRINUSE: "another process listens on this address",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.ESTALE: "the directory was removed and created again: restart the pod",
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
    """As :func:`explain`, for a sentence that names the path already."""
    number = error.errno or 0
    name = errno.errorcode.get(number)
    what = f"{name} ({error.strerror or os.strerror(number)})" if name else str(error)
    advice = _refusal(path, wants) if number in _REFUSED else _ADVICE.get(number, "")
    return ": ".join(filter(None, (f"{what}, for {purpose}" if purpose else what, advice)))


def removed_text(directories: Iterable[str]) -> str:
    """What a probe answers about directories that were removed on the node while a container has them mounted."""
    return f"removed on the node, while this pod has the old directory: {', '.join(directories)}"


def _refusal(path: str, wants: int) -> str:
    """Why the kernel refuses access: the mode of a file or directory on the path, or a security module."""
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
            return f"{each} has mode {mode:04o} and owner {status.st_uid}, which refuse user {os.geteuid()}"
    return _SECURITY_MODULE


def _needed(path: str, wants: int) -> Iterator[tuple[str, int]]:
    """Each path component with the permission bits that this process needs.

    A directory above the path needs search permission (x). A path that exists needs ``wants``. For a path that does not
    exist, its directory needs write permission.
    """
    parts = path.strip("/").split("/")
    for end in range(len(parts)):
        yield "/" + "/".join(parts[:end]), os.X_OK
    yield (path, wants) if os.path.lexists(path) else (os.path.dirname(path), os.W_OK)  # noqa: PTH120  # as above


def _bits_for_us(status: os.stat_result) -> int:
    """The permission bits (``os.R_OK`` and so on) that a file's mode grants this process."""
    if status.st_uid == os.geteuid():
        return status.st_mode >> 6 & 7
    if status.st_gid in {os.getegid(), *os.getgroups()}:
        return status.st_mode >> 3 & 7
    return status.st_mode & 7


def _overrides_modes() -> bool:
    """Whether this process has the capability CAP_DAC_OVERRIDE, with which the kernel ignores file modes."""
    try:
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123  # as above
            sets = [int(line.split()[1], 16) for line in file if line.startswith(b"CapEff:")]
    except OSError:
        return False
    return any(each >> _CAP_DAC_OVERRIDE & 1 for each in sets)
