"""The node: cards that are at work, a stand-in kubelet, and the three real services, each a process of its own."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from npu_core.partition import FUSION, UnitId
from npu_core.testing import CardPlan, FakeCard, Simulation
from testkit.services.attribute_files import Breakage, mgmt_file, sensor_file
from testkit.services.configured import free_port
from testkit.services.discovery import FILE_NAME, DiscoveryProcess
from testkit.services.exporter import ExporterProcess, Scrape, fetch
from testkit.services.process import STOPPED, ServiceProcess
from testkit.standins.kubelet import Event, Generation
from testkit.standins.nfd import Worker
from tools.faults.watch import key_of
from tools.faults.world import RESOURCE, BrokenError, Setup, World
from tools.soak import truth
from tools.soak.messages import Told
from tools.soak.truth import CardTruth

PLUGIN, DISCOVERY, EXPORTER = "device-plugin", "feature-discovery", "metrics-exporter"
SERVICES = (PLUGIN, DISCOVERY, EXPORTER)
INTERVAL = 0.5
"""Seconds between two looks of the plugin and of the exporter, which are ten by default: all happens sooner."""
LABEL_INTERVAL = 1.0
"""Seconds between two looks of the discovery, which are sixty by default."""
GRACE = 12.0
"""Seconds for which the exporter tells of a card that is gone."""
STEP = 0.5
"""Seconds between two moves of the simulated cards."""
UP = 20.0
"""Seconds for a service to be ready, on a busy machine."""
_FRESH = 6.0
"""Seconds by which the exporter's uptime may be behind: a collection, one that a card held up, and a busy machine."""
_REMEMBERED = 5000


class Site:
    """Used as ``async with Site(cards, seed) as site:``; all three services are ready then.

    Attributes:
        world: cards, kubelet and plugin, and all that may happen to them.
        problems: what was wrong so far, in words, each once.
        counts: how often what happened that nobody else counts.
        told: what the kubelet was told, all in all.
        quiet: whether everything is healed, and has been so for a moment.
        down: the services that do not run at the moment because somebody ended them.
    """

    def __init__(
        self, cards: tuple[CardPlan, ...], seed: int, tell: Callable[[str], None] = lambda _problem: None
    ) -> None:
        """A node on which nothing runs yet; ``tell`` is called with everything that is wrong, as soon as it is."""
        self.ports = {service: free_port() for service in SERVICES}
        setup = Setup(
            cards,
            Generation.B,
            FUSION,
            restart_at_end=False,
            thorough=False,
            interval=INTERVAL,
            listen=f"127.0.0.1:{self.ports[PLUGIN]}",
            remembered=_REMEMBERED,
        )
        self.world = World(setup, self._on_event)
        self.home = Path(tempfile.mkdtemp(prefix="s-"))
        self.features_d = self.home / "features.d"
        self.features_d.mkdir(mode=0o755)
        self.problems: dict[str, None] = {}
        self.counts: Counter[str] = Counter()
        self.told = Told()
        self._tell = tell
        self.quiet = False
        self.down: set[str] = set()
        self._nfd = Worker(self.features_d, "v0.11", extra_label_ns=["beta.furiosa.ai"])
        self._simulation = Simulation(self.world.host, seed)
        self._overrides: dict[tuple[int, str], Breakage] = {}
        self._gone: dict[int, float] = {}
        self._processes: dict[str, ServiceProcess] = {}
        self._ended: list[ServiceProcess] = []
        self._read: Counter[int] = Counter()
        self._healthy_labels: dict[str, str] = {}
        self._written: tuple[int, bytes] | None = None
        self._moving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.world.__aenter__()
        self._moving = asyncio.create_task(self._move())
        await self.start(DISCOVERY)
        await self.start(EXPORTER)
        await self.until_ready()
        self._healthy_labels = self.labels()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.gather(self._moving, return_exceptions=True)
        for process in self._processes.values():
            if process.running:
                await process.stop(signal.SIGKILL)
        await self.world.__aexit__(kind, error, trace)
        shutil.rmtree(self.home)

    # -- the services ---------------------------------------------------------------------------------------------

    def process(self, service: str) -> ServiceProcess:
        """The process of a service."""
        return self.world.plugin if service == PLUGIN else self._processes[service]

    def pid(self, service: str) -> int:
        """The id of that process."""
        return self.process(service).pid

    async def start(self, service: str) -> None:
        """Start the discovery or the exporter."""
        listen = ("--listen-address", f"127.0.0.1:{self.ports[service]}")
        if service == DISCOVERY:
            looks = ("--interval", f"{LABEL_INTERVAL:g}", "--start-jitter", "0")
            process: ServiceProcess = DiscoveryProcess(self.world.host, self.features_d, (*listen, *looks))
        else:
            often = ("--interval", f"{INTERVAL:g}", "--pod-interval", f"{INTERVAL:g}", "--pod-ttl", "4")
            kubelet = ("--pod-resources-socket", str(self.world.home / "r" / "kubelet.sock"))
            options = (*often, "--grace", f"{GRACE:g}", *kubelet)
            process = ExporterProcess(self.world.host, self.ports[EXPORTER], options)
        self._processes[service] = process
        await process.start()

    async def restart(self, service: str, *, kill: bool) -> None:
        """End a service, at once or in order, and start another process of it."""
        self.down.add(service)
        self.counts[f"restarts of the {service}"] += 1
        if service == PLUGIN:
            await self.world.restart_plugin(kill=kill)
        else:
            await (self._processes[service].stop(signal.SIGKILL) if kill else self.end(service))
            self._ended.append(self._processes[service])
            await self.start(service)
        await self._until_answered(service, "/healthz")
        self.down.discard(service)

    async def end(self, service: str) -> float:
        """Ask a service to end, which it has to do well and in time; returns how many seconds it took."""
        self.down.add(service)
        process, asked = self.process(service), time.monotonic()
        try:
            status = await process.stop()
        except TimeoutError:
            self.report(f"the {service} did not end")
            return time.monotonic() - asked
        took = time.monotonic() - asked
        if status != 0 or took > STOPPED:
            self.report(f"on SIGTERM the {service} ended with status {status} after {took:.1f} s")
        return took

    async def until_ready(self) -> None:
        """Wait until every service says that it does its job."""
        for service in SERVICES:
            await self._until_answered(service, "/readyz")

    async def _until_answered(self, service: str, page: str) -> None:
        begun = time.monotonic()
        while await self.status(service, page) != 200:
            if time.monotonic() - begun > UP or not self.process(service).running:
                self.report(f"the {service} does not answer {page} well, {UP:.0f} s after its start")
                return
            await asyncio.sleep(0.1)

    async def status(self, service: str, page: str) -> int:
        """The status of a page; 0 if nobody answers."""
        try:
            return (await asyncio.to_thread(fetch, self.ports[service], page, {})).status
        except OSError:
            return 0

    async def scrape(self) -> Scrape:
        """What the exporter says.

        Raises:
            OSError: if it does not answer.
        """
        reply = await asyncio.to_thread(fetch, self.ports[EXPORTER], "/metrics", {})
        return Scrape.parse(reply.text)

    # -- what is true ---------------------------------------------------------------------------------------------

    def labels(self) -> dict[str, str]:
        """The labels that arrive at the node."""
        return self._nfd.discover().labels

    def truths(self) -> tuple[CardTruth, ...]:
        """Every card as it is."""
        return tuple(map(self._truth, self.world.host.cards))

    def _truth(self, card: FakeCard) -> CardTruth:
        index = card.plan.index
        if not card.present:
            return CardTruth(index, gone=time.monotonic() - self._gone.get(index, time.monotonic()))
        spoiled = key_of(card) in self.world.spoiled or any(key == index for key, _ in self._overrides)
        return CardTruth(index, None, None if spoiled else self._alive(card), spoiled, self._uptime(card))

    def _alive(self, card: FakeCard) -> bool:
        name, alive = life(card)
        return self._text(card, name) == alive

    def _uptime(self, card: FakeCard) -> int | None:
        text = self._text(card, "heartbeat")
        return int(text) if text.isdecimal() else None

    def _text(self, card: FakeCard, name: str) -> str:
        """What an attribute says; nothing if it hangs, or cannot be read for another reason."""
        path = mgmt_file(self.world.host, card, name)
        return path.read_text().strip() if path.is_file() and not path.is_symlink() else ""

    # -- what happens to it ---------------------------------------------------------------------------------------

    def override(self, card: FakeCard, sensor: str, breakage: Breakage) -> None:
        """Let a file of the sensors be something else, until everything is healed."""
        self._overrides[card.plan.index, sensor] = breakage

    @property
    def feature_file(self) -> Path:
        """The feature file."""
        return self.features_d / FILE_NAME

    async def _move(self) -> None:
        while True:
            self._simulation.step(STEP)
            self._override()
            self._note()
            await asyncio.sleep(STEP)

    def _override(self) -> None:
        for card in self.world.host.cards:
            for (index, name), breakage in self._overrides.items():
                if index == card.plan.index and card.present:
                    breakage(sensor_file(self.world.host, card, name))

    def _note(self) -> None:
        """See what only somebody sees who looks all the time."""
        for card in self.world.host.cards:
            index = card.plan.index
            if card.present == (index in self._gone):
                self.counts["cards gone or back"] += 1
            if card.present:
                self._gone.pop(index, None)
            else:
                self._gone.setdefault(index, time.monotonic())
        # Not the file's time, which is set again without a writing.
        found = self.feature_file.stat() if self.feature_file.is_file() else None
        written = (found.st_ino, self.feature_file.read_bytes()) if found else None
        if written != self._written:
            self._written = written
            self.counts["feature files seen"] += 1
            if self.quiet:
                self.report("the feature file was written although nothing happened")

    def _on_event(self, event: Event) -> None:
        if event.resource in {"", RESOURCE}:
            before = self.told.needless
            self.told = self.told.after(event)
            if self.told.needless > before:
                self.report(f"the kubelet was told nothing new at {event.at:.3f}")
        if self.quiet and event.kind.value.startswith("register"):
            self.report(f"the plugin registered although nothing happened: {event}")

    # -- what has to hold -----------------------------------------------------------------------------------------

    def report(self, problem: str) -> None:
        """Note something that is wrong."""
        if problem not in self.problems:
            self.problems[problem] = None
            self._tell(problem)

    def check(self) -> None:
        """What holds at every moment."""
        for service in SERVICES:
            process = self.process(service)
            if not process.running and service not in self.down:
                self.report(f"the {service} has ended by itself")
        for process in (*self.world.plugins, *self._processes.values(), *self._ended):
            new = process.log[self._read[id(process)] :]
            self._read[id(process)] += len(new)
            for line in new:
                if "Traceback" in line:
                    self.report(f"{process.pid} logged a traceback")
        self.take_broken()

    def take_broken(self) -> None:
        """Take over what the world found."""
        for each in self.world.broken:
            self.report(each)
        self.world.broken.clear()

    async def heal(self) -> None:
        """Undo every fault, and wait until the plugin has everything as it should be."""
        self._overrides.clear()
        self.world.write_config(replace(self.world.wish, disabled=()))
        try:
            await self.world.recover()
        except BrokenError as error:
            self.report(str(error))
        self.take_broken()
        self.world.forget_pods()

    async def differences(self, *, healed: bool) -> list[str]:
        """How what the services say differs from what is true now."""
        try:
            scrape = await self.scrape()
        except OSError as error:
            return [f"the exporter cannot be scraped: {error!r}"]
        unready = [f"{each} is not ready" for each in SERVICES if healed and await self.status(each, "/readyz") != 200]
        return [*self._differences(scrape, healed=healed), *unready]

    def _differences(self, scrape: Scrape, *, healed: bool) -> Iterator[str]:
        cards, view, world = self.truths(), self.world.kubelet.view(), self.world
        yield from truth.alive_problems(scrape, cards, GRACE)
        yield from truth.freshness_problems(scrape, cards, _FRESH)
        yield from truth.label_problems(self.labels(), self._healthy_labels, cards)
        if healed:
            yield from truth.holder_problems(scrape, truth.held(view.pods.values()))
        if world.kubelet_up and not (world.frozen or world.slow):
            yield from truth.offer_problems(map(UnitId.parse, view.healthy(RESOURCE)), cards)

    def look_for_ghosts(self, scrape: Scrape) -> None:
        """Report values of cards that are gone."""
        for problem in truth.ghost_problems(scrape, self.truths(), GRACE):
            self.report(problem)


def life(card: FakeCard) -> tuple[str, str]:
    """The attribute that says whether the card is alive, and what it says if it is."""
    return card._life_attribute()
