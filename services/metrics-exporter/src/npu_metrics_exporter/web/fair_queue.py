"""A queue in which no client address can keep the others waiting."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

HEAD_START = 60.0
"""Seconds. An address that was not served for so long goes before all addresses that were served since.

The same number bounds the disadvantage of an address that was just served: what waits for longer than this number of
seconds goes before whatever comes from new addresses.
"""

_MAX_REMEMBERED = 4096
"""Largest number of addresses whose last turn is remembered."""


@dataclass(frozen=True, slots=True)
class _Place(Generic[T]):
    number: int
    arrived: float
    item: T


class FairQueue(Generic[T]):
    """Items that wait, each for one origin. The origin whose last turn is the longest ago has the next turn.

    Items of one origin keep their order. All times are monotonic seconds.
    """

    def __init__(self, room: int) -> None:
        """An empty queue in which at most ``room`` items wait."""
        self._room = room
        self._lines: dict[bytes, deque[_Place[T]]] = {}
        self._served: OrderedDict[bytes, float] = OrderedDict()
        self._size = 0
        self._number = 0

    def __len__(self) -> int:
        """How many items wait."""
        return self._size

    def put(self, who: bytes, item: T, now: float) -> T | None:
        """Let ``item`` wait. If the queue is full, remove and return one item instead.

        The removed item is the newest item of the origin that has most items in the queue.
        """
        self._number += 1
        self._lines.setdefault(who, deque()).append(_Place(self._number, now, item))
        self._size += 1
        if self._size <= self._room:
            return None
        busiest = max(self._lines, key=lambda each: (len(self._lines[each]), self._lines[each][-1].number))
        place = self._lines[busiest].pop()
        self._shorten(busiest)
        return place.item

    def take(self, now: float) -> T | None:
        """Remove and return the item whose turn is next; None if no item waits."""
        if not self._lines:
            return None
        who = min(self._lines, key=self._rank)
        place = self._lines[who].popleft()
        self._shorten(who)
        self._served[who] = now
        self._served.move_to_end(who)
        if len(self._served) > _MAX_REMEMBERED:
            self._served.popitem(last=False)
        return place.item

    def discard(self, who: bytes, item: T) -> None:
        """Remove ``item`` if it still waits."""
        line = self._lines.get(who, ())
        place = next((place for place in line if place.item is item), None)
        if place is not None:
            self._lines[who].remove(place)
            self._shorten(who)

    def _shorten(self, who: bytes) -> None:
        self._size -= 1
        if not self._lines[who]:
            del self._lines[who]

    def _rank(self, who: bytes) -> tuple[float, int]:
        first = self._lines[who][0]
        longest_ago = first.arrived - HEAD_START
        return max(self._served.get(who, longest_ago), longest_ago), first.number
