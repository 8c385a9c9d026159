"""The soak itself: rounds of faults, each healed and followed by quiet; then the end."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from npu_core.arch import Arch
from npu_core.testing import CardPlan, rngd, warboy
from tools.soak.draw import Drawn, draw_round
from tools.soak.scrapers import EVERYBODY
from tools.soak.site import SERVICES, Site, life
from tools.soak.verdict import Finding, Judged, Sample, Tally, findings, reasons
from tools.soak.watch import Watch, counted, pace, tallies

SETTLES = 15.0
"""Seconds after which every service says what is so while faults stand, or while nothing is asked of it."""
HEALS = 25.0
"""Seconds from the last fault's end until every service says what is so: the exporter waits ten for a kubelet."""
QUIET = 4.0
"""Seconds of quiet after each round."""
RESTARTS = 0.15
"""Share of the time, at its end, in which services are restarted too. Before, each is one process with one series."""
_WARM = 0.35
"""Share of the time before that in which everything has to happen once; ten minutes are always enough."""
_WARM_MOST = 600.0
_BETWEEN_LOOKS = 0.5
_STUCK = 3.0
"""Seconds until a card that hangs has got hold of a thread of every service."""


CARDS = {Arch.WARBOY: tuple(map(warboy, range(4))), Arch.RENEGADE: tuple(map(rngd, range(2)))}
"""The cards of a soak, by family: eight PEs, or sixteen."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A soak before it begins."""

    seconds: float
    seed: int
    cards: tuple[CardPlan, ...] = CARDS[Arch.WARBOY]

    @property
    def restarts_from(self) -> float:
        """Seconds after which services are restarted too."""
        return self.seconds * (1 - RESTARTS)

    @property
    def judged(self) -> Judged:
        """Which part of the samples tells how the services grow."""
        return Judged(min(self.restarts_from * _WARM, _WARM_MOST), self.restarts_from, pace(self.seconds))


@dataclass(frozen=True, slots=True)
class Round:
    """What happened in one round.

    Attributes:
        at: when it began, in seconds since the soak did.
        acts: what was done.
        settled: seconds until every service said what was so while the faults stood.
        healed: seconds from the end of the faults until everything was as before.
        problems: what was wrong in it.
    """

    at: float
    acts: tuple[str, ...]
    settled: float
    healed: float
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a soak."""

    plan: Plan
    seconds: float
    samples: dict[str, list[Sample]]
    counts: list[tuple[float, dict[str, int]]]
    rounds: tuple[Round, ...]
    found: tuple[Finding, ...]
    tallies: tuple[Tally, ...]
    ends: dict[str, float]
    """Seconds from SIGTERM to the end of each service."""
    broken: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not sound; nothing if it is."""
        return reasons(self.found, self.tallies, self.broken)


async def soak(plan: Plan, tell: Callable[[str], None] = lambda _problem: None) -> Outcome:
    """Let everything happen for as long as planned; ``tell`` is called with everything that is wrong, when it is."""
    async with Site(plan.cards, plan.seed, tell) as site:
        return await _Soak(plan, site).run()


@dataclass(slots=True)
class _Soak:
    plan: Plan
    site: Site
    rounds: list[Round] = field(default_factory=list)
    tallied: tuple[Tally, ...] = ()

    async def run(self) -> Outcome:
        watch = Watch(self.site, time.monotonic(), self.plan.judged.every)
        async with AsyncExitStack() as stack:
            for work in (watch.run(), *(everybody(self.site) for everybody in EVERYBODY)):
                stack.push_async_callback(_cancelled, asyncio.create_task(self._guarded(work)))
            await self._all_rounds(watch)
            # While they are asked, as they are in a cluster.
            ends = await self._end()
        self.site.check()
        seconds = watch.now
        found = [each for service in SERVICES for each in findings(service, watch.samples[service], self.plan.judged)]
        watch.counts.append((seconds, dict(counted(self.site))))
        return Outcome(
            self.plan,
            seconds,
            watch.samples,
            watch.counts,
            tuple(self.rounds),
            tuple(found),
            self.tallied,
            ends,
            tuple(self.site.problems),
        )

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        """Do a part of the soak. If it fails, that is something to know of, and no reason for the rest to end."""
        try:
            await work
        except Exception as error:  # noqa: BLE001  # whatever it is, the soak is not what it claims to be
            self.site.report(f"a part of the soak itself has failed: {error!r}")

    async def _all_rounds(self, watch: Watch) -> None:
        rng = random.Random(self.plan.seed)  # noqa: S311  # reproducible on purpose
        while watch.now < self.plan.seconds and not self._over:
            restarts = watch.now >= self.plan.restarts_from
            if restarts and not self.tallied:
                self.tallied = tallies(self.site)
            await self._round(watch, draw_round(rng, self.plan.cards, restarts=restarts))
        self.tallied = self.tallied or tallies(self.site)

    @property
    def _over(self) -> bool:
        """Whether there is nothing left to soak."""
        return any("by itself" in problem for problem in self.site.problems)

    async def _round(self, watch: Watch, drawn: Drawn) -> None:
        site, at, before = self.site, watch.now, len(self.site.problems)
        site.counts["rounds"] += 1
        site.counts["acts"] += len(drawn.acts)
        site.quiet = False
        for paced in drawn.acts:
            await self._guarded(paced.act.apply(site))
            await asyncio.sleep(paced.pause)
            site.check()
        settled = await self._until_true(SETTLES, healed=False)
        if drawn.stands:
            await asyncio.sleep(drawn.stands)
            settled = max(settled, await self._until_true(SETTLES, healed=False))
        begun = time.monotonic()
        await site.heal()
        await self._until_true(HEALS, healed=True)
        healed = time.monotonic() - begun
        await self._rest()
        self.rounds.append(Round(at, tuple(map(str, drawn.acts)), settled, healed, tuple(site.problems)[before:]))

    async def _until_true(self, within: float, *, healed: bool) -> float:
        """Wait until every service says what is so; returns how many seconds that took."""
        begun = time.monotonic()
        while problems := await self.site.differences(healed=healed):
            took = time.monotonic() - begun
            if took > within:
                for problem in problems:
                    self.site.report(
                        f"{took:.0f} s after {'everything was healed' if healed else 'a fault'}: {problem}"
                    )
                return took
            await asyncio.sleep(_BETWEEN_LOOKS)
        return time.monotonic() - begun

    async def _rest(self) -> None:
        """Let nothing happen, and see that nothing does."""
        # What is under way, such as the file of labels that was just written, is none of what must not happen.
        await asyncio.sleep(1.0)
        self.site.quiet = True
        await asyncio.sleep(QUIET)
        self.site.check()

    async def _end(self) -> dict[str, float]:
        """End every service while a card hangs; returns how many seconds each took."""
        site = self.site
        site.quiet = False
        card = site.world.card(0)
        site.world.spoil(card, life(card)[0], None)
        await asyncio.sleep(_STUCK)
        ends = {service: await site.end(service) for service in SERVICES if site.process(service).running}
        site.world.repair(card)
        return ends


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
