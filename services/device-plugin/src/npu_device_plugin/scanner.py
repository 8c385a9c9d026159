"""Looking at the cards: every read on a thread that may be lost, every result a step of the fleet."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import TypeVar

from npu_core.arch import Arch
from npu_core.device import Device, FoundCard, Rejected
from npu_core.errors import HostError, ReadFailedError, StuckError, Unreadable
from npu_core.health import HealthStatus, Vitals, judge
from npu_core.host import Host
from npu_core.partition import Partitioning
from npu_core.service.device_threads import DeviceThreads
from npu_core.service.logs import EventLog
from npu_device_plugin.cutting import Ledger
from npu_device_plugin.inventory import Card, CardKey, Fleet, HealthChange, health_changes
from npu_device_plugin.telemetry import Telemetry

T = TypeVar("T")

_log = EventLog(__name__)
READ_DEADLINE = 2.0
"""Seconds that one look at one card may take before the card counts as stuck."""
ROUND_PATIENCE = 0.5
"""Seconds that a round over all cards waits for each of them. One that answers later counts when it does: it must not
keep what is known of the others from being told."""
_LISTING = "listing"


class Scanner:
    """Keeps the fleet up to date.

    Attributes:
        fleet: every card seen so far, as it was last seen.
    """

    def __init__(self, host: Host, clock: Callable[[], float], telemetry: Telemetry | None = None) -> None:
        """A scanner of ``host`` that knows no card yet; ``clock`` gives seconds that do not go back."""
        self.fleet = Fleet()
        self._telemetry = telemetry or Telemetry()
        self._host = host
        self._clock = clock
        self._threads = DeviceThreads(clock)
        self._rejected: dict[CardKey, Rejected] = {}
        self._unfinished: set[asyncio.Task[None]] = set()
        self._passed_over: set[CardKey] = set()
        self._managed: frozenset[CardKey] = frozenset()
        self._faults: set[str] = set()
        self._complaint = ""

    async def enumerate_cards(self) -> None:
        """List the cards and read what each is, then look at the health of all that are known.

        If the host cannot be listed, the fleet stays as it is: "cannot tell" takes no card away.
        """
        try:
            found = await self._read(_LISTING, self._host.find)
        except HostError as error:
            self._complain(str(error))
        else:
            self._complain("")
            keys = {card.key for card in found}
            self._managed = frozenset(card.key for card in found if card.managed)
            self._rejected = {key: card for key, card in self._rejected.items() if key in keys}
            await self._round(self._identify(card) for card in found)
        await self.look()

    async def look(self) -> None:
        """Look at the health of every known card."""
        await self._round(self._look_at(card) for card in self.fleet.cards)

    async def _round(self, steps: Iterable[Coroutine[None, None, None]]) -> None:
        """Take one step for each card, and finish those of earlier rounds that were late."""
        tasks = {asyncio.create_task(step) for step in steps}
        if tasks:
            await asyncio.wait(tasks, timeout=ROUND_PATIENCE)
        self._unfinished |= tasks
        finished = {task for task in self._unfinished if task.done()}
        self._unfinished -= finished
        for task in finished:
            task.result()

    async def _identify(self, card: FoundCard) -> None:
        try:
            identified = await self._read(card.key, lambda: self._host.identify(card))
        except StuckError as error:
            self._take_unidentified(card, error)
            return
        except Exception as error:  # noqa: BLE001  # one strange card must not cost the others
            self._report_fault(card.key, error)
            return
        if isinstance(identified, Rejected):
            self._reject(card.key, identified)
        else:
            self._rejected.pop(card.key, None)
            self._move_to(self.fleet.with_devices([identified]))
        # Where every round begins with a slow identification, there would never be a look.
        if card.key in self._passed_over and (known := self.fleet.card(card.key)):
            await self._look_at(known)

    def _take_unidentified(self, card: FoundCard, error: StuckError) -> None:
        """A card that hangs from the start is listed all the same, for what it was found by, and is unhealthy."""
        if card.managed and self.fleet.card(card.key) is None:
            unread = Unreadable.of(card.name, "identity", error)
            bare = Device(card.index, card.arch, files=card.files, unreadable=(unread,))
            self._move_to(self.fleet.with_devices([bare]))

    async def _look_at(self, card: Card) -> None:
        key = card.device.key
        busy = self._threads.busy(key)
        if busy is not None and busy < READ_DEADLINE:
            self._passed_over.add(key)
            return  # with a read of ours that still has time: that tells nothing of the card
        self._passed_over.discard(key)
        vitals = await self._vitals(card.device)
        self._move_to(self.fleet.with_look(key, judge(vitals), self._clock(), present=vitals.present))

    async def _vitals(self, device: Device) -> Vitals:
        try:
            return await self._read(device.key, lambda: self._host.vitals(device))
        except StuckError as error:
            return Vitals(present=True, alive=error)
        except Exception as error:  # noqa: BLE001  # one strange card must not cost the others
            self._report_fault(device.key, error)
            return Vitals(present=True, alive=ReadFailedError(f"a look at it failed: {error!r}"))

    def _report_fault(self, key: CardKey, error: Exception) -> None:
        told = f"{key} {error!r}"
        if told not in self._faults:
            self._faults.add(told)
            _log.exception("a look at a card failed", error, card=f"npu{key[1]}", family=key[0])

    async def _read(self, key: Hashable, work: Callable[[], T]) -> T:
        future = asyncio.wrap_future(self._threads.start(key, work))
        try:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes with the result.
            async with asyncio.timeout(READ_DEADLINE):
                return await future
        except TimeoutError:
            raise StuckError(f"no answer within {READ_DEADLINE:g} s") from None

    def settle(self, wish: Partitioning, ledger: Ledger) -> None:
        """Cut the cards as far as their holders allow, and forget the lost ones that nobody holds."""
        fleet = self.fleet.without_lost(ledger, self._clock())
        for key in {card.device.key for card in self.fleet.cards} - {card.device.key for card in fleet.cards}:
            self._threads.forget(key)
            _log.info("lost card forgotten", card=f"npu{key[1]}", family=key[0])
        cut = fleet.with_cuts(wish, ledger)
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
        ours = (arch for arch, index in self._managed if (arch, index) not in self._rejected)
        return frozenset(ours) | frozenset(self.fleet.families)

    @property
    def stuck(self) -> int:
        """How many cards a read has not come back from."""
        return len(self._threads.stuck(READ_DEADLINE) - {_LISTING})

    def _move_to(self, fleet: Fleet) -> None:
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
            _log.warning("card not offered", card=card.name, family=card.arch, reason=card.reason)
        self._rejected[key] = card
        self._move_to(self.fleet.with_rejection(key, card.reason))

    def _complain(self, complaint: str) -> None:
        if complaint and complaint != self._complaint:
            _log.error("cannot list the cards", reason=complaint)
        elif self._complaint and not complaint:
            _log.info("cards can be listed again")
        self._complaint = complaint


def _report_cut(before: Card, after: Card) -> None:
    if before.cut == after.cut or after.cut is None:
        return
    fields: dict[str, object] = {"card": after.device.name, "family": after.device.arch}
    if after.cut.pending:
        _log.warning("card keeps its units for now", **fields, units=after.cut.partitioning, reason=after.cut.pending)
    elif before.cut is not None:
        _log.info("card is cut anew", **fields, units=after.cut.partitioning)


def _report_change(change: HealthChange) -> None:
    device, health = change.after.device, change.after.health
    fields: dict[str, object] = {"card": device.name, "family": device.arch}
    if change.before is None:
        identity = {"product": device.product, "uuid": device.uuid, "serial": device.serial, "pci": device.pci}
        _log.info("card found", **fields, **{name: value for name, value in identity.items() if value})
    elif health.is_healthy:
        # A card that was just found is expected to be.
        log = _log.debug if change.before.health.status is HealthStatus.UNKNOWN else _log.info
        log("card is healthy", **fields)
    else:
        _log.warning("card is unhealthy", **fields, reason="; ".join(health.reasons))
