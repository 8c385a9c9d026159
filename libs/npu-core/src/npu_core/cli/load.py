"""How busy the PEs are: ``npuctl top``."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise

from npu_core.arch import Arch, ArchSpec
from npu_core.cli.host_scan import CardScan, HostScan, HostScanner, attempt
from npu_core.cores import CoreRange
from npu_core.counters import PeCounters, Utilization
from npu_core.device import Device
from npu_core.errors import HostError, Reason, Unreadable
from npu_core.host import Host
from npu_core.sensors import Readings

_LONGEST_SLICE = 1.0
"""Seconds between two looks at the registers: the 32-bit ones wrap after two at full clock."""

Counters = Mapping[CoreRange, PeCounters | HostError]
"""The registers of every core range of a card that has a device file, or why they could not be read."""


class Status(StrEnum):
    """What became of a measurement."""

    MEASURED = "measured"
    NOT_IN_USE = "not in use"
    """The driver gives no registers while nobody uses the cores."""
    NOT_OFFERED = "not offered"
    """This driver has no such registers."""
    CANNOT_TELL = "cannot tell"
    """The counters stood still, were reset, or may have wrapped more than once between two looks."""
    UNREADABLE = "unreadable"


_BY_REASON = {Reason.ACCESS: Status.NOT_IN_USE, Reason.MISSING: Status.NOT_OFFERED}


@dataclass(frozen=True, slots=True)
class Listing:
    """One look at a card at work."""

    counters: Counters
    readings: Readings


@dataclass(frozen=True, slots=True)
class PeLoad:
    """The work of one core range in a span of time.

    Attributes:
        cores: a single PE, or a fused range where only its registers tell.
        status: whether there is a figure, and if not, why.
        busy: share of the time in which a task ran, 0..1; None if not measured.
        computing: share of that task time in which the tensor unit computed, 0..1; None if not measured, or the driver
            does not say.
    """

    cores: CoreRange
    status: Status
    busy: float | None = None
    computing: float | None = None


@dataclass(frozen=True, slots=True)
class CardLoad:
    """The work of a card in a span of time, and its sensors at the end of it."""

    loads: tuple[PeLoad, ...]
    sight: Listing


def measure(
    surveyor: HostScanner, interval: float, wait: Callable[[float], None], clock: Callable[[], float] = time.monotonic
) -> HostScan[CardLoad]:
    """Look at the host's cards over ``interval`` seconds.

    Args:
        surveyor: looks at the cards.
        interval: seconds.
        wait: waits so many seconds.
        clock: seconds that do not go back.

    Raises:
        HostError: if the cards cannot be listed.
    """
    slices = math.ceil(interval / _LONGEST_SLICE)
    looks = [_first_look(surveyor, interval / slices, clock)]
    for _ in range(slices if looks[0].cards else 0):
        wait(interval / slices)
        looks.append(_look(surveyor))
    return _joined(looks)


def _first_look(surveyor: HostScanner, limit: float, clock: Callable[[], float]) -> HostScan[Listing]:
    began = clock()
    found = _look(surveyor)
    # Some card hangs, and what the others said while it was waited for is too old to measure from. Nobody waits for it
    # a second time.
    return _look(surveyor) if clock() - began > limit else found


def _look(surveyor: HostScanner) -> HostScan[Listing]:
    return surveyor.look(partial(_read, surveyor.host), lambda _error: Listing({}, Readings()))


def _read(host: Host, device: Device) -> Listing:
    counters = {cores: attempt(partial(host.pe_counters, device, cores)) for cores in device.spec.core_files}
    return Listing(counters, host.readings(device))


def _joined(looks: Sequence[HostScan[Listing]]) -> HostScan[CardLoad]:
    """The last look's cards, each with what all looks at it saw."""
    sights: dict[tuple[Arch, int], list[Listing]] = {}
    for survey in looks:
        for sighting in survey.cards:
            sights.setdefault(sighting.device.key, []).append(sighting.seen)
    cards = (CardScan(each.device, card_load(each.device.spec, sights[each.device.key])) for each in looks[-1].cards)
    return HostScan(tuple(cards), looks[-1].rejected)


def card_load(spec: ArchSpec, sights: Sequence[Listing]) -> CardLoad:
    """The work of a card between the first and the last of at least two looks, made at equal distances.

    A PE whose own registers tell nothing is shown by the narrowest fused range around it whose registers do.
    """
    loads = {cores: _range_load(cores, [sight.counters.get(cores) for sight in sights]) for cores in spec.core_files}
    chosen = (_load_of(pe, loads.values()) for pe in spec.cores)
    return CardLoad(tuple(dict.fromkeys(chosen)), sights[-1])


def _load_of(pe: int, loads: Iterable[PeLoad]) -> PeLoad:
    candidates = sorted((load for load in loads if pe in load.cores), key=lambda load: len(load.cores))
    return next((load for load in candidates if load.status is Status.MEASURED), candidates[0])


def _range_load(cores: CoreRange, looks: Sequence[PeCounters | HostError | None]) -> PeLoad:
    parts = [part for earlier, later in pairwise(looks) if (part := _between(earlier, later))]
    if not parts:
        return PeLoad(cores, _why_not(looks[-1]))
    return PeLoad(cores, Status.MEASURED, sum(part.busy for part in parts) / len(parts), _computing(parts))


def _computing(parts: Sequence[Utilization]) -> float | None:
    """A share of the busy time, so each part counts by how busy it was."""
    shares = [(part.busy, part.computing) for part in parts if part.computing is not None]
    if not shares:
        return None
    busy = sum(busy for busy, _ in shares)
    return sum(busy * computing for busy, computing in shares) / busy if busy else 0.0


def _between(earlier: PeCounters | HostError | None, later: PeCounters | HostError | None) -> Utilization | None:
    if not (isinstance(earlier, PeCounters) and isinstance(later, PeCounters)):
        return None
    # Between looks that a hung card or a stopped process drew apart, the smaller counters may have wrapped unseen.
    wrapped = later.cycles - earlier.cycles >= 1 << later.bits
    return None if wrapped else Utilization.between(earlier, later)


def _why_not(look: PeCounters | HostError | None) -> Status:
    if isinstance(look, HostError):
        return _BY_REASON.get(look.reason, Status.UNREADABLE)
    return Status.UNREADABLE if look is None else Status.CANNOT_TELL


def unreadable(sighting: CardScan[CardLoad]) -> Iterator[Unreadable]:
    """What could not be read of a card; that the driver has no registers to show is no failure."""
    yield from sighting.device.unreadable
    sight = sighting.seen.sight
    for load in sighting.seen.loads:
        error = sight.counters.get(load.cores)
        if load.status is Status.UNREADABLE and isinstance(error, HostError):
            yield Unreadable.of(sighting.device.name, f"pe{load.cores} perf_regs", error)
    yield from sight.readings.unreadable
