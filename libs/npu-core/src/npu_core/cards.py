"""Many cards read at once, none of which can hold up the others or the caller: for watchdogs and dashboards.

A read of a broken card may block in the kernel for ever, and cannot be cancelled::

    host, reader = Host(), CardReader()
    while True:
        works = {card.key: partial(host.identify, card) for card in host.find()}
        for found in reader.read_all(works).values():
            if isinstance(found, Unreadable):
                print(found)                       # npu1 card: no answer within 2 s

Every read is made on a daemon thread. A card that does not answer in time is an :class:`Unreadable`, and nothing more
is asked of the card until the read comes back.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, TypeVar

from npu_core.device import CardKey
from npu_core.errors import HostError, ReadFailedError, Unreadable
from npu_core.service.device_threads import DeviceThreads, unanswered

T = TypeVar("T")
DEADLINE = 2.0
"""Seconds that all cards together are given to answer."""

CARD = "card"
"""Subject of the note that a card as a whole did not answer."""

_PROGRESS = 0.1
"""Seconds for which one card may hold up the others, which are read one after another on one thread."""


class CardReader:
    """Reads cards on threads that may be lost. Keep one for repeated reads. Not to be shared between threads."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[Collection[Future[Any]], float], object] | None = None,
    ) -> None:
        """A reader without threads.

        Args:
            clock: seconds that do not go back.
            wait: waits for reads, so many seconds at most. Tests wait for events instead.
        """
        self._threads = DeviceThreads(clock)
        self._clock = clock
        self._wait = wait or wait_for

    def read_all(
        self, works: Mapping[CardKey, Callable[[], T]], deadline: float = DEADLINE
    ) -> dict[CardKey, T | Unreadable]:
        """What each work gives, or why it gives nothing.

        Args:
            works: by the key of the card, ``Device.key``. An error of the host that a work raises becomes an
                Unreadable, and so does any other exception.
            deadline: seconds that all cards together are given.

        Returns:
            A value or an Unreadable of each key. The call takes ``deadline`` seconds at most.
        """
        end = self._clock() + deadline
        sweep = self._threads.sweep(works)
        self._wait([sweep.swept], min(_PROGRESS, deadline))
        self._threads.spread()
        self._wait(tuple(sweep.reads.values()), max(0.0, end - self._clock()))
        outcomes: dict[CardKey, T | Unreadable] = {}
        for key, read in sweep.reads.items():
            outcomes[key] = _outcome(key, read, deadline)
        return outcomes

    def stuck(self, longer_than: float = 0.0) -> frozenset[object]:
        """The keys of the cards whose last read has been under way for more than so many seconds."""
        return self._threads.stuck(longer_than)

    def keep(self, keys: Iterable[CardKey]) -> None:
        """Let the threads of all other cards end: those cards are gone."""
        self._threads.keep(frozenset(keys))


def read_all(works: Mapping[CardKey, Callable[[], T]], deadline: float = DEADLINE) -> dict[CardKey, T | Unreadable]:
    """:meth:`CardReader.read_all` of a new reader, for a single look."""
    return CardReader().read_all(works, deadline)


def _outcome(key: CardKey, read: "Future[Any]", deadline: float) -> Any | Unreadable:  # noqa: ANN401  # of any read
    name = f"npu{key[1]}"
    if not read.done():
        return Unreadable.of(name, CARD, unanswered(read, deadline))
    try:
        return read.result()
    except HostError as error:
        return Unreadable.of(name, CARD, error)
    except Exception as error:  # noqa: BLE001  # a fault of the work must not cost the other cards
        return Unreadable.of(name, CARD, ReadFailedError(f"the read failed: {error!r}"))
