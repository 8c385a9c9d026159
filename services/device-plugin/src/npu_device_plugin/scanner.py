"""Looking at the cards: every read on a thread that may be lost, every result a step of the fleet."""

import asyncio
from collections.abc import Callable, Hashable, Iterable
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from npu_core.allocations import Allocations
from npu_core.arch import Arch
from npu_core.device import CardKey, Device, FoundCard, Rejected
from npu_core.errors import ExhaustedError, HostError, ReadFailedError, Reason, StuckError, Unreadable
from npu_core.health import HealthStatus, Vitals, judge
from npu_core.host import Host
from npu_core.identity import is_another_card
from npu_core.partition import Partitioning
from npu_core.service.device_threads import DeviceThreads, unanswered
from npu_core.service.logs import EventLog
from npu_device_plugin.allocation.disabled import IDENTITY
from npu_device_plugin.allocation.inventory import Card, Fleet, HealthChange, health_changes
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event

T = TypeVar("T")

_log = EventLog(__name__)
READ_DEADLINE = 2.0
"""Seconds that one look at one card may take before the card counts as stuck."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the scanner waits, in seconds of real time.

    Attributes:
        read: that one look at one card may take before the card counts as stuck.
        round: that a round over all cards waits for the cards. A card that answers later counts when it does: it must
            not keep what is known of the others from being told.
        sweep: those of ``round`` for which the cards are read one after another. Those that are left go on each by
            itself.
    """

    read: float = READ_DEADLINE
    round: float = 0.5
    sweep: float = 0.1


_LISTING = "listing"


@dataclass(frozen=True, slots=True)
class _Step(Generic[T]):
    """One card's part of a round: what is read of it, and what is done with that or with the reason why not."""

    key: CardKey
    read: Callable[[], T]
    take: Callable[[T | Exception], None]


class Scanner:
    """Keeps the fleet up to date.

    Attributes:
        fleet: every card seen so far, as it was last seen.
        patience: how long it waits for the cards.
    """

    def __init__(
        self,
        host: Host,
        clock: Callable[[], float],
        telemetry: Counters | None = None,
        patience: Patience = Patience(),  # immutable
    ) -> None:
        """A scanner of ``host`` that knows no card yet; ``clock`` gives seconds that do not go back."""
        self.fleet = Fleet()
        self.patience = patience
        self._telemetry = telemetry or Counters()
        self._host = host
        self._clock = clock
        self._threads = DeviceThreads(clock)
        self._rejected: dict[CardKey, Rejected] = {}
        self._unfinished: set[asyncio.Task[None]] = set()
        self._passed_over: set[CardKey] = set()
        self._managed: frozenset[CardKey] | None = None
        self._faults: dict[CardKey, str] = {}
        self._unasked: set[CardKey] = set()
        self._told_unasked = False
        self._complaint: tuple[Reason, str | None] | None = None

    async def enumerate_cards(self) -> None:
        """List the cards and read what each is, then look at the health of all that are known.

        If the host cannot be listed, the fleet stays as it is: "cannot tell" takes no card away.
        """
        try:
            found = await self._list()
        except HostError as error:
            self._complain(error)
        else:
            self._complain(None)
            keys = {card.key for card in found}
            self._managed = frozenset(card.key for card in found if card.managed)
            self._forget_all_but(keys)
            await self._round(self._identify(card) for card in found)
        await self.look()

    def _forget_all_but(self, keys: AbstractSet[CardKey]) -> None:
        """Keep notes of the listed cards alone: numbers may be given out anew for years."""
        self._rejected = {key: card for key, card in self._rejected.items() if key in keys}
        self._faults = {key: fault for key, fault in self._faults.items() if key in keys}
        self._unasked &= keys
        self._passed_over &= keys
        self._threads.keep(keys | {_LISTING})

    async def _list(self) -> tuple[FoundCard, ...]:
        found = await self._read(_LISTING, self._host.find)
        if isinstance(found, Exception):
            raise found
        return found

    async def _read(self, key: Hashable, work: Callable[[], T]) -> T | Exception:
        try:
            read = self._threads.start(key, work)
        except HostError as error:
            return error
        return await _in_time(read, self.patience.read)

    @property
    def is_waiting(self) -> bool:
        """Whether a card has not answered yet. A card that was never identified is not in the fleet until then."""
        return bool(self._unfinished)

    async def look(self) -> None:
        """Look at the health of every known card."""
        glance = self._host.glance()
        await self._round(self._look_at(card.device, glance) for card in self.fleet.cards if self._is_free(card))
        if self._told_unasked and not self._unasked:
            _log.info(Event.CARDS_ASKED_AGAIN)
            self._told_unasked = False

    async def _round(self, steps: Iterable[_Step[T]]) -> None:
        """Take one step for each card, and finish those of earlier rounds that were late."""
        late = await self._sweep(tuple(steps))
        if late:
            tasks = {asyncio.create_task(self._finish(step, read)) for step, read in late}
            await asyncio.wait(tasks, timeout=self.patience.round - self.patience.sweep)
            self._unfinished |= tasks
        finished = {task for task in self._unfinished if task.done()}
        self._unfinished -= finished
        for task in finished:
            task.result()

    async def _sweep(self, steps: tuple[_Step[T], ...]) -> "list[tuple[_Step[T], Future[T]]]":
        """Take the steps of the cards that answer at once; those that are left, with their reads."""
        if not steps:
            return []
        sweep = self._threads.sweep({step.key: step.read for step in steps})
        await asyncio.wait({asyncio.wrap_future(sweep.swept)}, timeout=self.patience.sweep)
        self._threads.spread()
        late = []
        for step in steps:
            read = sweep.reads[step.key]
            if read.done():
                outcome = _outcome(read)
                step.take(outcome)
            else:
                late.append((step, read))
        return late

    async def _finish(self, step: _Step[T], read: "Future[T]") -> None:
        outcome = await _in_time(read, self.patience.read)
        step.take(outcome)
        # Where every round begins with a slow identification, there would never be a look.
        if isinstance(outcome, Device | Rejected) and step.key in self._passed_over:
            await self._look_alone(step.key)

    async def _look_alone(self, key: CardKey) -> None:
        card = self.fleet.card(key)
        if card is not None and self._is_free(card):
            step = self._look_at(card.device, self._host)
            seen = await self._read(key, step.read)
            step.take(seen)

    def _identify(self, card: FoundCard) -> _Step[Device | Rejected]:
        return _Step(card.key, partial(self._host.identify, card), partial(self._take_identity, card))

    def _take_identity(self, card: FoundCard, identity: Device | Rejected | Exception) -> None:
        match identity:
            case Device():
                self._rejected.pop(card.key, None)
                before = self.fleet
                self._move_to(before.with_devices([identity], self._clock(), self._managed))
                _report_identity(before, self.fleet, identity)
            case Rejected():
                self._reject(card.key, identity)
            case StuckError():
                self._take_unidentified(card, identity)
            case ExhaustedError():
                self._note_unasked(card.key, identity)
            case _:  # one strange card must not cost the others
                self._report_fault(card.key, identity)

    def _take_unidentified(self, card: FoundCard, error: StuckError) -> None:
        """A card that hangs from the start is listed all the same, for what it was found by, and is unhealthy."""
        if card.managed and self.fleet.card(card.key) is None:
            unread = Unreadable.of(card.name, IDENTITY, error)
            bare = Device(card.index, card.arch, files=card.files, unreadable=(*card.unreadable, unread))
            self._move_to(self.fleet.with_devices([bare], self._clock(), self._managed))

    def _is_free(self, card: Card) -> bool:
        """Whether no read of ours is under way that still has time: such a read tells nothing of the card."""
        busy = self._threads.busy(card.device.key)
        if busy is not None and busy < self.patience.read:
            self._passed_over.add(card.device.key)
            return False
        self._passed_over.discard(card.device.key)
        return True

    def _look_at(self, device: Device, host: Host) -> _Step[Vitals]:
        return _Step(device.key, partial(host.vitals, device), partial(self._take_vitals, device.key))

    def _take_vitals(self, key: CardKey, seen: Vitals | Exception) -> None:
        vitals = seen if isinstance(seen, Vitals) else Vitals(present=True, alive=self._why_untold(key, seen))
        if isinstance(vitals.alive, ExhaustedError):
            self._note_unasked(key, vitals.alive)
        else:
            self._unasked.discard(key)
        self._move_to(self.fleet.with_look(key, judge(vitals), self._clock(), present=vitals.present))

    def _why_untold(self, key: CardKey, error: Exception) -> HostError:
        if isinstance(error, StuckError | ExhaustedError):
            return error
        self._report_fault(key, error)  # one strange card must not cost the others
        return ReadFailedError(f"a look at it failed: {error!r}")

    def _note_unasked(self, key: CardKey, error: ExhaustedError) -> None:
        """No thread was left to ask the card with: the card keeps its state. One log line is written for all cards."""
        self._unasked.add(key)
        if not self._told_unasked:
            self._told_unasked = True
            _log.error(Event.CANNOT_ASK_CARDS, reason=error)

    def _report_fault(self, key: CardKey, error: Exception) -> None:
        # One for each card: the texts of errors may differ each time.
        if self._faults.get(key) != type(error).__name__:
            self._faults[key] = type(error).__name__
            _log.exception(Event.LOOK_FAILED, error, card=f"npu{key[1]}", family=key[0])

    def settle(self, wish: Partitioning, allocations: Allocations) -> None:
        """Cut the cards as far as their holders allow, and forget the lost ones that nobody holds."""
        fleet = self.fleet.without_lost(allocations, self._clock())
        for key in {card.device.key for card in self.fleet.cards} - {card.device.key for card in fleet.cards}:
            _log.info(Event.CARD_FORGOTTEN, card=f"npu{key[1]}", family=key[0])
        fleet = fleet.without_old_holders(allocations)
        cut = fleet.with_cuts(wish, allocations)
        for before, after in zip(fleet.cards, cut.cards, strict=True):
            _report_cut(before, after)
        self.fleet = cut

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """What looks like a card and is none of ours."""
        return tuple(self._rejected.values())

    @property
    def families(self) -> frozenset[Arch]:
        """The families of the cards that were found, whether or not they have shown yet what they are."""
        ours = (arch for arch, index in self._managed or () if (arch, index) not in self._rejected)
        return frozenset(ours) | frozenset(self.fleet.families)

    @property
    def stuck(self) -> int:
        """How many cards a read has not come back from."""
        return len(self._threads.stuck(self.patience.read) - {_LISTING})

    @property
    def unasked(self) -> int:
        """How many cards could not be asked at the last look, because no thread, descriptor or memory was left."""
        return len(self._unasked)

    def _move_to(self, fleet: Fleet) -> None:
        if fleet is self.fleet:
            return
        for change in health_changes(self.fleet, fleet):
            _report_change(change)
            self._count(change)
        self.fleet = fleet

    def _count(self, change: HealthChange) -> None:
        if change.before is not None:
            device, status = change.after.device, change.after.health.status
            self._telemetry.health_changes[device.name, device.arch, status] += 1

    def _reject(self, key: CardKey, card: Rejected) -> None:
        if self._rejected.get(key) != card:
            _log.warning(Event.CARD_NOT_OFFERED, card=card.name, family=card.arch, reason=card.reason)
        self._rejected[key] = card
        self._move_to(self.fleet.with_rejection(key, card.reason))

    def _complain(self, error: HostError | None) -> None:
        # By the kind of error: the text of one that lasts may say for how long.
        complaint = (error.reason, error.path) if error else None
        if error and complaint != self._complaint:
            _log.error(Event.CANNOT_LIST_CARDS, reason=error)
        elif self._complaint and not error:
            _log.info(Event.CARDS_LISTED_AGAIN)
        self._complaint = complaint


def _outcome(read: "Future[T]") -> T | Exception:
    try:
        return read.result()
    except Exception as error:  # noqa: BLE001  # whatever it is, the card's step takes it
        return error


async def _in_time(read: "Future[T]", deadline: float) -> T | Exception:
    """What is read, or why it is not, within the deadline."""
    try:
        # Not wait_for: before Python 3.12 it loses a cancellation that comes with the result.
        async with asyncio.timeout(deadline):
            return await asyncio.wrap_future(read)
    except TimeoutError:
        return unanswered(read, deadline)
    except Exception as error:  # noqa: BLE001  # whatever it is, the card's step takes it
        return error


def _report_cut(before: Card, after: Card) -> None:
    if before.cut == after.cut or after.cut is None:
        return
    fields: dict[str, object] = {"card": after.device.name, "family": after.device.arch}
    if after.cut.pending:
        _log.warning(Event.CARD_KEEPS_UNITS, **fields, units=after.cut.partitioning, reason=after.cut.pending)
    elif before.cut is not None:
        _log.info(Event.CARD_CUT, **fields, units=after.cut.partitioning)


def _report_identity(before: Fleet, after: Fleet, seen: Device) -> None:
    """Say that a number belongs to another card, or that a card has another number."""
    known, card = before.card(seen.key), after.card(seen.key)
    fields: dict[str, object] = {"card": seen.name, "family": seen.arch, "uuid": seen.uuid, "pci": seen.pci}
    if known is not None and is_another_card(known.device, seen):
        _log.warning(Event.ANOTHER_CARD, **fields, uuid_before=known.device.uuid)
    for moved in after.cards:
        earlier = before.card(moved.device.key)
        for index in sorted(moved.former - (earlier.former if earlier else frozenset())):
            fields = {"card": moved.device.name, "family": moved.device.arch, "uuid": moved.device.uuid}
            _log.warning(Event.ANOTHER_NUMBER, **fields, before=f"npu{index}")
    if card is not None and card.awaited and (known is None or known.awaited != card.awaited):
        _log.info(Event.FILES_AWAITED, card=seen.name, family=seen.arch, missing=",".join(card.awaited))


def _report_change(change: HealthChange) -> None:
    device, health = change.after.device, change.after.health
    fields: dict[str, object] = {"card": device.name, "family": device.arch}
    if change.before is None:
        identity = {"product": device.product, "uuid": device.uuid, "serial": device.serial, "pci": device.pci}
        _log.info(Event.CARD_FOUND, **fields, **{name: value for name, value in identity.items() if value})
    elif health.status is HealthStatus.UNKNOWN:
        return  # not looked at since another card has the number
    elif health.is_healthy:
        # A card that was just found is expected to be.
        log = _log.debug if change.before.health.status is HealthStatus.UNKNOWN else _log.info
        log(Event.CARD_HEALTHY, **fields)
    else:
        _log.warning(Event.CARD_UNHEALTHY, **fields, reason="; ".join(health.reasons))
