"""Who makes room for a new client: of the origin that has most guests, the one that waits longest."""

import socket
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_NETWORK_BYTES = 8
_MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins that is written as an IPv6 address."""
Guest = TypeVar("Guest", bound=Hashable)


def origin(address: str) -> bytes:
    """What counts as one client: an IPv4 address, or the /64 network of an IPv6 address.

    One machine usually has all 2^64 addresses of such a network. Any other text is its own origin.
    """
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address.encode()
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[len(_MAPPED) :]).encode()
    return packed[:_NETWORK_BYTES]


class Room(Generic[Guest]):
    """Guests by their origin, each with the time since which the guest waits."""

    def __init__(self) -> None:
        """Nobody is there."""
        self._origins: dict[bytes, OrderedDict[Guest, float]] = {}
        self._of: dict[Guest, bytes] = {}

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, guest: object) -> bool:
        return guest in self._of

    def enter(self, guest: Guest, from_: bytes, now: float) -> None:
        """A guest comes, or did something that counts from now on."""
        self._of[guest] = from_
        guests = self._origins.setdefault(from_, OrderedDict())
        guests[guest] = now
        guests.move_to_end(guest)

    def leave(self, guest: Guest) -> None:
        """A guest goes; nothing happens if the guest has gone before."""
        from_ = self._of.pop(guest, None)
        if from_ is None:
            return
        guests = self._origins[from_]
        del guests[guest]
        if not guests:
            del self._origins[from_]

    def guests(self) -> list[Guest]:
        """Everybody who is there."""
        return list(self._of)

    def to_go(self, is_spared: Callable[[Guest], bool] = lambda _: False) -> Guest | None:
        """The guest that has to make room for the next one; None if nobody is there.

        The guest is one of the origin that has most guests; among such origins, of the one whose first guest waits
        longest. The guest is the one that waits longest of those that are not spared, or else of all.
        """
        if not self._origins:
            return None
        guests = max(self._origins.values(), key=_burden)
        return next((guest for guest in guests if not is_spared(guest)), next(iter(guests)))


def _burden(guests: "OrderedDict[Guest, float]") -> tuple[int, float]:
    return len(guests), -next(iter(guests.values()))
