"""One kubelet process: all that is gone when it ends, and what it does at its start."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from testkit.standins.kubelet import directory
from testkit.standins.kubelet.admission import Desk
from testkit.standins.kubelet.checkpoint import Checkpoint, CheckpointFile
from testkit.standins.kubelet.device_manager import Capacity, DeviceManager
from testkit.standins.kubelet.errors import CheckpointError, KubeletPanickedError
from testkit.standins.kubelet.holdings import Holdings
from testkit.standins.kubelet.journal import Event, EventKind, Journal
from testkit.standins.kubelet.plugin_client import Cut, Dialer
from testkit.standins.kubelet.plugins import DevicePlugins, Faults
from testkit.standins.kubelet.podresources import PodResources, PodResourcesBehaviour, PodResourcesMode, Report
from testkit.standins.kubelet.pods import Phase, Pod
from testkit.standins.kubelet.report import report
from testkit.standins.kubelet.servers import Registration, UnixServer
from testkit.standins.kubelet.settings import Generation, KubeletSettings
from testkit.standins.kubelet.tasks import Tasks
from testkit.standins.kubelet.view import ResourceView
from testkit.standins.kubelet.wire import Switchboard
from testkit.standins.kubelet.workers import PodWorkers


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
    api_server_up: bool = True

    def active_pods(self) -> list[Pod]:
        """Pods that are not over."""
        return [pod for pod in self.pods.values() if not pod.phase.terminal]

    def held(self, resource: str) -> frozenset[str]:
        """What containers of pods that are not over hold."""
        return frozenset().union(*(pod.view().holds(resource) for pod in self.pods.values()))

    def read_checkpoint(self) -> Checkpoint:
        """The checkpoint; a damaged one is only logged."""
        try:
            return self.checkpoint.read()
        except CheckpointError as error:
            self.journal.record(Event(EventKind.CHECKPOINT_UNREADABLE, text=str(error)))
            return Checkpoint()


class KubeletProcess:
    """A process that has read the checkpoint and not done anything yet.

    Args:
        machine: What it runs on.
        on_panic: Called when the process has to die.
    """

    def __init__(self, machine: Machine, on_panic: Callable[[KubeletPanickedError], None]) -> None:
        checkpoint = machine.read_checkpoint()
        settings = machine.settings
        self._machine = machine
        self.manager = DeviceManager(keyed_by_socket=settings.generation is Generation.C, grace=settings.stop_grace)
        self.manager.restore(checkpoint.registered, settings.clock())
        self.holdings = Holdings(checkpoint.holdings)
        self._on_panic = on_panic
        self._knows_pods = machine.api_server_up
        self._began = time.monotonic()
        self._listed: set[str] = set()
        self._inherited: tuple[Pod, ...] = ()
        self._tasks = Tasks()
        self.plugins = DevicePlugins(
            settings=settings,
            manager=self.manager,
            dialer=Dialer(settings, machine.switchboard),
            journal=machine.journal,
            faults=machine.faults,
            on_message=self._save,
            on_listed=self._on_listed,
        )
        self.desk = Desk(
            settings=settings,
            manager=self.manager,
            holdings=self.holdings,
            plugins=self.plugins,
            journal=machine.journal,
            rng=machine.rng,
            save=self._save,
            drop_ended=self._drop_ended,
            short_of=self._short_of,
        )
        self.workers = PodWorkers(self.desk)
        self._registration = UnixServer(
            settings.plugin_dir / directory.KUBELET_SOCKET, Registration(self.plugins.register).add_to
        )
        self._pod_resources = self._pod_resources_server()

    def _pod_resources_server(self) -> UnixServer | None:
        place = self._machine.settings.pod_resources_dir
        service = PodResources(self._report, lambda: self._machine.pod_resources, self._drop_ended)
        return UnixServer(place / directory.KUBELET_SOCKET, service.add_to) if place else None

    @property
    def knows_pods(self) -> bool:
        """Whether the API server has told it of its pods. Once it has, its silence changes nothing."""
        return self._knows_pods

    @property
    def _sources_ready(self) -> bool:
        return self._knows_pods and time.monotonic() - self._began >= self._machine.pod_resources.pods_after

    async def start(self) -> None:
        """Clean the directory, then serve."""
        machine, settings = self._machine, self._machine.settings
        self._began = time.monotonic()
        removed = directory.prepare(settings.plugin_dir, settings.wipes)
        machine.journal.record(Event(EventKind.WIPED, ids=removed))
        await self.apply_pod_resources()
        await asyncio.sleep(settings.listen_delay)
        await self._registration.start()
        machine.journal.record(Event(EventKind.STARTED, text=settings.generation.value))
        if settings.status_interval:
            self._tasks.spawn(self._publish_in_turn())
        if self._knows_pods:
            await self._take_up_pods()

    async def learn_pods(self) -> None:
        """The API server is back, and tells of the node's pods."""
        if not self._knows_pods:
            self._knows_pods = True
            await self._take_up_pods()

    async def _take_up_pods(self) -> None:
        """Go on with the pods of the last process: all are admitted once more.

        Real kubelets do that at once, and whether a plugin has sent its list by then is a race. Here the plugin loses
        it either way: devices are not there yet, and hints are made as soon as both the pods and the list are known.
        """
        active = self._machine.active_pods()
        self._inherited = tuple(pod for pod in active if pod.phase in (Phase.WAITING, Phase.RUNNING))
        try:
            for pod in self._inherited:
                await self.workers.take_up(pod)
        except KubeletPanickedError as error:
            self._on_panic(error)

    def _on_listed(self, resource: str) -> None:
        if resource not in self._listed:
            self._listed.add(resource)
            self._hint(resource)

    def _hint(self, resource: str) -> None:
        try:
            self.workers.hint(self._inherited, resource)
        except KubeletPanickedError as error:
            self._on_panic(error)

    def _drop_ended(self) -> None:
        """Forget pods that are over; the checkpoint goes on naming them until it is written for another reason."""
        over = self._over()
        if over:
            self.holdings.drop(over)
            self._machine.journal.record(Event(EventKind.PODS_DROPPED, ids=tuple(sorted(over))))

    def _over(self) -> frozenset[str]:
        """Uids of pods with devices that the kubelet knows to be over: none as long as it knows no pods."""
        if not self._sources_ready:
            return frozenset()
        return self.holdings.pods_beside([pod.uid for pod in self._machine.active_pods()])

    def _short_of(self, pod: Pod) -> str | None:
        machine = self._machine
        beside = [one for one in machine.active_pods() if one is not pod and one.admitted is not None]
        for resource in {name for spec in pod.containers for name in spec.resources}:
            if resource in machine.status and not self.desk.knows(resource):
                asked = sum(one.requests(resource) for one in (pod, *beside))
                if asked > machine.status[resource].allocatable:
                    return resource
        return None

    def sever(self, how: Cut) -> None:
        """Freeze or reset the connections to plugins at once."""
        self.plugins.sever(how)

    async def stop(self, how: Cut) -> None:
        """End the process. The sockets' files stay, and nobody listens."""
        # Ending a task that waits for a call cancels the call, which the plugin would be told of.
        self.sever(how)
        await self._tasks.cancel()
        await self.workers.shut()
        await self.plugins.shut(how)
        await self._registration.stop(leave_socket=True)
        if self._pod_resources:
            await self._pod_resources.stop(leave_socket=True)

    async def apply_pod_resources(self) -> None:
        """Serve PodResources, or stop to, as the machine's wishes are now."""
        if self._pod_resources is None:
            return
        if self._machine.pod_resources.mode is PodResourcesMode.ABSENT:
            await self._pod_resources.stop()
        elif not self._pod_resources.running:
            await self._pod_resources.start(make_directory=True)

    def refresh_status(self) -> None:
        """Bring the node's status up to date, unless that is done in turn."""
        if not self._machine.settings.status_interval:
            self._publish()

    async def _publish_in_turn(self) -> None:
        machine = self._machine
        while True:
            before = machine.status
            if machine.api_server_up:
                self._publish()
            if machine.status != before:
                machine.journal.record(Event(EventKind.STATUS_PUBLISHED))
            await asyncio.sleep(machine.settings.status_interval)

    def _publish(self) -> None:
        """Reading the capacities is what ends a resource's grace. What the manager does not know stays as it is."""
        machine = self._machine
        gone = self.manager.expire(machine.settings.clock())
        if gone:
            self._save()
        machine.status = {**machine.status, **self.manager.capacities()}
        for resource in gone:
            machine.status[resource] = Capacity()
            machine.journal.record(Event(EventKind.RESOURCE_REMOVED, resource))

    def resources(self) -> frozenset[str]:
        """Every resource that it or the node's status knows."""
        return frozenset(self._machine.status).union(self.manager.listings)

    def view(self, resource: str) -> ResourceView:
        """One resource now."""
        listing, status = self.manager.listings.get(resource), self._machine.status
        return ResourceView(
            status=status.get(resource, Capacity()),
            published=resource in status,
            healthy=listing.healthy if listing else frozenset(),
            unhealthy=listing.unhealthy if listing else frozenset(),
            in_use=self.holdings.in_use_without(resource, self._over()),
            booked=self.holdings.in_use(resource),
            held=self._machine.held(resource),
            streams=self.plugins.connected(resource),
        )

    def _report(self) -> Report:
        machine = self._machine
        terminal_pods = machine.pod_resources.terminal_pods
        pods = machine.pods.values() if self._sources_ready else ()
        return report(pods, self.holdings, self.manager, terminal_pods=terminal_pods)

    def _save(self) -> None:
        registered = {name: tuple(one.healthy) for name, one in self.manager.listings.items()}
        try:
            self._machine.checkpoint.write(Checkpoint(tuple(self.holdings), registered))
        except OSError as error:
            # As in the real one, that is a line in the log; what is in memory goes on being true.
            self._machine.journal.record(Event(EventKind.CHECKPOINT_FAILED, text=str(error)))
