"""What becomes of pods: admitted or failed, their containers started, waiting, and started again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.kubelet.admission import Admission, Desk, demands
from testkit.standins.kubelet.errors import (
    ContainerStartError,
    CreateContainerConfigError,
    OutOfResourceError,
    PodError,
    TopologyAffinityError,
    UnexpectedAdmissionError,
)
from testkit.standins.kubelet.journal import Event, EventKind
from testkit.standins.kubelet.pods import Admitted, ContainerGrant, ContainerSpec, Phase, Pod, merged
from testkit.standins.kubelet.starter import Starter
from testkit.standins.kubelet.tasks import Tasks

_REFUSALS = (UnexpectedAdmissionError, TopologyAffinityError, OutOfResourceError)


class PodWorkers:
    """Runs pods on behalf of one kubelet process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._admission = Admission(desk)
        self._starter = Starter(desk)
        self._tasks = Tasks()
        self._retried: set[str] = set()

    async def run(self, pod: Pod) -> Admitted:
        """Admit a pod and start its containers.

        Raises:
            UnexpectedAdmissionError: The pod is Failed.
            TopologyAffinityError: The pod is Failed.
            ContainerStartError: The pod waits; its containers are tried again until they start.
            KubeletPanickedError: The process died of it; the pod stays as it is.
        """
        try:
            await self._admission.admit(pod)
        except _REFUSALS as error:
            self._fail(pod, error)
            raise
        admitted = pod.admitted = self._admitted(pod)
        self._desk.journal.record(Event(EventKind.POD_ADMITTED, pod=pod.name, ids=admitted.device_ids))
        await self._start_or_retry(pod)
        return pod.admitted

    async def restart(self, pod: Pod, container: str) -> Admitted:
        """Start a container of an admitted pod once more. It gets the old answer, whatever became of its devices.

        Raises:
            KeyError: The pod has no such container.
            ContainerStartError: The pod waits.
            KubeletPanickedError: The process died before; the pod stays as it is.
        """
        if container not in {spec.name for spec in pod.containers}:
            raise KeyError(container)
        pod.started.discard(container)
        pod.admitted = self._admitted(pod)
        await self._start_or_retry(pod)
        return pod.admitted

    async def take_up(self, pod: Pod) -> None:
        """Go on with a pod of the last kubelet process, which is admitted once more.

        Containers that run need nothing for that. One that does not run, because it has ended or could not start,
        needs its devices to be healthy; else the whole pod is Failed.

        Raises:
            KubeletPanickedError: The process died of it.
        """
        running = {spec.name for spec in pod.containers if spec.name in pod.started and not spec.ends}
        try:
            await self._admission.admit(pod, running)
        except _REFUSALS as error:
            self._fail(pod, error)
            return
        pod.admitted = self._admitted(pod)
        if pod.phase is Phase.WAITING:
            self._retry(pod)

    def hint(self, pods: Iterable[Pod], resource: str) -> None:
        """Have the topology manager look at pods that the last kubelet process admitted.

        Raises:
            KubeletPanickedError: The process dies of one of them.
        """
        for pod in pods:
            if not pod.phase.terminal:
                self._admission.hint(pod, resource)

    async def shut(self) -> None:
        """The process ends."""
        await self._tasks.cancel()
        self._retried.clear()

    def _fail(self, pod: Pod, error: PodError) -> None:
        """What its containers were given before stays booked until the pod is dropped."""
        pod.phase, pod.reason, pod.message = Phase.FAILED, error.reason, f"Pod was rejected: {error.message}"
        self._desk.journal.record(Event(EventKind.POD_FAILED, pod=pod.name, text=error.message))

    def _admitted(self, pod: Pod) -> Admitted:
        grants = {spec.name: self._kept(pod, spec) or self._grant(pod, spec) for spec in pod.containers}
        main = next(spec.name for spec in pod.containers if not spec.init)
        return Admitted(pod.name, pod.uid, tuple(grants.values()), grants[main])

    def _kept(self, pod: Pod, spec: ContainerSpec) -> ContainerGrant | None:
        """What a container runs with, whatever the books say."""
        runs = pod.admitted is not None and spec.name in pod.started and not spec.ends
        return pod.admitted.container(spec.name) if runs and pod.admitted else None

    def _grant(self, pod: Pod, spec: ContainerSpec) -> ContainerGrant:
        """What the cached answers say: the plugin is not asked again."""
        found = [
            (demand.resource, self._desk.holdings.get(pod.uid, spec.name, demand.resource))
            for demand in demands(pod, spec)
        ]
        held = {resource: one for resource, one in found if one is not None}
        ids = {resource: tuple(sorted(one.ids)) for resource, one in held.items()}
        responses = [api.ContainerAllocateResponse.FromString(one.response) for one in held.values()]
        grant, conflicts = merged(spec.name, ids, responses)
        for name in conflicts:
            self._desk.journal.record(Event(EventKind.ENV_CONFLICT, pod=pod.name, container=spec.name, text=name))
        return grant

    async def _start_or_retry(self, pod: Pod) -> None:
        try:
            await self._start(pod)
        except ContainerStartError:
            self._retry(pod)
            raise

    async def _start(self, pod: Pod) -> None:
        try:
            await self._allocate_anew(pod)
            await self._starter.start(pod)
        except ContainerStartError as error:
            pod.phase, pod.reason, pod.message = Phase.WAITING, error.reason, error.message
            self._desk.journal.record(Event(EventKind.CONTAINER_WAITING, pod=pod.name, text=error.message))
            raise
        pod.phase, pod.reason, pod.message = Phase.RUNNING, "", ""
        self._desk.journal.record(Event(EventKind.POD_RUNNING, pod=pod.name))

    async def _allocate_anew(self, pod: Pod) -> None:
        for spec in pod.containers:
            if spec.name not in pod.started:
                try:
                    if await self._admission.allocate_anew(pod, spec):
                        pod.admitted = self._admitted(pod)
                except UnexpectedAdmissionError as error:
                    raise CreateContainerConfigError(pod.name, error.cause) from error

    def _retry(self, pod: Pod) -> None:
        if pod.uid not in self._retried:
            self._retried.add(pod.uid)
            self._tasks.spawn(self._keep_trying(pod))

    async def _keep_trying(self, pod: Pod) -> None:
        while pod.phase is Phase.WAITING:
            await asyncio.sleep(self._desk.settings.container_back_off)
            if pod.phase is Phase.WAITING:
                with contextlib.suppress(ContainerStartError):
                    await self._start(pod)
        self._retried.discard(pod.uid)
