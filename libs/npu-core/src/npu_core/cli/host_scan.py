"""One look at every card of a host. No card is left out because of what it does not say, or because it hangs."""

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from npu_core.device import Device, FoundCard, Rejected
from npu_core.errors import ExhaustedError, HostError, StuckError, Unreadable
from npu_core.host import Host
from npu_core.identity import counting_order, doubles
from npu_core.service.device_threads import DeviceThreads

T = TypeVar("T")

DEADLINE = 5.0
"""Seconds that all cards together are given to answer. A read of a hung card would otherwise last for ever."""

_LISTING = "the list of cards"

CARD = "card"
"""Subject of the note that a card as a whole did not answer."""


@dataclass(frozen=True, slots=True)
class CardScan(Generic[T]):
    """A card and what was read of it."""

    device: Device
    seen: T


@dataclass(frozen=True, slots=True)
class HostScan(Generic[T]):
    """What one look at a host saw.

    Attributes:
        cards: by family, then index; one that hangs is among them, without attributes.
        rejected: what looked like a card and is none.
        without_files: cards that are not shown, because they have no device files here.
    """

    cards: tuple[CardScan[T], ...]
    rejected: tuple[Rejected, ...]
    without_files: tuple[CardScan[T], ...] = ()

    def here(self) -> "HostScan[T]":
        """The same survey without the cards that have no device file here.

        A container sees the whole /sys of its host, and device files only of the cards that it was given.
        """
        with_files = tuple(card for card in self.cards if card.device.files)
        without_files = tuple(card for card in self.cards if not card.device.files)
        return replace(self, cards=with_files, without_files=without_files)


class HostScanner:
    """Looks at the cards of one host, each on a thread that may be lost. Keep one for repeated looks."""

    def __init__(
        self,
        host: Host,
        deadline: float = DEADLINE,
        wait: Callable[["Collection[Future[Any]]", float], object] = futures.wait,
    ) -> None:
        """Will look at ``host``.

        Args:
            host: the host.
            deadline: seconds that all cards together are given to answer, at every look.
            wait: waits until all these answers are there, but not longer than so many seconds.
        """
        self.host = host
        self._deadline = deadline
        self._wait = wait
        self._threads = DeviceThreads()

    def look(self, read: Callable[[Device], T], unanswered: Callable[[HostError], T]) -> HostScan[T]:
        """Identify every card and ``read`` it.

        ``unanswered`` is what is seen of a card that hangs, or could not be asked. ``read`` must give failures as
        values.

        Raises:
            HostError: if the cards cannot be listed.
        """
        started = [(card, self._start(card, read)) for card in self._find()]
        self._wait([answer for _, answer in started if isinstance(answer, Future)], self._deadline)
        found = [self._finish(card, answer, unanswered) for card, answer in started]
        return HostScan(
            tuple(each for each in found if isinstance(each, CardScan)),
            tuple(each for each in found if isinstance(each, Rejected)),
        )

    def _find(self) -> tuple[FoundCard, ...]:
        try:
            return tuple(self._threads.start(_LISTING, self.host.find).result(self._deadline))
        except TimeoutError:
            raise StuckError(f"the cards could not be listed within {self._deadline:g} s") from None

    def _start(self, card: FoundCard, read: Callable[[Device], T]) -> "Future[CardScan[T] | Rejected] | HostError":
        try:
            return self._threads.start(card.key, lambda: self._see(card, read))
        except HostError as error:
            return error

    def _see(self, card: FoundCard, read: Callable[[Device], T]) -> CardScan[T] | Rejected:
        found = self.host.identify(card)
        return found if isinstance(found, Rejected) else CardScan(found, read(found))

    def _finish(
        self,
        card: FoundCard,
        answer: "Future[CardScan[T] | Rejected] | HostError",
        unanswered: Callable[[HostError], T],
    ) -> CardScan[T] | Rejected:
        if isinstance(answer, Future) and answer.done():
            return answer.result()
        late = StuckError(f"the card did not answer within {self._deadline:g} s")
        error = answer if isinstance(answer, ExhaustedError) else late
        unreadable = (*card.unreadable, Unreadable.of(card.name, CARD, error))
        device = Device(card.index, card.arch, files=card.files, unreadable=unreadable)
        return CardScan(device, unanswered(error))


def attempt(read: Callable[[], T]) -> T | HostError:
    """What ``read`` gives, or why it cannot."""
    try:
        return read()
    except HostError as error:
        return error


def nothing_here(survey: HostScan[T]) -> str:
    """The sentence for the case that no card is shown because no card has device files here; empty in other cases."""
    number = len(survey.without_files)
    if survey.cards or not number:
        return ""
    return f"There are no device files here for {'the NPU' if number == 1 else f'the {number} NPUs'} of this host."


def notes(survey: HostScan[T], unreadable: Callable[[CardScan[T]], Iterable[Unreadable]]) -> Iterator[str]:
    """A line for the operator for everything that was not as it should be.

    ``unreadable`` gives what could not be read of a card.
    """
    for sighting in survey.cards:
        for item in unreadable(sighting):
            yield f"{sighting.device.arch} {item}"
    yield from _unusable([sighting.device for sighting in survey.cards])
    if survey.without_files:
        names = ", ".join(f"{card.device.arch} {card.device.name}" for card in survey.without_files)
        yield f"cards without device files here are not shown: {names}; --all shows them"
    for rejected in survey.rejected:
        yield f"{rejected.arch} {rejected.name} is left out: {rejected.reason}"


def _unusable(devices: list[Device]) -> Iterator[str]:
    """The cards that the device plugin does not give out, whatever they say of themselves."""
    twins = doubles(sorted(devices, key=counting_order))
    for device in devices:
        if device.key in twins:
            yield f"{device.arch} {device.name} is the same hardware as {twins[device.key].name}"
        if not device.has_core_file:
            yield f"{device.arch} {device.name} cannot be used here: none of its core device files exists"


def identify(surveyor: HostScanner) -> HostScan[None]:
    """The cards, of which no more is read than what they are."""
    return surveyor.look(lambda _device: None, lambda _error: None)


def unidentified(sighting: CardScan[None]) -> Iterable[Unreadable]:
    """What could not be read of a card that was only identified."""
    return sighting.device.unreadable
