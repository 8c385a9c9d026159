"""Looking at the services at regular times: what they cost, and how often they did what they do."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from testkit.footprint import footprint
from testkit.standins.kubelet import EventKind
from tools.soak.site import SERVICES, Site
from tools.soak.verdict import Sample, Tally

_SAMPLES = 360
"""As many as a long soak has, about."""
_SHORTEST, _LONGEST = 0.5, 10.0
_WRITES = "feature files seen"
_MEDDLED = "times that somebody meddled with the feature file"


def pace(seconds: float) -> float:
    """Seconds between two samples of a soak that long."""
    return min(max(seconds / _SAMPLES, _SHORTEST), _LONGEST)


@dataclass(slots=True)
class Watch:
    """Takes samples.

    Attributes:
        site: whose.
        begun: when the soak began, in monotonic seconds.
        every: seconds between two samples.
        samples: those of every service, in order.
        counts: what had been counted when, in order.
    """

    site: Site
    begun: float
    every: float
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {service: [] for service in SERVICES})
    counts: list[tuple[float, dict[str, int]]] = field(default_factory=list)

    @property
    def now(self) -> float:
        """Seconds since the soak began."""
        return time.monotonic() - self.begun

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            self.look()
            self.site.check()
            await asyncio.sleep(self.every - self.now % self.every)

    def look(self) -> None:
        """Take one sample of everything. A service that does not run has none."""
        for service in SERVICES:
            if service not in self.site.down and self.site.process(service).running:
                pid = self.site.pid(service)
                self.samples[service].append(Sample(self.now, pid, self.site.quiet, footprint(pid)))
        self.counts.append((self.now, dict(counted(self.site))))


def counted(site: Site) -> Counter[str]:
    """How often everything has happened so far."""
    view = site.world.kubelet.view()
    counts = Counter({f"kubelet: {name}": number for name, number in _events(site).items()})
    counts["kubelet: checkpoint writes"] = view.checkpoint_writes
    counts["kubelet: list messages with nothing new"] = site.told.needless
    return counts + site.counts


def _events(site: Site) -> Counter[str]:
    """The kubelet's events by kind, whatever resource they are of."""
    found: Counter[str] = Counter()
    for (kind, _), number in site.world.kubelet.view().counts.items():
        found[kind.value.replace("_", " ")] += number
    return found


def tallies(site: Site) -> tuple[Tally, ...]:
    """What was sent and written so far, by what happened so far."""
    view = site.world.kubelet.view()
    counts = {kind: sum(number for (each, _), number in view.counts.items() if each is kind) for kind in EventKind}
    lost = sum(
        counts[kind]
        for kind in (EventKind.STARTED, EventKind.STREAM_ENDED, EventKind.REGISTER_FAILED, EventKind.DIAL_FAILED)
    )
    pods = 2 * (counts[EventKind.ALLOCATE] + counts[EventKind.POD_ADMITTED] + counts[EventKind.POD_FAILED])
    changes = 1 + 2 * site.counts["cards gone or back"] + 2 * site.counts["rounds"] + 2 * site.counts[_MEDDLED]
    return (
        Tally("list messages with nothing new", site.told.needless, 0, "nothing"),
        Tally(
            "registrations",
            counts[EventKind.REGISTER_REQUEST],
            1 + 2 * lost,
            f"{lost} starts of the kubelet, streams that ended and refusals",
        ),
        Tally(
            "checkpoint writes",
            view.checkpoint_writes,
            counts[EventKind.LIST_MESSAGE] + pods + counts[EventKind.RESOURCE_REMOVED],
            f"{counts[EventKind.LIST_MESSAGE]} list messages and {counts[EventKind.POD_ADMITTED]} pods",
        ),
        Tally(
            "feature files",
            site.counts[_WRITES],
            changes,
            "cards that went or came back, rounds of faults and meddling",
        ),
    )
