"""Looking at the host: every read on a thread that may be lost, so that a card that hangs costs the others nothing."""

import time
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from npu_core.device import CardKey, Device, FoundCard, Rejected
from npu_core.errors import ExhaustedError, HostError, ReadFailedError, StuckError, Unreadable
from npu_core.host import Host
from npu_core.machine import Machine
from npu_core.parse.mgmt import EVERY_ATTRIBUTE
from npu_core.service.device_threads import DeviceThreads, unanswered
from npu_core.service.logs import EventLog
from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.table import Facts

T = TypeVar("T")
Wait: TypeAlias = Callable[["Collection[Future[Any]]", float], object]
"""Waits until all these answers are there, but not longer than so many seconds."""
Listing = frozenset[tuple[CardKey, bool, bool]]
"""Which cards are listed, and whether each has a management directory and device files of cores."""

_log = EventLog(__name__)
READ_DEADLINE = 2.0
"""Seconds that reading all cards may take. A card that has not answered then counts as stuck."""
SWEEP_TIMEOUT = 0.1
"""Seconds of those for which the cards are read one after another; those that are left go on each by itself."""
_LISTING = "listing"
_MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one look at a host found.

    Attributes:
        facts: what labels are made of. A card that hangs is among the devices, with nothing but its place.
        rejected: what looks like a card and is none of ours.
        sight: what :meth:`HostScanner.glance` would have given.
    """

    facts: Facts
    rejected: tuple[Rejected, ...] = ()
    sight: Listing = frozenset()


class HostScanner:
    """Looks at one host. For one thread."""

    def __init__(
        self,
        host: Host,
        clock: Callable[[], float] = time.monotonic,
        deadline: float = READ_DEADLINE,
        wait: Wait = futures.wait,
    ) -> None:
        """A looker at ``host``.

        Args:
            host: the host.
            clock: seconds that do not go back.
            deadline: seconds that reading all cards may take.
            wait: waits for answers.
        """
        self._wait = wait
        self._host = host
        self._clock = clock
        self._deadline = deadline
        self._threads = DeviceThreads(clock)
        self._keys: frozenset[CardKey] = frozenset()
        self._told: dict[Hashable, str] = {}

    def glance(self) -> Listing:
        """Which cards are listed, without asking any of them anything.

        Raises:
            HostError: if the host cannot be listed.
        """
        return _sight(self._find())

    def look(self) -> ScanResult:
        """List the cards and read what each is. Takes about the deadline at most.

        Raises:
            HostError: if the host cannot be listed: "cannot tell" is not "there is none".
        """
        found = self._find()
        self._forget_others(found)
        ends = self._clock() + self._deadline
        reads = self._sweep({_MACHINE: self._host.machine, **{card.key: self._identification(card) for card in found}})
        self._wait(reads.values(), max(0.0, ends - self._clock()))
        identified = [self._identified(card, reads[card.key]) for card in found]
        rejected = tuple(card for card in identified if isinstance(card, Rejected))
        devices = tuple(card for card in identified if isinstance(card, Device))
        self._tell_rejected(found, identified)
        return ScanResult(Facts(devices, self._machine(reads[_MACHINE])), rejected, _sight(found))

    def stuck(self) -> frozenset[CardKey]:
        """The cards that a read has not come back from. A look waits for the others until it is over."""
        return frozenset(key for key in self._keys if self._threads.busy(key) is not None)

    def _find(self) -> tuple[FoundCard, ...]:
        read = self._threads.start(_LISTING, self._host.find)
        self._wait([read], self._deadline)
        return self._end(read)

    def _sweep(self, works: Mapping[Hashable, Callable[[], Any]]) -> "Mapping[Hashable, Future[Any]]":
        """Begin all of it: on one thread, unless something in it hangs."""
        sweep = self._threads.sweep(works)
        self._wait([sweep.swept], SWEEP_TIMEOUT)
        self._threads.spread()
        return sweep.reads

    def _identification(self, card: FoundCard) -> Callable[[], Device | Rejected]:
        return lambda: self._host.identify(card)

    def _identified(self, card: FoundCard, read: "Future[Device | Rejected]") -> Device | Rejected:
        named: dict[str, object] = {"card": card.name, "family": card.arch}
        try:
            identified = self._end(read)
        except StuckError as error:
            if self._news(card.key, "stuck"):
                _log.warning(Event.CARD_SILENT, **named, reason=error.detail)
            return _bare(card, error)
        except ExhaustedError as error:
            if self._news(card.key, "unasked"):
                _log.error(Event.CARD_NOT_ASKED, **named, reason=error.detail)
            return _bare(card, error)
        except Exception as error:  # noqa: BLE001  # one strange card must not cost the others
            if self._news(card.key, type(error).__name__):
                _log.exception(Event.CARD_FAILED, error, **named)
            return _bare(card, ReadFailedError(f"a look at it failed: {error!r}"))
        if self._told.get(card.key) in {"stuck", "unasked"}:
            _log.info(Event.CARD_ANSWERS, **named)
        if isinstance(identified, Device):
            self._news(card.key, "")
        return identified

    def _machine(self, read: "Future[Machine]") -> Machine | None:
        try:
            machine = self._end(read)
        except HostError as error:
            if self._news(_MACHINE, error.reason):
                _log.warning(Event.MACHINE_UNKNOWN, reason=error)
            return None
        self._news(_MACHINE, "")
        return machine

    def _end(self, read: "Future[T]") -> T:
        if read.cancelled() or not read.done():
            raise unanswered(read, self._deadline)
        return read.result()

    def _forget_others(self, found: tuple[FoundCard, ...]) -> None:
        keys = frozenset(card.key for card in found)
        for key in self._keys - keys:
            self._threads.forget(key)
            self._told.pop(key, None)
        self._keys = keys

    def _tell_rejected(self, found: tuple[FoundCard, ...], identified: list[Device | Rejected]) -> None:
        for card, result in zip(found, identified, strict=True):
            if isinstance(result, Rejected) and self._news(card.key, result.reason):
                _log.warning(Event.CARD_NOT_COUNTED, card=result.name, family=result.arch, reason=result.reason)

    def _news(self, key: Hashable, text: str) -> bool:
        """Whether ``text`` is not what was told of ``key`` last. A text may not hold what differs at each look."""
        news = self._told.get(key, "") != text
        self._told[key] = text
        return news


def _sight(found: tuple[FoundCard, ...]) -> Listing:
    return frozenset((card.key, card.managed, card.has_core_file) for card in found)


def _bare(card: FoundCard, error: HostError) -> Device | Rejected:
    """A card that was listed and not read: it counts, if it is more than device files."""
    if not card.managed:
        return Rejected(card.name, card.arch, error.detail)
    unread = Unreadable.of(card.name, EVERY_ATTRIBUTE, error)
    return Device(card.index, card.arch, files=card.files, unreadable=(*card.unreadable, unread))
