"""One kubelet process: all that is gone when it ends, and what it does at its start."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from standins.kubelet import directory
from standins.kubelet.admission import Desk
from standins.kubelet.checkpoint import Checkpoint, CheckpointFile
from standins.kubelet.device_manager import Capacity, DeviceManager
from standins.kubelet.errors import CheckpointError
from standins.kubelet.holdings import Holdings
from standins.kubelet.journal import Event, EventKind, Journal
from standins.kubelet.plugin_client import Cut, Dialer
from standins.kubelet.plugins import DevicePlugins, Faults
from standins.kubelet.podresources import PodResources, PodResourcesBehaviour, PodResourcesMode, Report
from standins.kubelet.pods import Pod
from standins.kubelet.report import report
from standins.kubelet.servers import Registration, UnixServer
from standins.kubelet.settings import Generation, KubeletSettings
from standins.kubelet.view import ResourceView
from standins.kubelet.wire import Switchboard
from standins.kubelet.workers import PodWorkers


@dataclass(slots=True)
class Machine:
    """What outlives the kubelet's process: files, pods, the node's status, and the tester's wishes."""

    settings: KubeletSettings
    journal: Journal
    switchboard: Switchboard
    checkpoint: CheckpointFile
    rng: random.Random
    faults: Faults = field(default_factory=Faults)
    pod_resources: PodResourcesBehaviour = field(default_factory=PodResourcesBehaviour)
    pods: dict[str, Pod] = field(default_factory=dict)
    status: dict[str, Capacity] = field(default_factory=dict)

    def active_pods(self) -> list[Pod]:
        """Pods that are not over."""
        return [pod for pod in self.pods.values() if not pod.phase.terminal]

    def read_checkpoint(self) -> Checkpoint:
        """The checkpoint; a damaged one is only logged."""
        try:
            return self.checkpoint.read()
        except CheckpointError as error:
            self.journal.record(Event(EventKind.CHECKPOINT_UNREADABLE, text=str(error)))
            return Checkpoint()


class KubeletProcess:
    """A process that has read the checkpoint and not done anything yet."""

    def __init__(self, machine: Machine) -> None:
        checkpoint = machine.read_checkpoint()
        settings = machine.settings
        self._machine = machine
        self.manager = DeviceManager(keyed_by_socket=settings.generation is Generation.C, grace=settings.stop_grace)
        self.manager.restore(checkpoint.registered, settings.clock())
        self.holdings = Holdings(checkpoint.holdings)
        self.holdings.release_all_but([pod.uid for pod in machine.active_pods()])
        self.plugins = DevicePlugins(
            settings=settings,
            manager=self.manager,
            dialer=Dialer(settings, machine.switchboard),
            journal=machine.journal,
            faults=machine.faults,
            on_message=self._save,
        )
        desk = Desk(settings, self.manager, self.holdings, self.plugins, machine.journal, machine.rng, self._save)
        self.workers = PodWorkers(desk)
        self._registration = UnixServer(
            settings.plugin_dir / directory.KUBELET_SOCKET, Registration(self.plugins.register).add_to
        )
        self._pod_resources = self._pod_resources_server()

    def _pod_resources_server(self) -> UnixServer | None:
        place = self._machine.settings.pod_resources_dir
        service = PodResources(self._report, lambda: self._machine.pod_resources)
        return UnixServer(place / directory.KUBELET_SOCKET, service.add_to) if place else None

    async def start(self) -> None:
        """Clean the directory, then serve."""
        machine, settings = self._machine, self._machine.settings
        removed = directory.prepare(settings.plugin_dir, settings.wipes)
        machine.journal.record(Event(EventKind.WIPED, ids=removed))
        await self.apply_pod_resources()
        await asyncio.sleep(settings.listen_delay)
        await self._registration.start()
        machine.journal.record(Event(EventKind.STARTED, text=settings.generation.value))
        for pod in machine.pods.values():
            self.workers.resume(pod)

    async def stop(self, how: Cut, *, leave_socket: bool) -> None:
        """End the process."""
        # Ending a task that waits for a call cancels the call, which the plugin would be told of.
        self.plugins.sever(how)
        await self.workers.shut()
        await self.plugins.shut(how)
        await self._registration.stop(leave_socket=leave_socket)
        if self._pod_resources:
            await self._pod_resources.stop(leave_socket=leave_socket)

    async def apply_pod_resources(self) -> None:
        """Serve PodResources, or stop to, as the machine's wishes are now."""
        if self._pod_resources is None:
            return
        if self._machine.pod_resources.mode is PodResourcesMode.ABSENT:
            await self._pod_resources.stop()
        elif not self._pod_resources.running:
            await self._pod_resources.start(make_directory=True)

    def refresh_status(self) -> None:
        """Bring the node's status up to date; reading it is what ends a resource's grace."""
        machine = self._machine
        gone = self.manager.expire(machine.settings.clock())
        if gone:
            self._save()
        machine.status = {**dict.fromkeys(machine.status, Capacity()), **self.manager.capacities()}
        for resource in gone:
            machine.status[resource] = Capacity()
            machine.journal.record(Event(EventKind.RESOURCE_REMOVED, resource))

    def view(self, resource: str) -> ResourceView:
        """One resource now."""
        listing = self.manager.listings.get(resource)
        held = [one.held.ids for one in self.holdings if one.resource == resource]
        return ResourceView(
            status=self._machine.status[resource],
            healthy=listing.healthy if listing else frozenset(),
            unhealthy=listing.unhealthy if listing else frozenset(),
            in_use=self.holdings.in_use(resource),
            held=frozenset().union(*held),
            streams=self.plugins.connected(resource),
        )

    def _report(self) -> Report:
        machine = self._machine
        terminal_pods = machine.pod_resources.terminal_pods
        return report(machine.pods.values(), self.holdings, self.manager, terminal_pods=terminal_pods)

    def _save(self) -> None:
        registered = {name: tuple(one.healthy) for name, one in self.manager.listings.items()}
        try:
            self._machine.checkpoint.write(Checkpoint(tuple(self.holdings), registered))
        except OSError as error:
            # As in the real one, that is a line in the log; what is in memory goes on being true.
            self._machine.journal.record(Event(EventKind.CHECKPOINT_FAILED, text=str(error)))
