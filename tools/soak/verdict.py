"""Whether the services kept their size: decided from samples alone. Pure.

A series is sound if it was seen for all of the time and did not grow: by its robust slope not more than a step that
allocators take and a little for every hour, and at no moment far beyond what it began with.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from testkit.footprint import Footprint
from tools.soak.trend import HOUR, Point, Spread

FEWEST = 8
"""Samples without which nothing can be said of a series."""
_SEEN = 0.8
"""Share of the samples that were to be taken, of which there must be as many."""
_GAP = 0.15
"""Share of the judged time for which at most nobody may have looked."""


_WINDOW = 4.5
"""Seconds over which a rate is taken, at least: processor time comes in hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment.

    Attributes:
        at: monotonic seconds since the soak began.
        pid: its process id.
        quiet: whether everything was healed, and had been for a moment.
        cost: what it cost.
    """

    at: float
    pid: int
    quiet: bool
    cost: Footprint


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a series may grow.

    Attributes:
        drift: by its slope over the judged time, however long that was.
        per_hour: the same for every hour of it, in addition.
        share: the same as a share of its median, in addition.
        beyond: how far any value may lie above the first ones; None for as far as it likes.
    """

    drift: float
    per_hour: float = 0.0
    share: float = 0.0
    beyond: float | None = None

    def allowed(self, spread: Spread, seconds: float) -> float:
        """The drift that is allowed in this time."""
        return self.drift + self.per_hour * seconds / HOUR + self.share * spread.middle


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that is measured of a process.

    Attributes:
        name: for people.
        unit: likewise.
        points: its series.
        bound: None for what is only told.
        quiet_only: whether only what it is in quiet times is judged: threads wait for cards that hang.
    """

    name: str
    unit: str
    points: Callable[[Sequence[Sample]], tuple[Point, ...]]
    bound: Bound | None = None
    quiet_only: bool = False


def _level(of: Callable[[Footprint], float]) -> Callable[[Sequence[Sample]], tuple[Point, ...]]:
    return lambda samples: tuple(Point(sample.at, of(sample.cost)) for sample in samples)


def _apart(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Those of the samples between which something can be counted."""
    kept: list[Sample] = []
    for sample in samples:
        if not kept or sample.at - kept[-1].at >= _WINDOW:
            kept.append(sample)
    return tuple(kept)


def _rate(of: Callable[[Footprint], float], scale: float = 1.0) -> Callable[[Sequence[Sample]], tuple[Point, ...]]:
    """What is counted, by second; where a count went back, as it does when threads end, nothing is known."""

    def points(samples: Sequence[Sample]) -> tuple[Point, ...]:
        pairs = pairwise(_apart(samples))
        steps = ((late, of(late.cost) - of(early.cost), late.at - early.at) for early, late in pairs)
        return tuple(Point(late.at, scale * grown / seconds) for late, grown, seconds in steps if grown >= 0)

    return points


MEMORY = Bound(drift=1024.0, per_hour=1024.0, beyond=6144.0)
"""KiB. Allocators take steps, and a hundred scrapes at once are held in memory while they last."""

_THREADS = 16
"""When a sweep over the cards is held up, each of them gets a thread, which some keep from then on."""

QUANTITIES = (
    Quantity("RSS", "KiB", _level(lambda cost: cost.rss), MEMORY),
    Quantity("private", "KiB", _level(lambda cost: cost.private)),
    Quantity("private dirty", "KiB", _level(lambda cost: cost.dirty), MEMORY),
    Quantity("PSS", "KiB", _level(lambda cost: cost.pss)),
    Quantity("open files", "", _level(lambda cost: cost.files), Bound(drift=1.5, beyond=12), quiet_only=True),
    Quantity("threads", "", _level(lambda cost: cost.threads), Bound(drift=5, beyond=_THREADS), quiet_only=True),
    Quantity("CPU", "%", _rate(lambda cost: cost.cpu, 100.0), Bound(drift=1.0, share=0.5)),
    Quantity("wake-ups", "/s", _rate(lambda cost: cost.wakeups), Bound(drift=3.0, share=0.3)),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one quantity of one service.

    Attributes:
        service: the service.
        quantity: the quantity.
        unit: its unit.
        spread: None if there is too little of it.
        problem: why it is not sound; empty if it is, or is only told.
        allowed: the growth by hour that would just have been sound; None if it is only told.
    """

    service: str
    quantity: str
    unit: str
    spread: Spread | None
    problem: str = ""
    allowed: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Of which samples a judgement is made.

    Attributes:
        begin: seconds since the soak began; before, everything has to happen once.
        end: likewise; afterwards processes are restarted.
        every: seconds between two samples.
    """

    begin: float
    end: float
    every: float

    @property
    def seconds(self) -> float:
        """How long that is."""
        return self.end - self.begin


def findings(service: str, samples: Sequence[Sample], judged: Judged) -> tuple[Finding, ...]:
    """What became of every quantity of a service."""
    within = [sample for sample in samples if judged.begin <= sample.at <= judged.end]
    gaps = "; ".join(_gaps(within, judged))
    return tuple(_finding(service, quantity, within, judged, gaps) for quantity in QUANTITIES)


def _gaps(samples: Sequence[Sample], judged: Judged) -> Iterator[str]:
    """Why these samples say too little, whatever they say."""
    wanted = max(FEWEST, _SEEN * judged.seconds / judged.every)
    if len(samples) < wanted:
        yield f"{len(samples)} samples where {wanted:.0f} would be the least"
    if pids := sorted({sample.pid for sample in samples})[1:]:
        yield f"it is not one process all the time: {len(pids)} others"
    times = [judged.begin, *(sample.at for sample in samples), judged.end]
    longest = max(late - early for early, late in pairwise(times))
    if longest > max(_GAP * judged.seconds, 2 * judged.every):
        yield f"nobody looked for {longest:.0f} s"


def _finding(service: str, quantity: Quantity, samples: Sequence[Sample], judged: Judged, gaps: str) -> Finding:
    used = [sample for sample in samples if sample.quiet] if quantity.quiet_only else samples
    points = quantity.points(used)
    if len(points) < FEWEST:
        few = f"{len(points)} readings are too few to tell" if quantity.bound else ""
        return Finding(service, quantity.name, quantity.unit, Spread.of(points) if points else None, few)
    spread = Spread.of(points)
    if quantity.bound is None:
        return Finding(service, quantity.name, quantity.unit, spread)
    problem = "; ".join(filter(None, (gaps, *growth(spread, quantity.bound, judged.seconds))))
    allowed = quantity.bound.allowed(spread, judged.seconds) * HOUR / judged.seconds
    return Finding(service, quantity.name, quantity.unit, spread, problem, allowed)


def growth(spread: Spread, bound: Bound, seconds: float) -> Iterator[str]:
    """Why a series has grown too much, as judged over so many seconds; nothing if it has not."""
    allowed = bound.allowed(spread, seconds)
    if spread.drift > allowed:
        yield f"grew by {spread.drift:.1f}, {spread.per_hour:.1f} an hour; {allowed:.1f} would be allowed"
    if bound.beyond is not None and spread.most - spread.first > bound.beyond:
        yield f"rose from {spread.first:.1f} to {spread.most:.1f}, more than {bound.beyond:g} above"


# -- what was sent and written, by what happened ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something was done, and how often it may have been for what happened.

    Attributes:
        what: in words.
        count: how often it was done.
        most: how often at most.
        because: where that comes from, in words.
    """

    what: str
    count: int
    most: int
    because: str

    @property
    def problem(self) -> str:
        """Why it is not sound; empty if it is."""
        return f"{self.what}: {self.count}, at most {self.most} by {self.because}" if self.count > self.most else ""


def reasons(found: Iterable[Finding], tallies: Iterable[Tally], broken: Iterable[str]) -> tuple[str, ...]:
    """Everything for which a soak is not sound; nothing if it is."""
    return (
        *broken,
        *(f"{each.service}, {each.quantity}: {each.problem}" for each in found if each.problem),
        *(tally.problem for tally in tallies if tally.problem),
    )
