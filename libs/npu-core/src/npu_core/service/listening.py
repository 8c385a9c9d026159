"""Sockets that listen, for whatever serves them."""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator, Sequence

from npu_core.errors import HostError
from npu_core.service.device_threads import DeviceThreads

_BACKLOG = 128
_SEND_BUFFER_BYTES = 131072
"""What the kernel keeps of an answer that its client has not read (it doubles the number, for its own records). Left to
itself, the kernel keeps up to 4 MB for each connection, and counts that as memory of the container."""
_Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]]
"""What :func:`socket.getaddrinfo` gives."""


def looked_up(host: str, port: int) -> Addresses:
    """The addresses of a name. A name server that is silent takes its time.

    Raises:
        OSError: if it has none, or nobody says.
        UnicodeError: if it cannot be one.
    """
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)


async def listen(
    host: str, port: int, look_up: Callable[[str, int], Addresses] = looked_up
) -> tuple[socket.socket, ...]:
    """Listen on every address of a host; of an empty one, on every address of the machine.

    Those of a family that the machine's kernel has not are none.

    Args:
        host: an IP address or a name.
        port: the port; 0 for any.
        look_up: asks for the addresses of a name; as :func:`looked_up`.

    Raises:
        OSError: if another address cannot be had, or there is none; then none is kept.
    """
    sockets: list[socket.socket] = []
    try:
        sockets.extend(_bound(host, await _addresses(host, port, look_up)))
    except OSError:
        for each in sockets:
            each.close()
        raise
    return tuple(sockets)


async def _addresses(host: str, port: int, look_up: Callable[[str, int], Addresses]) -> Addresses:
    # Not on the loop's own threads: they would keep the process from ending for as long as a name server is silent.
    threads = DeviceThreads()
    try:
        found = _numeric(host, port)
        if found is not None:
            return found
        return await asyncio.wrap_future(threads.start(host, lambda: look_up(host, port)))
    except UnicodeError as error:
        raise OSError(errno.EINVAL, f"{host} cannot be the name of a host") from error
    except HostError as error:
        raise OSError(errno.EAGAIN, f"{host} cannot be looked up: {error.detail}") from error
    finally:
        threads.forget(host)


def _numeric(host: str, port: int) -> Addresses | None:
    """The addresses, if nobody has to be asked: a thread would have to, and may be lost."""
    # As bytes, where that says the same: Python would load its tables of all of Unicode to look for dots in a text.
    name = (host.encode() if host.isascii() else host) or None
    flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    try:
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)
    except socket.gaierror:
        return None  # it is a name


def _bound(host: str, found: Addresses) -> Iterator[socket.socket]:
    refused: OSError | None = None
    count = 0
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            listener = _listener(family, kind, protocol, address)
        except OSError as error:
            if not _is_of_no_family(error, address):
                raise
            refused = error
            continue
        count += 1
        yield listener
    if not count:
        raise refused or OSError(errno.EADDRNOTAVAIL, f"{host} has no address")


def _is_of_no_family(error: OSError, address: _Address) -> bool:
    """Whether it is an address of a family that the kernel has not, as a name or "every address" may have.

    Where IPv6 is switched off and not left out, only its addresses are not there.
    """
    off = error.errno == errno.EADDRNOTAVAIL and address[0] in {"::", "::1"}
    return off or error.errno == errno.EAFNOSUPPORT


def _listener(family: socket.AddressFamily, kind: socket.SocketKind, protocol: int, address: _Address) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Those that are accepted inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
