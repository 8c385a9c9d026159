"""The plugin as a whole: a scanner, and for each family of cards a servicer with its supervisor."""

import asyncio
import os
import time
from collections.abc import Callable

from npu_core.arch import Arch
from npu_core.host import Host
from npu_core.service.logs import EventLog
from npu_device_plugin.inventory import Offer, offers
from npu_device_plugin.registration import Registration
from npu_device_plugin.scanner import Scanner
from npu_device_plugin.servicer import OfferServicer
from npu_device_plugin.settings import Settings
from npu_device_plugin.supervisor import Supervisor

_log = EventLog(__name__)
PULSE = 1.0
"""Seconds between two looks at the health of the known cards."""


class DevicePlugin:
    """Everything that runs while the plugin does."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """A plugin that has not looked at anything yet."""
        self._settings = settings
        self._clock = clock
        self._scanner = Scanner(Host(settings.sysfs, settings.devfs), clock)
        self._servicers: dict[Arch, OfferServicer] = {}
        self._supervisors: set[asyncio.Task[None]] = set()

    async def run(self, stopped: asyncio.Event) -> None:
        """Look, offer and stay registered until ``stopped`` is set; then stop clean."""
        work = asyncio.create_task(self._work(), name="looking at the cards")
        stop = asyncio.create_task(stopped.wait(), name="waiting for the end")
        try:
            # Asked here and not between two looks: a card that hangs would have us stay.
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            tasks = (work, stop, *self._supervisors)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        enumerated = -self._settings.interval
        waited_for_cards = False
        while True:
            due = self._clock() - enumerated >= self._settings.interval
            if due:
                enumerated = self._clock()
                await self._scanner.enumerate_cards()
            else:
                await self._scanner.look()
            self._publish()
            if not self._scanner.fleet.cards and not waited_for_cards:
                waited_for_cards = True
                _log.warning("no NPU found, waiting for one", sysfs=self._settings.sysfs, devfs=self._settings.devfs)
            await asyncio.sleep(min(PULSE, self._settings.interval))

    def _publish(self) -> None:
        for offer in offers(self._scanner.fleet, self._settings.default_pe, self._settings.disabled_here):
            servicer = self._servicers.get(offer.arch)
            if servicer is None:
                self._begin(offer)
            elif servicer.publish(offer):
                _log.info("offer changed", resource=servicer.resource, **_counts(offer))

    def _begin(self, offer: Offer) -> None:
        first = not self._servicers
        resource = self._settings.resource_names.name(offer.arch, first=first)
        self._warn(offer, resource, first=first)
        servicer = self._servicers[offer.arch] = OfferServicer(resource, offer)
        endpoint = self._settings.socket_name if first else f"{self._settings.socket_name}-{offer.arch}"
        registration = Registration(self._settings.plugin_dir, endpoint, resource)
        supervisor = Supervisor(registration, servicer, f".{os.getpid():x}-{len(self._servicers)}")
        _log.info("offering", resource=resource, family=offer.arch, **_counts(offer))
        task = asyncio.create_task(supervisor.run(), name=f"supervisor of {resource}")
        self._supervisors.add(task)

    def _warn(self, offer: Offer, resource: str, *, first: bool) -> None:
        if not first:
            _log.warning(
                "the node has a second family of cards, offered under a name of its own",
                family=offer.arch,
                resource=resource,
            )
        if any(not self._settings.default_pe.fits(offered.unit.device.spec) for offered in offer.units):
            _log.warning("defaultPe does not fit the family, offering whole cards", family=offer.arch)


def _counts(offer: Offer) -> dict[str, object]:
    healthy = sum(offered.healthy for offered in offer.units)
    return {"units": len(offer.units), "healthy": healthy}
