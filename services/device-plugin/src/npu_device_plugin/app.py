"""The plugin as a whole: what runs, and what each part tells the others."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress

from npu_core.allocations import Allocations
from npu_core.arch import Arch
from npu_core.config.reload import ReloadableSettings
from npu_core.host import Host
from npu_core.os_errors import explain
from npu_core.partition import Partitioning, UnitId
from npu_core.service.http.connection import FEW
from npu_core.service.http.server import serve
from npu_core.service.logs import EventLog
from npu_core.service.mounts import RemovedDirectories
from npu_core.service.settings import Address
from npu_core.service.status import Families, StatusPages
from npu_device_plugin.allocation.disabled import unknown_devices
from npu_device_plugin.allocation.resource_state import Offer, offers
from npu_device_plugin.cdi_files import CdiKeeper
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet.allocation_tracker import AllocationTracker
from npu_device_plugin.kubelet.registration import registration_of
from npu_device_plugin.kubelet.servicer import OfferServicer
from npu_device_plugin.kubelet.sockets import scratch_name
from npu_device_plugin.kubelet.supervisor import Supervisor
from npu_device_plugin.scanner import Scanner
from npu_device_plugin.service_status import ServiceStatus
from npu_device_plugin.settings import Settings

_log = EventLog(__name__)
POLL_INTERVAL = 1.0
"""Seconds between two looks at the known cards, the configuration file, and pending holders."""
_LISTEN_AGAIN = 10.0
"""Seconds between two attempts to get the endpoint's address."""
START_TIMEOUT = 30.0
"""Seconds that the first list waits for the kubelet's checkpoint to be readable. A list that lacks a held unit would
make some kubelets crash; a node without its NPUs for ever would be worse."""


class DevicePlugin:
    """Everything that runs while the plugin does."""

    def __init__(
        self, following: ReloadableSettings[Settings], telemetry: Counters, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """A plugin that has not looked at anything yet."""
        settings = following.settings
        self._following = following
        self._clock = clock
        self._telemetry = telemetry
        self._scanner = Scanner(Host(settings.sysfs, settings.devfs), clock, self._telemetry)
        self._tracker = AllocationTracker(settings.pod_resources_socket, settings.plugin_dir, clock, self._telemetry)
        self._allocations = Allocations()
        self._cdi = CdiKeeper(settings.cdi_dir, settings.device_injection)
        self._servicers: dict[Arch, OfferServicer] = {}
        self._supervisors: dict[Arch, Supervisor] = {}
        self._unknown: set[str] = set()
        self._refused: dict[Arch, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked_to_look = asyncio.Event()
        self._heartbeat = clock()
        self._looked = False
        self._waiting = False
        self._waiting_since: float | None = None
        self._has_waited = False
        self._was_streaming = False
        self._last_offered: tuple[object, tuple[Offer, ...]] | None = None
        self._told_nothing = False
        directories = [settings.plugin_dir, os.path.dirname(settings.pod_resources_socket)]  # noqa: PTH120  # no pathlib
        self._removed = RemovedDirectories([*directories, *([settings.cdi_dir] * settings.device_injection.cdi)])

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self._following.settings

    async def run(self, stopped: asyncio.Event) -> None:
        """Look, offer and stay registered until ``stopped`` is set; then stop clean.

        Raises:
            Exception: whatever ended one of the parts that never end: better a new process than half a plugin.
        """
        stop = asyncio.create_task(stopped.wait(), name="waiting for the end")
        self._start(self._work(), "looking at the cards")
        if self.settings.listen_address is not None:
            self._start(self._listen(self.settings.listen_address), "own endpoint")
        try:
            while not stop.done():
                # Asked here and not between two looks: a card that hangs would have us stay.
                ended, _ = await asyncio.wait(
                    {stop, *self._tasks}, timeout=POLL_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended - {stop}:
                    _log.error(Event.PART_ENDED, part=task.get_name())
                    task.result()
        finally:
            tasks = (stop, *self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def look_again(self) -> None:
        """Read the configuration file and list the cards at once, as after SIGHUP. A registration stays."""
        _log.info(Event.LOOKING_AGAIN)
        self._asked_to_look.set()

    def _start(self, work: Coroutine[None, None, None], name: str) -> None:
        self._tasks.add(asyncio.create_task(work, name=name))

    # -- the round ------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        enumerated = asked = -self.settings.interval
        while True:
            await self._following.follow()
            now = self._clock()
            if self._asked_to_look.is_set():
                self._asked_to_look.clear()
                enumerated = asked = now - self.settings.interval
            # A card whose device files are still being made is not kept waiting for a whole interval.
            if now - enumerated >= self.settings.interval or self._scanner.fleet.unsettled:
                enumerated = now
                await self._scanner.enumerate_cards()
            else:
                await self._scanner.look()
            seen = self._clock()
            never_answered = bool(self._tracker.resources) and self._tracker.sources.listed is None
            if self._new_families or self._waiting or never_answered or now - asked >= self.settings.interval:
                asked = now
                await self._tracker.ask()
            if self._clock() - seen > POLL_INTERVAL:
                # The kubelet let us wait: what was seen of the cards is old.
                await self._scanner.enumerate_cards()
            # From here to the list nothing is awaited: no unit can be given out between the decision and the list.
            self._removed.look()
            self._tracker.look(is_written=self._was_streaming)
            if self._knows_holders():
                self._name_new_families()
                self._publish()
                self._refresh_checkpoint()
            self._was_streaming = self._is_streaming
            self._heartbeat, self._looked = self._clock(), True
            self._say_once_if_there_is_nothing()
            await self._rest(min(POLL_INTERVAL, self.settings.interval))

    async def _rest(self, seconds: float) -> None:
        """Wait for so long, or until :meth:`look_again` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked_to_look.wait()

    def _knows_holders(self) -> bool:
        """Whether lists may be sent. The first waits for the kubelet checkpoint, :data:`START_TIMEOUT` at most."""
        if not self._has_waited and not self._tracker.sources.is_recorded:
            now = self._clock()
            if self._waiting_since is None:
                self._waiting_since = now
                _log.warning(Event.WAITING_FOR_CHECKPOINT, at_most_seconds=START_TIMEOUT)
            if now - self._waiting_since < START_TIMEOUT:
                return False
            _log.error(Event.HOLDERS_UNKNOWN, reason=self._tracker.checkpoint_complaint)
        self._waiting_since, self._has_waited = None, True
        return True

    @property
    def _is_streaming(self) -> bool:
        return any(servicer.streaming for servicer in self._servicers.values())

    def _refresh_checkpoint(self) -> None:
        """Have the kubelet write its checkpoint again where the file may name pods that ended."""
        if self._is_streaming and self._tracker.needs_refresh(something_waits=self._waiting):
            for servicer in self._servicers.values():
                servicer.resend()

    @property
    def _new_families(self) -> frozenset[Arch]:
        """The families of cards that have no resource yet."""
        return self._scanner.families - self._tracker.resources.keys()

    def _name_new_families(self) -> None:
        """Give a resource to each family that turned up. Names stay for the process's life.

        So not before it is known what containers hold: that tells which family had which name before.
        """
        if new := self._new_families:
            names, held = self._tracker.resources, self._tracker.sources.claims
            names |= self.settings.resource_names.of_families(new, held, taken=names.values())

    def _say_once_if_there_is_nothing(self) -> None:
        # One that was found and has not yet said what it is may still turn out to be one.
        asked = self._scanner.families and not self._scanner.rejected
        if not self._scanner.fleet.cards and not asked and not self._told_nothing:
            self._told_nothing = True
            _log.warning(Event.NO_CARD, sysfs=self.settings.sysfs, devfs=self.settings.devfs)

    # -- what is offered ------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        self._allocations = self._tracker.allocations(self._scanner.fleet.known_cards)
        self._scanner.settle(self.settings.default_pe, self._allocations)
        offered = self._offered()
        fleet = self._scanner.fleet
        self._waiting = bool(fleet.pending or fleet.lost) or any(offer.waits_for_holders for offer in offered)
        self._warn_of_unknown_devices()
        serving = any(supervisor.ready for supervisor in self._supervisors.values())
        self._cdi.follow(offered, self._preexisting(), serving=serving)
        for offer in offered:
            servicer = self._servicers.get(offer.arch)
            if servicer is None:
                self._begin(offer)
            elif servicer.publish(offer):
                _log.info(Event.OFFER_CHANGED, resource=servicer.resource, **_counts(offer))
        # A family whose last card was forgotten offers nothing; its resource stays, so that a card can come back.
        for arch in self._servicers.keys() - {offer.arch for offer in offered}:
            self._servicers[arch].publish(Offer(arch))

    def _offered(self) -> tuple[Offer, ...]:
        """What is offered now; worked out anew only if something it depends on is not what it was."""
        depends_on = (
            self._scanner.fleet,
            self.settings.default_pe,
            self.settings.disabled_here,
            self._allocations,
        )
        if self._last_offered is None or self._last_offered[0] != depends_on:
            self._last_offered = depends_on, offers(*depends_on)
        return self._last_offered[1]

    def _preexisting(self) -> frozenset[tuple[Arch, UnitId]] | None:
        """Every unit that is held and was not given out by this process just now; None if nobody can tell."""
        if not self._allocations.is_complete:
            return None
        held = {
            (arch, UnitId(index, cores))
            for (arch, index), ranges in self._allocations.units.items()
            for cores in ranges
        }
        return frozenset(held - self._tracker.sources.grants.keys())

    def _warn_of_unknown_devices(self) -> None:
        """Once each, for as long as it stays so."""
        settings, known = self.settings, self._scanner.fleet.numbered_cards
        unknown = unknown_devices(settings.disabled_devices, settings.node_name, known)
        for each in unknown:
            if each.name not in self._unknown:
                _log.warning(Event.UNKNOWN_DEVICE, entry=each.entry, device=each.name, expected=each.expected)
        self._unknown = {each.name for each in unknown}

    def _begin(self, offer: Offer) -> None:
        settings = self.settings
        registration = registration_of(settings, offer.arch, self._tracker.resources)
        if registration.objection:
            self._refuse(offer.arch, registration.objection)
            return
        resource = registration.resource
        self._warn(offer, resource, settings.default_pe)
        servicer = OfferServicer(resource, offer, self._telemetry, settings.device_injection, self._tracker.granted)
        supervisor = Supervisor(registration, servicer, scratch_name(), self._telemetry)
        self._servicers[offer.arch], self._supervisors[offer.arch] = servicer, supervisor
        _log.info(Event.OFFERING, resource=resource, family=offer.arch, **_counts(offer))
        self._start(supervisor.run(), f"supervisor of {resource}")

    def _refuse(self, arch: Arch, reason: str) -> None:
        if arch not in self._refused:
            self._refused[arch] = reason
            _log.error(Event.SECOND_FAMILY_REFUSED, family=arch, reason=reason)

    def _warn(self, offer: Offer, resource: str, wish: Partitioning) -> None:
        if resource != self.settings.resource_names.name(offer.arch, first=True):
            _log.warning(Event.SECOND_FAMILY, family=offer.arch, resource=resource)
        if any(not wish.fits(offered.unit.device.spec) for offered in offer.units):
            _log.warning(Event.WISH_DOES_NOT_FIT, family=offer.arch)

    # -- for whoever asks -----------------------------------------------------------------------------------------

    def _load_families(self) -> Families:
        from npu_device_plugin.metrics import families  # noqa: PLC0415  # see StatusPages

        return lambda: families(self._condition(), self._telemetry, time.time())

    async def _listen(self, address: Address) -> None:
        """Answer at the address, now or as soon as it can be had: no reason to leave the node without NPUs."""
        pages = StatusPages(
            lambda: self._condition().why_not_alive, lambda: self._condition().why_not_ready, self._load_families
        )
        logged_reason = ""
        while True:
            try:
                server = await serve(pages, [(address.host, address.port)], self._telemetry.traffic, FEW)
            except OSError as error:
                reason = explain(error, str(address), setting="--listen-address")
                if reason != logged_reason:
                    logged_reason = reason
                    _log.error(Event.CANNOT_LISTEN, address=address, reason=logged_reason)
                await asyncio.sleep(_LISTEN_AGAIN)
                continue
            _log.info(Event.LISTENING, address=address)
            try:
                await asyncio.Event().wait()
            finally:
                server.stop_listening()

    def _condition(self) -> ServiceStatus:
        return ServiceStatus(
            heartbeat_age=self._clock() - self._heartbeat,
            resources=tuple(
                (servicer.resource, servicer.offer, self._supervisors[arch].ready)
                for arch, servicer in self._servicers.items()
            ),
            fleet=self._scanner.fleet,
            stuck=self._scanner.stuck,
            unasked=self._scanner.unasked,
            looked=self._looked,
            removed=self._removed.found,
            unmapped=self._allocations.unmapped,
            refused=tuple(self._refused.items()),
            waiting_for=f"the kubelet checkpoint: {self._tracker.checkpoint_complaint}"
            if self._waiting_since is not None
            else "",
        )


def _counts(offer: Offer) -> dict[str, object]:
    healthy = sum(offered.healthy for offered in offer.units)
    return {"units": len(offer.units), "healthy": healthy}
