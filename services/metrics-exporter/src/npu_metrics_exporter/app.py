"""The exporter as a whole: what runs, and what each part tells the others."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass

from npu_core.config.reload import ReloadableSettings
from npu_core.host import Host
from npu_core.os_errors import explain
from npu_core.service.http.connection import Limits
from npu_core.service.http.server import Server, serve
from npu_core.service.logs import EventLog
from npu_core.service.mounts import RemovedDirectories
from npu_metrics_exporter import __version__
from npu_metrics_exporter.collector import Collector
from npu_metrics_exporter.counters import Counters
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.metrics.podmap import PodMap
from npu_metrics_exporter.metrics.policy import PodLabels
from npu_metrics_exporter.metrics.render import Renderer
from npu_metrics_exporter.metrics.self_metrics import Moment, PodResourcesStats, own_families
from npu_metrics_exporter.metrics.series import Budget, families
from npu_metrics_exporter.pod_watch import Kubelet, PodTimes, PodWatch
from npu_metrics_exporter.service_status import ServiceStatus
from npu_metrics_exporter.settings import Settings
from npu_metrics_exporter.web import landing
from npu_metrics_exporter.web.application import Web
from npu_metrics_exporter.web.landing_rows import cards_of
from npu_metrics_exporter.web.latest_exposition import LatestExposition
from npu_metrics_exporter.web.reload import WebConfigReloader

_log = EventLog(__name__)
POLL_INTERVAL = 1.0
"""Seconds between two looks at the configuration file."""
COUNTER_LEAD = 1.0
"""Seconds before a collection at which counters that are full after two are looked at."""
_SOON = 0.1
"""Seconds between two looks whether the kubelet has answered for the first time."""
_LISTEN_AGAIN = 10.0
"""Seconds between two attempts to get the addresses."""
_CLOSING = 0.5
"""Seconds that answers under way have at the end."""


@dataclass(slots=True)
class _Pods:
    """Asking the kubelet, while it is asked."""

    watch: PodWatch
    task: "asyncio.Task[None]"
    told: bool = False

    @property
    def has_news(self) -> bool:
        """Whether a source has said who holds what and nothing of it was published yet."""
        return not self.told and self.watch.has_answer


class Exporter:
    """Everything that runs while the exporter does."""

    def __init__(
        self,
        following: ReloadableSettings[Settings],
        keeper: WebConfigReloader,
        telemetry: Counters,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """An exporter that has not looked at anything yet.

        Args:
            following: the settings.
            keeper: the web configuration.
            telemetry: where things are counted.
            clock: seconds that do not go back.
            wall: seconds since the epoch.
        """
        settings = following.settings
        self._following = following
        self._keeper = keeper
        self._telemetry = telemetry
        self._clock = clock
        self._wall = wall
        self._collector = Collector(
            Host(settings.sysfs, settings.devfs, limits=settings.all_limits), telemetry, clock, wall
        )
        self._pods: _Pods | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: Server | None = None
        self._asked_to_look = asyncio.Event()
        self._heartbeat = clock()
        self._told_of_none = False
        socket_dir = os.path.dirname(settings.pod_resources_socket)  # noqa: PTH120  # pathlib is not otherwise loaded
        asked = [socket_dir, settings.plugin_dir, settings.pod_logs_dir]
        self._removed = RemovedDirectories([] if settings.pod_labels is PodLabels.OFF else asked)
        self.publication = LatestExposition(telemetry, self._condition)

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self._following.settings

    def _condition(self) -> ServiceStatus:
        age = self._clock() - self._heartbeat
        published = self.publication.exposition() is not None
        return ServiceStatus(age, self.settings.interval, published=published, removed=self._removed.found)

    async def run(self, stopped: asyncio.Event) -> None:
        """Collect and serve until ``stopped`` is set; then stop clean.

        Raises:
            Exception: whatever ended one of the parts that never end: better a new process than half an exporter.
        """
        stop = asyncio.create_task(stopped.wait(), name="waiting for the end")
        self._start(self._listen(), "serving")
        self._start(self._work(), "collecting")
        try:
            ended, _ = await asyncio.wait({stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in ended - {stop}:
                _log.error(Event.PART_ENDED, part=task.get_name())
                task.result()
        finally:
            await self._end(stop)

    def look_again(self) -> None:
        """Read the configuration files and the cards at once, as after SIGHUP. Connections stay."""
        _log.info(Event.LOOKING_AGAIN)
        self._asked_to_look.set()

    def _start(self, work: Coroutine[None, None, None], name: str) -> None:
        self._tasks.add(asyncio.create_task(work, name=name))

    async def _end(self, stop: "asyncio.Task[bool]") -> None:
        self._stop_asking()
        for task in (stop, *self._tasks):
            task.cancel()
        await asyncio.gather(stop, *self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.close(_CLOSING)

    async def _listen(self) -> None:
        web = Web(self.publication, self._keeper)
        limits = Limits(answers=self.settings.max_in_flight)
        addresses = [(address.host, address.port) for address in self.settings.listen_address]
        complaint = ""
        while self._server is None:
            try:
                self._server = await serve(web, addresses, self._telemetry.traffic, limits, self._keeper.tls)
            except OSError as error:
                reason = explain(error, _joined(self.settings), setting="--listen-address")
                if reason != complaint:
                    complaint = reason
                    _log.error(Event.CANNOT_LISTEN, address=_joined(self.settings), reason=reason)
                await asyncio.sleep(_LISTEN_AGAIN)
        _log.info(Event.LISTENING, address=_joined(self.settings))
        await asyncio.Event().wait()

    # -- the round ------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            begun = self._clock()
            if self._asked_to_look.is_set():
                self._asked_to_look.clear()
                self._following.look()
                self._keeper.current()
            self._removed.look()
            self._tend_pods()
            await self._collector.collect(self.settings.max_age, self.settings.grace)
            self._heartbeat, self._telemetry.heartbeat = self._clock(), self._wall()
            await self._publish()
            self._say_once_if_there_is_nothing()
            await self._rest(begun)

    async def _rest(self, begun: float) -> None:
        """Until the next collection. Meanwhile the file is followed, and counters are looked at a moment before."""
        looked = not self._collector.wants_counters
        while (left := begun + self.settings.interval - self._clock()) > 0:
            lead = min(COUNTER_LEAD, self.settings.interval / 2)
            if not looked and left <= lead:
                looked = True
                await self._collector.look_at_counters()
                continue
            await self._sleep(self._nap(left if looked else left - lead))
            if self._asked_to_look.is_set():
                return
            if await self._following.follow():
                self._tend_pods()
                await self._publish()
            elif self._pods is not None and self._pods.has_news:
                await self._publish()

    async def _sleep(self, seconds: float) -> None:
        """Wait for so long, or until :meth:`look_again` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked_to_look.wait()

    def _nap(self, left: float) -> float:
        if self._pods is not None and not self._pods.told and not self._pods.watch.counts.errors:
            return min(left, _SOON)
        return min(left, POLL_INTERVAL) if self.settings.config_file else left

    def _say_once_if_there_is_nothing(self) -> None:
        if not self._collector.snapshot.most and self._telemetry.listing_up and not self._told_of_none:
            self._told_of_none = True
            _log.warning(Event.NO_CARD, sysfs=self.settings.sysfs, devfs=self.settings.devfs)

    # -- what is published ----------------------------------------------------------------------------------------

    async def _publish(self) -> None:
        """Render what is known now and put it in the place of what was published before."""
        snapshot, pods, policy = self._collector.snapshot, self._pod_map(), self.settings.policy
        renderer, budget = Renderer(), Budget(policy.max_series)
        for family in families(snapshot, pods, policy, budget):
            renderer.add(family)
            await asyncio.sleep(0)  # scrapes go on meanwhile
        self._telemetry.dropped += budget.dropped
        for own in own_families(self._moment(), policy.static_labels):
            renderer.add(own)
            await asyncio.sleep(0)
        now = self._wall()
        page = landing.page(
            landing.Page(
                cards=cards_of(snapshot, pods),
                node=policy.node,
                version=__version__,
                collected=self._telemetry.heartbeat,
                interval=self.settings.interval,
            )
        )
        self.publication.publish(renderer.finish(page=page, rendered_at=now))

    def _moment(self) -> Moment:
        counts = self._pods.watch.counts if self._pods else None
        questions = (
            PodResourcesStats(counts.up, counts.errors, counts.conflicts, counts.unnamed, counts.unmapped)
            if counts
            else None
        )
        last, refused = self.publication.exposition(), bool(self._keeper.error)
        return Moment(self._collector.snapshot, self._telemetry, questions, last, web_reload_failed=refused)

    # -- who holds what -------------------------------------------------------------------------------------------

    def _pod_map(self) -> PodMap:
        if self._pods is None:
            return PodMap()
        self._pods.told = self._pods.watch.has_answer
        return self._pods.watch.map(self._collector.snapshot.known_cards)

    def _tend_pods(self) -> None:
        """Ask the kubelet exactly while the settings want it."""
        settings = self.settings
        if settings.pod_labels is PodLabels.OFF:
            self._stop_asking()
            return
        if self._pods is None or self._pods.task.done():
            watch = PodWatch(Kubelet.of(settings), PodTimes(), self._clock)
            self._pods = _Pods(watch, asyncio.create_task(watch.run(), name="asking the kubelet"))
        self._pods.watch.times.interval = settings.pod_interval
        self._pods.watch.times.ttl = settings.pod_ttl

    def _stop_asking(self) -> None:
        if self._pods is not None:
            self._pods.task.cancel()
            self._pods = None


def _joined(settings: Settings) -> str:
    return ",".join(map(str, settings.listen_address))
