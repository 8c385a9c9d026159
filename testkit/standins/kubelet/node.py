"""The stand-in itself: a kubelet on a node, and everything a test may do to it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from testkit.standins.kubelet import directory
from testkit.standins.kubelet.checkpoint import CheckpointFile
from testkit.standins.kubelet.errors import ConditionUnmetError, KubeletPanickedError, PodError
from testkit.standins.kubelet.journal import Event, EventKind, Journal
from testkit.standins.kubelet.plugin_client import Cut, check_possible
from testkit.standins.kubelet.plugins import StreamPlan
from testkit.standins.kubelet.podresources import PodResourcesBehaviour
from testkit.standins.kubelet.pods import Admitted, ContainerSpec, Phase, Pod
from testkit.standins.kubelet.process import KubeletProcess, Machine
from testkit.standins.kubelet.settings import Generation, KubeletSettings, WipeRule, Wire
from testkit.standins.kubelet.tasks import Tasks
from testkit.standins.kubelet.view import NodeView, ResourceView
from testkit.standins.kubelet.wire import Switchboard


class StandInKubelet:
    """A kubelet's device manager over real sockets, in the running event loop.

    Used as `async with StandInKubelet(settings) as kubelet:`, which starts it and leaves nothing behind.

    Args:
        settings: What kind of kubelet it is.
        listener: Called with every event as it happens.
    """

    def __init__(self, settings: KubeletSettings, listener: Callable[[Event], None] | None = None) -> None:
        self._machine = Machine(
            settings=settings,
            journal=Journal(listener, settings.remembered),
            switchboard=Switchboard(),
            checkpoint=CheckpointFile(settings.plugin_dir),
            rng=random.Random(settings.seed),  # noqa: S311 - reproducible on purpose
        )
        self._process: KubeletProcess | None = None
        self._deaths = Tasks()

    async def __aenter__(self) -> Self:
        """Start."""
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clean up."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop, close what was left frozen, remove the sockets."""
        try:
            await self.stop()
        finally:
            await self._machine.switchboard.close()
            self._remove_own_socket()

    # What it is

    @property
    def settings(self) -> KubeletSettings:
        """As given, or as changed by a restart."""
        return self._machine.settings

    @property
    def running(self) -> bool:
        """Whether there is a kubelet process; one that panicked is gone until somebody starts another."""
        return self._process is not None

    @property
    def api_server_up(self) -> bool:
        """Whether there is an API server. At first there is."""
        return self._machine.api_server_up

    @property
    def socket(self) -> Path:
        """kubelet.sock."""
        return self.settings.plugin_dir / directory.KUBELET_SOCKET

    @property
    def pod_resources_socket(self) -> Path | None:
        """The PodResources socket; None when none is configured."""
        place = self.settings.pod_resources_dir
        return place / directory.KUBELET_SOCKET if place else None

    @property
    def checkpoint_path(self) -> Path:
        """The checkpoint file."""
        return self._machine.checkpoint.path

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything that happened, as far as it is remembered."""
        return self._machine.journal.events

    def events_of(self, kind: EventKind, resource: str | None = None) -> tuple[Event, ...]:
        """Of one kind, and of one resource if given."""
        return tuple(event for event in self.events if event.kind is kind and resource in (None, event.resource))

    # The process

    async def start(self) -> None:
        """Start the kubelet's process; returns when kubelet.sock is served.

        Raises:
            RuntimeError: It runs.
        """
        if self._process:
            raise RuntimeError("the kubelet is running")
        await self._deaths.join()
        process = self._process = KubeletProcess(self._machine, lambda error: self._die(process, error))
        await process.start()

    def configure(self, settings: KubeletSettings) -> None:
        """Change settings; the next start is by these."""
        self._machine.settings = settings

    async def stop(self) -> None:
        """End the process in order: connections closed. The sockets' files stay, and nobody listens. Pods go on."""
        await self._end(Cut.CLOSE, kind=EventKind.STOPPED)

    async def kill(self, how: Cut | None = None) -> None:
        """End the process at once. The sockets' files stay, and nobody listens.

        Args:
            how: What the plugins see of it. By default nothing (FREEZE); on direct connections, CLOSE.

        Raises:
            ValueError: Direct connections cannot end like this.
        """
        chosen = how or (Cut.FREEZE if self.settings.wire is Wire.RELAYED else Cut.CLOSE)
        check_possible(chosen, self.settings.wire)
        await self._end(chosen, kind=EventKind.KILLED)

    async def _end(self, how: Cut, *, kind: EventKind) -> None:
        await self._deaths.join()
        if self._process is None:
            return
        process, self._process = self._process, None
        process.refresh_status()
        await process.stop(how)
        self._machine.journal.record(Event(kind))

    def _die(self, process: KubeletProcess, error: KubeletPanickedError) -> None:
        """The process is gone at once; when the journal says so, nothing of it is left but its sockets' files."""
        if self._process is process:
            self._process = None
            process.refresh_status()
            process.sever(self._reset)
            self._deaths.spawn(self._bury(process, error))

    async def _bury(self, process: KubeletProcess, error: KubeletPanickedError) -> None:
        await process.stop(self._reset)
        event = Event(EventKind.PANICKED, error.resource, ids=(error.device,), text=str(error))
        self._machine.journal.record(event)

    @property
    def _reset(self) -> Cut:
        """What plugins see of the end of a process that does not say goodbye."""
        return Cut.RESET if self.settings.wire is Wire.RELAYED else Cut.CLOSE

    @contextlib.asynccontextmanager
    async def _surviving(self, process: KubeletProcess) -> AsyncIterator[None]:
        """Work that the process may die of; whoever asked for it is told when it is dead."""
        try:
            yield
        except KubeletPanickedError as error:
            self._die(process, error)
            await self._deaths.join()
            raise

    async def restart(self, *, keep_checkpoint: bool = True, generation: Generation | None = None) -> None:
        """Stop, then start, perhaps as another generation. Pods go on."""
        await self.stop()
        if not keep_checkpoint:
            self._machine.checkpoint.remove()
        self.configure(replace(self.settings, generation=generation or self.settings.generation))
        await self.start()

    async def reboot(self, *, keep_checkpoint: bool = True, readmit: bool = True) -> dict[str, Admitted | PodError]:
        """Restart the node: the process and all containers die, then every pod is admitted again.

        Without an API server none is, until it is back.

        Args:
            keep_checkpoint: Whether the checkpoint survives.
            readmit: Whether pods are admitted as soon as the kubelet is up, so before any plugin can have
                registered. Otherwise `readmit_pods` does it later.

        Returns:
            What became of each pod.
        """
        await self.kill(self._reset)
        if not keep_checkpoint:
            self._machine.checkpoint.remove()
        for pod in self._machine.active_pods():
            pod.phase, pod.started = Phase.PENDING, set()
        await self.start()
        return await self.readmit_pods() if readmit else {}

    async def readmit_pods(self) -> dict[str, Admitted | PodError]:
        """Admit every pod that a reboot left without containers, or a panic before it had any.

        A kubelet that was started without the API server does not know of one.

        Raises:
            KubeletPanickedError: The process died of one of them.
        """
        results: dict[str, Admitted | PodError] = {}
        if not self._running().knows_pods:
            return results
        for pod in self._machine.active_pods():
            if pod.phase is Phase.PENDING:
                results[pod.name] = await self._outcome(pod)
        return results

    async def _outcome(self, pod: Pod) -> Admitted | PodError:
        process = self._running()
        try:
            async with self._surviving(process):
                return await process.workers.run(pod)
        except PodError as error:
            return error

    def wipe(self, rule: WipeRule = WipeRule.EVERYTHING, *, own_socket: bool = False) -> tuple[str, ...]:
        """Clean the plugin directory while the kubelet runs; returns the names of the files removed."""
        keep = () if own_socket else (directory.KUBELET_SOCKET,)
        removed = directory.wipe(self.settings.plugin_dir, rule, keep)
        self._machine.journal.record(Event(EventKind.WIPED, ids=removed))
        return removed

    # The API server

    def stop_api_server(self) -> None:
        """Let there be none.

        A kubelet that runs goes on knowing its pods. One that is started now knows none until the API server is
        back, however long: it lists none, frees nothing and admits nothing, while containers run on.
        """
        if self.api_server_up:
            self._machine.api_server_up = False
            self._machine.journal.record(Event(EventKind.API_SERVER_STOPPED))

    async def start_api_server(self, *, readmit: bool = True) -> dict[str, Admitted | PodError]:
        """Let it be back: a kubelet that was started without it hears of its pods.

        Args:
            readmit: Whether such a kubelet admits the pods that a reboot left without containers at once.
                Otherwise `readmit_pods` does it later.

        Returns:
            What became of each pod that was admitted.
        """
        if self.api_server_up:
            return {}
        self._machine.api_server_up = True
        self._machine.journal.record(Event(EventKind.API_SERVER_STARTED))
        process = self._process
        if process is None or process.knows_pods:
            return {}
        await process.learn_pods()
        return await self.readmit_pods() if readmit and self.running else {}

    def _check_api_server(self) -> None:
        if not self.api_server_up:
            raise RuntimeError("the API server is not running")

    # Faults

    def fail_next_registers(self, count: int, text: str) -> None:
        """Refuse the next calls of Register with this text."""
        self._machine.faults.refusals.extend([text] * count)

    def plan_streams(self, plan: StreamPlan) -> None:
        """Read every stream that begins from now on like this.

        Raises:
            ValueError: Direct connections cannot end like this.
        """
        check_possible(plan.then, self.settings.wire)
        self._machine.faults.stream_plan = plan

    async def cut(self, resource: str, how: Cut = Cut.CANCEL) -> None:
        """End the connections to a resource's plugins.

        Raises:
            ValueError: Direct connections cannot end like this.
        """
        check_possible(how, self.settings.wire)
        await self._running().plugins.cut(resource, how)

    async def set_pod_resources(self, behaviour: PodResourcesBehaviour) -> None:
        """Let PodResources behave like this from now on."""
        self._machine.pod_resources = behaviour
        if self._process:
            await self._process.apply_pod_resources()

    # Pods

    async def run_pod(
        self,
        name: str,
        resources: Mapping[str, int] | None = None,
        *,
        containers: Sequence[ContainerSpec] = (),
        namespace: str = "default",
    ) -> Admitted:
        """Run a pod.

        Args:
            name: Free, or that of a pod that is over.
            resources: Of its only container, `main`.
            containers: Instead of `resources`: all of them. Init containers are admitted and started first.
            namespace: For PodResources.

        Raises:
            UnexpectedAdmissionError: A container got no devices. The pod is Failed.
            TopologyAffinityError: The topology policy cannot be met. The pod is Failed.
            ContainerStartError: A container could not be started. The pod keeps its devices and is tried again.
            KubeletPanickedError: The kubelet died of it. The pod stays Pending, for `readmit_pods` to admit.
            ValueError: The name is taken, or there is no container to run.
            RuntimeError: There is no kubelet, or no API server to tell it of the pod.
        """
        specs = tuple(containers) or (ContainerSpec("main", MappingProxyType(dict(resources or {}))),)
        process = self._running()
        self._check_api_server()
        if name in self._machine.pods and not self._machine.pods[name].phase.terminal:
            raise ValueError(f"pod {name} exists")
        if all(spec.init for spec in specs):
            raise ValueError("a pod needs a container that is no init container")
        ordered = tuple(sorted(specs, key=lambda spec: not spec.init))
        pod = Pod(name=name, namespace=namespace, uid=str(uuid.uuid4()), containers=ordered)
        self._machine.pods[name] = pod
        async with self._surviving(process):
            return await process.workers.run(pod)

    async def restart_container(self, name: str, container: str = "main") -> Admitted:
        """Start a container once more, as after a crash of it. It keeps what it was given, healthy or not.

        Args:
            name: The pod's.
            container: The container's.

        Raises:
            ContainerStartError: It could not be started, and is tried again.
            RuntimeError: There is no kubelet, or it does not know of the pod.
        """
        process = self._running()
        if not process.knows_pods:
            raise RuntimeError("the kubelet was started without the API server and knows no pods")
        async with self._surviving(process):
            return await process.workers.restart(self._machine.pods[name], container)

    def finish_pod(self, name: str, phase: Phase = Phase.SUCCEEDED) -> None:
        """All containers of a pod ended for good; it stays known until it is deleted.

        Its devices stay booked until the kubelet drops the pod: at the next List of PodResources, or at the next
        admission of a container that asks for devices.
        """
        pod = self._machine.pods[name]
        pod.phase = phase
        self._machine.journal.record(Event(EventKind.POD_FINISHED, pod=name))

    def delete_pod(self, name: str) -> None:
        """Delete a pod. The plugin is not told; the devices stay booked as those of a pod that finished.

        Raises:
            RuntimeError: There is no API server to delete it from.
        """
        self._check_api_server()
        pod = self._machine.pods.pop(name)
        pod.phase = Phase.SUCCEEDED
        self._machine.journal.record(Event(EventKind.POD_DELETED, pod=name))

    # What is to be seen

    def view(self) -> NodeView:
        """The node now."""
        machine, process = self._machine, self._process
        if process:
            process.refresh_status()
            resources = {name: process.view(name) for name in process.resources()}
        else:
            resources = {name: ResourceView(status, held=machine.held(name)) for name, status in machine.status.items()}
        return NodeView(
            running=self.running,
            api_server_up=self.api_server_up,
            resources=resources,
            pods={name: pod.view() for name, pod in machine.pods.items()},
            counts=dict(machine.journal.counts),
            checkpoint_writes=machine.checkpoint.writes,
        )

    async def until(self, condition: Callable[[NodeView], bool], within: float) -> NodeView:
        """Wait for a condition, looking again after every event. Moving a fake clock is no event.

        Args:
            condition: On the node.
            within: Seconds of real time.

        Returns:
            The first view for which it holds.

        Raises:
            ConditionUnmetError: It did not come true; the text has the view and the journal.
        """
        try:
            async with asyncio.timeout(within):
                while not condition(view := self.view()):
                    await self._machine.journal.changed()
        except TimeoutError:
            text = f"not within {within} s\n{self.view()}\n{self._machine.journal}"
            raise ConditionUnmetError(text) from None
        return view

    def _running(self) -> KubeletProcess:
        if self._process is None:
            raise RuntimeError("the kubelet is not running")
        return self._process

    def _remove_own_socket(self) -> None:
        for path in (self.socket, self.pod_resources_socket):
            if path:
                path.unlink(missing_ok=True)
