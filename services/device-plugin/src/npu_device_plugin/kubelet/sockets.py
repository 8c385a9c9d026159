"""Socket files in a directory that somebody else cleans up."""

import errno
import os
import re
import socket
import stat
from contextlib import suppress
from typing import NamedTuple

from npu_core.os_errors import explain

_SCRATCH_PREFIX = ".npu-"
_SCRATCH_BYTES = 3
_SCRATCH_NAME = re.compile(rf"{re.escape(_SCRATCH_PREFIX)}[0-9a-f]{{{2 * _SCRATCH_BYTES}}}", re.ASCII)


class SocketIdentity(NamedTuple):
    """Distinguishes a socket file from a later socket file at the same path.

    The inode number alone is not enough, because the file system reuses inode numbers. The modification time (mtime) is
    the time of the bind, because nothing is ever written into a socket file. The change time (ctime) is not suitable: a
    new mode, owner, SELinux label or number of links changes it, although the socket is the same.
    """

    device: int
    inode: int
    bound_ns: int


def socket_identity(path: str, *, through_links: bool = False) -> SocketIdentity | None:
    """Which socket is at ``path``; None if there is none."""
    try:
        status = os.stat(path, follow_symlinks=through_links)  # noqa: PTH116  # pathlib is not loaded in the daemon
    except OSError:
        return None
    if not stat.S_ISSOCK(status.st_mode):
        return None
    return SocketIdentity(status.st_dev, status.st_ino, status.st_mtime_ns)


def no_socket(path: str, setting: str) -> str:
    """Why there is no socket at ``path``, for an operator; ``setting`` is the option that the path came from."""
    try:
        os.stat(path)  # noqa: PTH116  # as above
    except OSError as error:
        return explain(error, path, setting=setting)
    return f"{path} ({setting}) is not a socket"


def scratch_name() -> str:
    """A file name for a socket that has its real name not yet; no other server uses this name."""
    return f"{_SCRATCH_PREFIX}{os.urandom(_SCRATCH_BYTES).hex()}"


def remove_stale_sockets(directory: str) -> None:
    """Remove sockets under scratch names that nobody serves: of plugins that were killed while they started.

    Never fails: these sockets do no harm. What cannot be removed stays.
    """
    try:
        names = [name for name in os.listdir(directory) if _SCRATCH_NAME.fullmatch(name)]  # noqa: PTH208  # as above
    except OSError:  # the attempt to serve in this directory tells
        return
    for name in names:
        path = f"{directory}/{name}"
        identity = socket_identity(path)
        if identity is not None and _refuses(path):
            with suppress(OSError):
                remove_if_ours(path, identity)


def _refuses(path: str) -> bool:
    """Whether a socket refuses connections, so that its process has ended."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        return client.connect_ex(path) == errno.ECONNREFUSED


def give_name(scratch: str, path: str) -> SocketIdentity | None:
    """Move a socket that is being served to its real name, over whatever was there.

    gRPC removes the file it bound when its server stops, even if by then it is another process's. Bound under a
    scratch name and renamed, there is nothing for it to remove.

    Returns:
        Which socket it now is; None if it was removed or replaced in the meantime.

    Raises:
        OSError: if there is no socket any more, or the name cannot be had.
    """
    inode = os.lstat(scratch).st_ino
    os.replace(scratch, path)  # noqa: PTH105  # as above
    identity = socket_identity(path)
    return identity if identity is not None and identity.inode == inode else None


def check_bindable(path: str) -> None:
    """Bind a socket at ``path`` and take it away again.

    gRPC loses memory with each address it cannot bind and writes lines of its own about it, and a directory may be
    missing or full for days.

    Raises:
        OSError: that says why nothing can be bound there.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(path)
    os.unlink(path)  # noqa: PTH108  # as above


def remove_if_ours(path: str, ours: SocketIdentity | None) -> None:
    """Remove our socket, and nobody else's."""
    if ours is not None and socket_identity(path) == ours:
        with suppress(FileNotFoundError):  # the kubelet may clean up at any moment
            os.unlink(path)  # noqa: PTH108  # as above
