"""Looking at the cards: every read on a thread that may be lost, every result a step of the snapshot."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from npu_core.device import CardKey, Device, FoundCard, Rejected
from npu_core.errors import ExhaustedError, HostError, StuckError
from npu_core.health import HealthReport, HealthStatus, Vitals, judge
from npu_core.host import Host
from npu_core.identity import is_another_card
from npu_core.service.device_threads import DeviceThreads, Sweep, unanswered
from npu_core.service.logs import EventLog, without_numbers
from npu_metrics_exporter.card_look import CounterLook, look_at_card, look_at_counters
from npu_metrics_exporter.counters import READ_FAILURES, Counters
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.metrics.snapshot import CardReport, CardStatus, Snapshot

T = TypeVar("T")

_log = EventLog(__name__)
READ_DEADLINE = 2.0
"""Seconds that one look at one card may take before the card counts as stuck."""
SWEEP_TIMEOUT = 0.1
"""Seconds of those for which one card may hold up the others, which are read one after another; then those that are
left go on each by itself."""
COUNTER_DEADLINE = 0.5
"""Seconds for a look at the counters alone."""
_LISTING = "listing"
_Look = tuple[CardReport, CounterLook] | Rejected
Wait = Callable[[Collection["asyncio.Future[Any]"], float], Awaitable[object]]
"""Returns as soon as all of these are done, and after so many seconds at the latest."""


async def wait_for_all(futures: "Collection[asyncio.Future[Any]]", seconds: float) -> None:
    """See :data:`Wait`."""
    await asyncio.wait(futures, timeout=seconds)


class Collector:
    """Keeps what is known of the cards up to date. For one event loop.

    Attributes:
        snapshot: every card that is there, or was until lately.
    """

    def __init__(
        self,
        host: Host,
        telemetry: Counters,
        clock: Callable[[], float],
        wall: Callable[[], float],
        wait: Wait = wait_for_all,
    ) -> None:
        """A collector that has not looked yet.

        Args:
            host: the host.
            telemetry: where looks are counted.
            clock: seconds that do not go back.
            wall: seconds since the epoch, which may.
            wait: waits for reads; only a test has another one.
        """
        self.snapshot = Snapshot()
        self._host = host
        self._telemetry = telemetry
        self._clock = clock
        self._wall = wall
        self._wait = wait
        self._threads = DeviceThreads(clock)
        self._found: tuple[FoundCard, ...] = ()
        self._before: dict[CardKey, CounterLook] = {}
        self._told: dict[CardKey, str] = {}
        self._complaint = ""

    @property
    def wants_counters(self) -> bool:
        """Whether :meth:`look_at_counters` would tell anything: some card's counters are full within seconds."""
        return any(look.narrow for look in self._before.values())

    async def look_at_counters(self) -> None:
        """Look at the counters alone, a moment before a collection, so that it can tell how busy the PEs were."""
        devices = [card.device for card in self.snapshot.cards if card.status is CardStatus.PRESENT and card.device]
        works = {
            device.key: partial(look_at_counters, self._host, device)
            for device in devices
            if self._before.get(device.key, CounterLook()).narrow
        }
        for key, seen in (await self._sweep(works, COUNTER_DEADLINE)).items():
            if isinstance(seen, CounterLook):
                self._before[key] = seen

    async def collect(self, max_age: float, grace: float) -> None:
        """List the cards and look at each. Takes about the deadline at most, and never raises for a card or the host.

        Args:
            max_age: seconds after which values are dropped.
            grace: seconds for which cards that are gone are kept.
        """
        begun = self._clock()
        await self._list()
        glance = self._host.glance()
        looks = await self._sweep({card.key: self._look(glance, card) for card in self._found}, READ_DEADLINE)
        for key, seen in looks.items():
            self._take(key, seen)
        # As old as when this collection began: that one card held it up makes nothing stale that was just read.
        self.snapshot = self.snapshot.aged(begun, max_age=max_age, grace=grace)
        self._forget_others()
        self._telemetry.collections.observe(self._clock() - begun)

    async def _list(self) -> None:
        """List the cards. If that fails those of before are looked at: "cannot tell" takes no card away."""
        found = await self._listed()
        self._telemetry.listing_up = not isinstance(found, Exception)
        if isinstance(found, Exception):
            self._complain(found)
            return
        self._complain(None)
        self._found = found
        before = self.snapshot
        self.snapshot = before.with_listing(found, self._clock())
        self._report_presence(before, self.snapshot)

    async def _listed(self) -> tuple[FoundCard, ...] | Exception:
        try:
            listing = self._threads.start(_LISTING, self._host.find)
        except HostError as error:
            return error
        await self._until_done([listing], READ_DEADLINE)
        return _outcome(listing)

    def _look(self, glance: Host, card: FoundCard) -> Callable[[], _Look]:
        before = self._before.get(card.key, CounterLook())
        state = self.snapshot.card(card.key)
        return partial(look_at_card, glance, card, state.device if state else None, before, self._clock)

    def _take(self, key: CardKey, seen: _Look | Exception) -> None:
        match seen:
            case Rejected():
                self.snapshot = self.snapshot.with_rejection(key, seen.reason)
                self._before.pop(key, None)
                self._tell(key, seen.reason, Event.CARD_LEFT_OUT, reason=seen.reason)
            case (report, counters):
                before = self.snapshot
                self.snapshot = before.with_report(report, self._wall())
                self._report_identity(before, self.snapshot, report.device)
                self._before[key] = counters
                self._count_unreadable(key, report)
                self._report_doubles()
                self._report_recovery(key)
            case StuckError():
                self._fail(key, seen, stuck=True)
                self._tell(key, "stuck", Event.CARD_STUCK, reason=seen.detail)
            case ExhaustedError():
                self._fail(key, seen, stuck=False)
                self._tell(key, "unasked", Event.CARD_NOT_ASKED, reason=seen.detail)
            case _:  # one strange card must not cost the others
                self._fail(key, seen, stuck=False)
                if self._is_news(key, without_numbers(repr(seen))):
                    _log.exception(Event.LOOK_FAILED, seen, **_card(key))

    def _fail(self, key: CardKey, error: Exception, *, stuck: bool) -> None:
        self.snapshot = self.snapshot.with_failure(key, _report_of(error), stuck=stuck, now=self._clock())
        self._before.pop(key, None)
        reason = str(error.reason) if isinstance(error, HostError) else READ_FAILURES[-1]
        self._telemetry.read_errors[_name(key), key[0], reason] += 1

    def _count_unreadable(self, key: CardKey, report: CardReport) -> None:
        for item in report.unreadable:
            self._telemetry.read_errors[_name(key), key[0], item.reason] += 1

    # -- reading with a deadline ----------------------------------------------------------------------------------

    async def _sweep(self, works: Mapping[CardKey, Callable[[], T]], within: float) -> dict[CardKey, T | Exception]:
        """Do work for each card; what has not come back in time is a StuckError."""
        if not works:
            return {}
        sweep = self._threads.sweep(works)
        begun = self._clock()
        await self._while_it_gets_on(sweep, within / 2)
        self._threads.spread()
        await self._until_done(sweep.reads.values(), begun + within - self._clock())
        outcomes: dict[CardKey, T | Exception] = {}
        for key, read in sweep.reads.items():
            outcome = _outcome(read)
            outcomes[key] = outcome
        return outcomes

    async def _while_it_gets_on(self, sweep: "Sweep[CardKey, T]", within: float) -> None:
        """Wait until the shared thread is through, or one card has held it up for longer than a card may.

        Not for the time that all together take: with many cards that is long, and a thread for each costs more.
        """
        swept = asyncio.wrap_future(sweep.swept)
        end, before = self._clock() + within, -1
        while not swept.done() and (left := end - self._clock()) > 0:
            done = sum(read.done() for read in sweep.reads.values())
            if done == before:
                return
            before = done
            await self._wait({swept}, min(SWEEP_TIMEOUT, left))

    async def _until_done(self, reads: "Iterable[Future[T]]", within: float) -> None:
        waiting = [asyncio.wrap_future(read) for read in reads if not read.done()]
        if not waiting:
            return
        await self._wait(waiting, within)
        for each in waiting:
            if each.done():
                each.exception()  # asked for here, or asyncio logs that nobody did
            else:
                each.cancel()

    # -- what is told ---------------------------------------------------------------------------------------------

    def _forget_others(self) -> None:
        listed = {card.key for card in self._found}
        for key in self._before.keys() - listed:
            del self._before[key]
        for key in self._told.keys() - listed:
            del self._told[key]
            self._threads.forget(key)

    def _report_presence(self, before: Snapshot, after: Snapshot) -> None:
        for key in sorted(_there(before) - _there(after)):
            _log.warning(Event.CARD_GONE, **_card(key))
        for key in sorted((_there(after) - _there(before)) & _known(before)):
            _log.info(Event.CARD_BACK, **_card(key))

    def _report_identity(self, before: Snapshot, after: Snapshot, seen: Device) -> None:
        """Say that a card is new, that a number belongs to another card, or that a card has another number."""
        earlier, card = before.card(seen.key), after.card(seen.key)
        known = earlier.device if earlier else None
        fields = _card(seen.key) | {"uuid": seen.uuid, "pci": seen.pci}
        if known is not None and is_another_card(known, seen):
            _log.warning(Event.ANOTHER_CARD, **fields, uuid_before=known.uuid)
        former = earlier.former if earlier and known else frozenset[int]()
        moved = sorted((card.former if card else frozenset()) - former)
        for index in moved:
            _log.warning(Event.ANOTHER_NUMBER, **_card(seen.key), uuid=seen.uuid, before=f"npu{index}")
        if known is None and not moved:
            identity = {"product": seen.product, "uuid": seen.uuid, "serial": seen.serial, "pci": seen.pci}
            _log.info(Event.CARD_FOUND, **_card(seen.key), **{name: value for name, value in identity.items() if value})

    def _report_doubles(self) -> None:
        for card in self.snapshot.cards:
            if card.is_double:
                self._tell(card.key, card.rejection, Event.CARD_LEFT_OUT, reason=card.rejection)

    def _report_recovery(self, key: CardKey) -> None:
        state = self.snapshot.card(key)
        if state is not None and not state.is_double and self._is_news(key, ""):
            _log.info(Event.CARD_ANSWERS, **_card(key))

    def _tell(self, key: CardKey, state: str, event: Event, **fields: object) -> None:
        if self._is_news(key, state):
            _log.warning(event, **_card(key), **fields)

    def _is_news(self, key: CardKey, state: str) -> bool:
        news = self._told.get(key, "") != state
        self._told[key] = state
        return news

    def _complain(self, error: Exception | None) -> None:
        # Compare the kind of error, because the text of a lasting error may contain its duration.
        reason = f"{error.reason} {error.path}" if isinstance(error, HostError) else without_numbers(repr(error or ""))
        if error is None:
            reason = ""
        if error is not None and reason != self._complaint:
            _log.error(Event.CANNOT_LIST, reason=error)
        elif self._complaint and error is None:
            _log.info(Event.CAN_LIST_AGAIN)
        self._complaint = reason


def _outcome(read: "Future[T]") -> T | Exception:
    if not read.done() or read.cancelled():
        return unanswered(read, READ_DEADLINE)
    try:
        return read.result()
    except Exception as error:  # noqa: BLE001  # whatever it is, the card's step takes it
        return error


def _report_of(error: Exception) -> HealthReport:
    """What a look that failed says of the card's health."""
    if isinstance(error, HostError):
        return judge(Vitals(present=True, alive=error))
    return HealthReport(HealthStatus.UNKNOWN, (str(error),))


def _there(snapshot: Snapshot) -> set[CardKey]:
    return {card.key for card in snapshot.cards if card.device and card.status is not CardStatus.DEPARTED}


def _known(snapshot: Snapshot) -> set[CardKey]:
    return {card.key for card in snapshot.cards if card.device}


def _name(key: CardKey) -> str:
    return f"npu{key[1]}"


def _card(key: CardKey) -> dict[str, object]:
    return {"card": _name(key), "family": key[0]}
