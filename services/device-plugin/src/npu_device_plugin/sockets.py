"""Socket files in a directory that somebody else cleans up."""

import os
import stat
from contextlib import suppress
from typing import NamedTuple


class SocketIdentity(NamedTuple):
    """Tells a socket file from another one at the same path. The inode alone does not: numbers are used again."""

    inode: int
    changed_ns: int


def socket_identity(path: str) -> SocketIdentity | None:
    """Which socket is at ``path``; None if there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return SocketIdentity(status.st_ino, status.st_ctime_ns) if stat.S_ISSOCK(status.st_mode) else None


def give_name(scratch: str, path: str) -> SocketIdentity | None:
    """Move a socket that is being served to its real name, over whatever was there.

    gRPC removes the file it bound when its server stops, even if by then it is another process's. Bound under a
    scratch name and renamed, there is nothing for it to remove.
    """
    os.replace(scratch, path)  # noqa: PTH105  # beside lstat; pathlib is not otherwise loaded in the daemon
    return socket_identity(path)


def remove_if_ours(path: str, ours: SocketIdentity | None) -> None:
    """Remove our socket, and nobody else's."""
    if ours is not None and socket_identity(path) == ours:
        with suppress(FileNotFoundError):  # the kubelet may clean up at any moment
            os.unlink(path)  # noqa: PTH108  # as above
