"""Giving containers their devices: the decisions of `choice` and `topology`, and the calls they lead to."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.kubelet import topology
from testkit.standins.kubelet.choice import Demand, Question, Rules, Stock, choose
from testkit.standins.kubelet.device_manager import DeviceManager
from testkit.standins.kubelet.errors import (
    KubeletPanickedError,
    OutOfResourceError,
    RefusedError,
    RpcError,
    TopologyAffinityError,
    UnexpectedAdmissionError,
)
from testkit.standins.kubelet.holdings import Held, Holding, Holdings, by_numa
from testkit.standins.kubelet.journal import Event, EventKind, Journal
from testkit.standins.kubelet.plugins import DevicePlugins
from testkit.standins.kubelet.pods import ContainerSpec, Pod
from testkit.standins.kubelet.settings import Generation, KubeletSettings
from testkit.standins.kubelet.topology import TopologyPolicy
from testkit.standins.kubelet.values import Listing


@dataclass(frozen=True, slots=True)
class Desk:
    """What admission and the start of containers work with: one kubelet process' state and its plugins."""

    settings: KubeletSettings
    manager: DeviceManager
    holdings: Holdings
    plugins: DevicePlugins
    journal: Journal
    rng: random.Random
    save: Callable[[], None]
    """Writes the checkpoint."""
    drop_ended: Callable[[], None]
    """Forgets pods that are over, if the kubelet knows its pods. Writes nothing."""

    short_of: Callable[[Pod], str | None]
    """A resource that only the node's status knows, if it has too few for a pod."""

    def knows(self, resource: str) -> bool:
        """Whether some plugin listed the resource, or some container has it."""
        return resource in self.manager.listings or bool(self.holdings.in_use(resource))

    def in_any_order(self, ids: Iterable[str]) -> list[str]:
        """As Go lists a set: in random order."""
        listed = sorted(ids)
        self.rng.shuffle(listed)
        return listed


def demands(pod: Pod, spec: ContainerSpec) -> list[Demand]:
    """One per resource. Asking for none of a resource is not asking."""
    return [Demand(pod.uid, spec.name, name, count) for name, count in spec.resources.items() if count]


class Admission:
    """Admits containers; one pod at a time, as the kubelet's own loop does."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._turn = asyncio.Lock()
        first_words = "can't" if desk.settings.generation is Generation.A else "cannot"
        self._panic: KubeletPanickedError | None = None
        self._rules = Rules(desk.settings.rechecks_held, f"{first_words} allocate unregistered device")

    async def admit(self, pod: Pod, running: Collection[str] = ()) -> None:
        """Allocate for every container of a pod, init containers first.

        Args:
            pod: The pod.
            running: Containers that an earlier process started. They keep what they have, and nobody asks whether they
                may.

        Raises:
            UnexpectedAdmissionError: A container gets no devices.
            OutOfResourceError: The node's status has too few of a resource that the device manager does not know.
            TopologyAffinityError: The policy cannot be met.
            KubeletPanickedError: The process died of this pod, or of one before it.
        """
        async with self._turn:
            self._check_alive()
            for spec in pod.containers:
                nodes = self._affinity(pod, spec)
                if spec.name not in running:
                    await self._container(pod, spec, nodes)
                self._desk.holdings.pass_on(pod.uid, spec.name, ends=spec.ends)
            if (resource := self._desk.short_of(pod)) is not None:
                raise OutOfResourceError(pod.name, resource)

    async def allocate_anew(self, pod: Pod, spec: ContainerSpec) -> bool:
        """Before each start of a container: allocate once more if the books have lost what it had. Whether they had.

        A container that is in the books keeps what it has, and nobody looks whether that is healthy.

        Raises:
            UnexpectedAdmissionError: It gets no devices.
            KubeletPanickedError: The process died before.
        """
        wanted = [demand for demand in demands(pod, spec) if self._desk.knows(demand.resource)]
        if all(self._desk.holdings.get(one.pod_uid, one.container, one.resource) for one in wanted):
            return False
        async with self._turn:
            self._check_alive()
            await self._container(pod, spec, None)
        return True

    def hint(self, pod: Pod, resource: str) -> None:
        """Make the hints of a pod that was admitted by an earlier process, for one resource; nothing is allocated.

        Raises:
            KubeletPanickedError: The process dies of it.
        """
        for spec in pod.containers:
            for demand in demands(pod, spec):
                if demand.resource == resource:
                    self._hints(demand)

    def _check_alive(self) -> None:
        if self._panic:
            raise self._panic

    async def _container(self, pod: Pod, spec: ContainerSpec, nodes: frozenset[int] | None) -> None:
        # What no plugin ever listed is no device: the device manager gives nothing, and refuses nobody.
        wanted = [demand for demand in demands(pod, spec) if self._desk.knows(demand.resource)]
        if wanted:
            self._desk.drop_ended()
        try:
            allocated = [await self._resource(demand, nodes) for demand in wanted]
        except RefusedError as error:
            raise UnexpectedAdmissionError(pod.name, str(error)) from error
        if any(allocated):
            self._desk.save()

    async def _resource(self, demand: Demand, nodes: frozenset[int] | None) -> bool:
        """Allocate one resource; False when the container keeps what it has."""
        desk, stock, numa = self._desk, self._stock(demand), self._listing(demand.resource).numa
        affinity = topology.split(stock.available, numa, nodes)
        decision = choose(demand, stock, affinity, self._rules, desk.rng)
        answer: frozenset[str] | None = None
        try:
            question = next(decision)
            while True:
                question = decision.send(await self._preferred(demand.resource, question))
        except StopIteration as done:
            answer = done.value
        if answer is None:
            return False
        response = await self._allocate(demand, answer)
        self._check_still_listed(demand.resource, answer)
        held = Held(by_numa(answer, numa), response.SerializeToString())
        desk.holdings.insert(Holding(demand.pod_uid, demand.container, demand.resource, held))
        return True

    def _stock(self, demand: Demand) -> Stock:
        holdings, known = self._desk.holdings, demand.resource in self._desk.manager.listings
        held = holdings.get(demand.pod_uid, demand.container, demand.resource)
        return Stock(
            healthy=self._listing(demand.resource).healthy if known else None,
            in_use=holdings.in_use(demand.resource),
            held=held.ids if held else None,
            reusable=holdings.reusable(demand.pod_uid, demand.resource),
        )

    def _listing(self, resource: str) -> Listing:
        return self._desk.manager.listings.get(resource, Listing())

    def _affinity(self, pod: Pod, spec: ContainerSpec) -> frozenset[int] | None:
        settings = self._desk.settings
        if settings.topology_policy is not TopologyPolicy.NONE:
            self._desk.drop_ended()
        offers = [self._hints(demand) for demand in demands(pod, spec)]
        verdict = topology.decide(settings.topology_policy, offers, settings.numa_nodes)
        if not verdict.admitted:
            raise TopologyAffinityError(pod.name)
        return verdict.nodes

    def _hints(self, demand: Demand) -> tuple[topology.Hint, ...] | None:
        stock, numa = self._stock(demand), self._listing(demand.resource).numa
        if not topology.cares(numa):
            return None
        available, reusable = stock.available, stock.reusable
        if stock.held is not None:
            available, reusable = stock.held, frozenset()
        too_few = len(available | reusable) < demand.count
        if too_few or (stock.held is not None and len(stock.held) != demand.count):
            return ()
        self._look_up(demand.resource, available | reusable)
        return topology.hints(demand.count, numa, available, reusable, self._desk.settings.numa_nodes)

    def _look_up(self, resource: str, ids: frozenset[str]) -> None:
        """As newer kubelets look up the topology of every device hints are made for: as if it had to be there."""
        lacking = sorted(topology.unlisted(ids, self._listing(resource).numa))
        if lacking and self._desk.settings.dies_of_unlisted:
            self._panic = KubeletPanickedError(resource, lacking[0])
            raise self._panic

    def _check_still_listed(self, resource: str, ids: frozenset[str]) -> None:
        """As newer kubelets look up the NUMA nodes of what was just allocated, in the list as it is by then."""
        lacking = sorted(ids.difference(self._listing(resource).numa))
        if lacking and self._desk.settings.dies_of_unlisted_grants:
            self._panic = KubeletPanickedError(resource, lacking[0], "allocateContainerResources")
            raise self._panic

    async def _preferred(self, resource: str, question: Question) -> frozenset[str]:
        desk, endpoint = self._desk, self._desk.manager.endpoint(resource)
        if endpoint is None or not endpoint.options.preferred_allocation:
            return frozenset()
        began = time.monotonic()
        try:
            answer = await desk.plugins.connection(desk.manager.serving(resource)).preferred(
                desk.in_any_order(question.available), desk.in_any_order(question.must_include), question.size
            )
        except (RpcError, RefusedError) as error:
            self._record(EventKind.PREFERRED, resource, began, text=str(error))
            raise RefusedError(f"device plugin GetPreferredAllocation rpc failed with err: {error}") from error
        self._record(EventKind.PREFERRED, resource, began, answer)
        return frozenset(answer)

    async def _allocate(self, demand: Demand, chosen: frozenset[str]) -> api.ContainerAllocateResponse:
        desk, resource, ids = self._desk, demand.resource, tuple(self._desk.in_any_order(chosen))
        desk.holdings.mark(resource, ids)
        began = time.monotonic()
        try:
            response = await desk.plugins.connection(desk.manager.serving(resource)).allocate(ids)
        except (RpcError, RefusedError) as error:
            desk.holdings.recount()
            self._record(EventKind.ALLOCATE, resource, began, ids, str(error))
            raise RefusedError(str(error)) from error
        except asyncio.CancelledError:
            desk.holdings.recount()
            raise
        if response is None:
            # What was chosen stays marked as in use, and nobody holds it.
            text = "no containers return in allocation response "
            self._record(EventKind.ALLOCATE, resource, began, ids, text)
            raise RefusedError(text)
        self._record(EventKind.ALLOCATE, resource, began, ids)
        return response

    def _record(self, kind: EventKind, resource: str, began: float, ids: tuple[str, ...] = (), text: str = "") -> None:
        seconds = time.monotonic() - began
        self._desk.journal.record(Event(kind, resource, ids=ids, text=text, seconds=seconds))
