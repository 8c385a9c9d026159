"""A small node as values: a kubelet by the rules that a real one was seen to follow, and the plugin's own decisions.

Nothing of the plugin is copied here: what is held is decided by :class:`npu_core.allocations.Sources`, how cards are
cut by :class:`npu_device_plugin.allocation.inventory.Fleet`, what is listed by
:func:`npu_device_plugin.allocation.resource_state.offers`.

The rules of the kubelet:

* PodResources lists the app containers and sidecars of the pods that it knows, and no ordinary init container.
* A kubelet that started without its API server knows no pod until the API server is back. It then drops no pod either.
* It drops pods that ended when it is asked for its pods, and at an admission.
* It writes its checkpoint some time after an admission, and at every list message, at no other time. If it dies
  before, the pod is admitted anew.
* An admission takes healthy units that are not in its books. A container may take over what an init container of its
  pod has.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from npu_core.allocations import Sources, join
from npu_core.arch import Arch
from npu_core.claims import Claim, Container
from npu_core.device import Device, DeviceFile, PciAddress
from npu_core.health import HEALTHY, HealthReport, HealthStatus
from npu_core.parse.devfs import parse_device_file
from npu_core.partition import FUSION, Partitioning, UnitId
from npu_core.testing import warboy
from npu_core.testing.plan import all_suffixes
from npu_device_plugin.allocation.disabled import DisabledDevice
from npu_device_plugin.allocation.inventory import Fleet
from npu_device_plugin.allocation.repartition import Cut
from npu_device_plugin.allocation.resource_state import offers

RESOURCE = "beta.furiosa.ai/npu"
RESOURCES = {Arch.WARBOY: RESOURCE}
DISABLED = (DisabledDevice("npu0"),)


class Role(StrEnum):
    """What a container is to its pod."""

    INIT = "init"
    """Runs to its end before the others. Its units stay in the kubelet's books for the pod's whole life."""
    SIDECAR = "sidecar"
    """An init container that goes on running."""
    MAIN = "main"


PODS: tuple[tuple[Role, ...], ...] = (
    (Role.INIT,),
    (Role.SIDECAR, Role.MAIN),
    (Role.INIT, Role.MAIN),
)
"""The pods: the containers of each that ask for one unit, in the order of their admission."""


class Life(StrEnum):
    """How far a pod got."""

    NEVER = "never"
    LIVE = "live"
    ENDED = "ended"


class Entry(NamedTuple):
    """One unit in the kubelet's books."""

    pod: int
    role: Role
    unit: str


class _Claim(Claim):
    """A claim of which there is one object for equal values, so that comparing takes no time: millions are."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True, slots=True)
class Listing:
    """An answer of PodResources: its claims, and whether any pod is listed."""

    claims: tuple[Claim, ...] = ()
    knows_pods: bool = False


NOTHING_KNOWN = Sources()

UnitHealth = tuple[tuple[str, bool], ...]
"""A list as the kubelet takes it: ids, and whether each is healthy."""


class Node(NamedTuple):
    """The node at one moment.

    Attributes:
        lives: of each pod.
        held: the units of every live pod, whatever the kubelet knows: what its containers can open.
        books: the kubelet's memory.
        knows_pods: whether the kubelet has heard of its pods.
        api_server: whether there is one.
        offered: the list that the kubelet was sent last, by unit id.
        file: the checkpoint.
        stamp: number of the checkpoint's writing.
        sources: what the plugin was told.
        partitionings: how the plugin has cut each card; None before it decided.
        offer: what the plugin answers Allocate by; None before its first list.
        answer: an answer of PodResources that the plugin has not read yet.
        wish: ``defaultPe``.
        disabled: whether card 0 is disabled.
        writing: the pod that is admitted and not written down yet; None if the kubelet has nothing to write.
        is_lost: whether card 0 is off the bus.
        knows_card: whether the plugin's process has ever seen card 0.
    """

    lives: tuple[Life, ...] = (Life.NEVER,) * len(PODS)
    held: frozenset[Entry] = frozenset()
    books: frozenset[Entry] = frozenset()
    knows_pods: bool = True
    api_server: bool = True
    offered: UnitHealth = ()
    file: frozenset[Entry] = frozenset()
    stamp: int = 0
    sources: Sources = NOTHING_KNOWN
    partitionings: tuple[Partitioning | None, ...] = (None, None)
    offer: UnitHealth | None = None
    answer: Listing | None = None
    wish: Partitioning = FUSION
    disabled: bool = False
    writing: int | None = None
    is_lost: bool = False
    knows_card: bool = True

    # -- the kubelet ----------------------------------------------------------------------------------------------

    def with_writing(self) -> "Node":
        """After the kubelet has written its checkpoint."""
        return self._replace(file=self.books, stamp=self.stamp + 1, writing=None)

    def with_drops(self) -> "Node":
        """After the kubelet has dropped the pods that ended, if it knows its pods."""
        if not self.knows_pods:
            return self
        return self._replace(books=frozenset(entry for entry in self.books if self.lives[entry.pod] is Life.LIVE))

    def listing(self) -> Listing:
        """What PodResources answers now."""
        if not self.knows_pods:
            return Listing()
        live = [pod for pod, life in enumerate(self.lives) if life is Life.LIVE]
        claims = (_claim(entry, named=True) for entry in sorted(self.books) if entry.role is not Role.INIT)
        return Listing(tuple(claim for claim in claims), bool(live))

    def choices(self, pod: int, role: Role) -> Iterator[str]:
        """The units that the kubelet may choose for a container."""
        mine = {entry.unit for entry in self.books if entry.pod == pod and entry.role is Role.INIT}
        taken = {entry.unit for entry in self.books}
        if role is Role.MAIN and mine:
            yield from sorted(mine)
            return
        seen: set[str] = set()
        for unit, healthy in self.offered:
            card = unit.partition("pe")[0]
            # The PEs of one card are alike, so one of those that are free stands for all.
            if healthy and unit not in taken and card not in seen:
                seen.add(card)
                yield unit

    # -- the plugin -----------------------------------------------------------------------------------------------

    def with_answer(self, listing: Listing | None) -> "Node":
        """After PodResources answered, or did not."""
        if listing is None:
            return self._replace(sources=self.sources.without_listing())
        return self._replace(sources=self.sources.with_listing(listing.claims, knows_pods=listing.knows_pods))

    def with_look(self) -> "Node":
        """After the plugin looked at the checkpoint."""
        if self.sources.is_recorded and self.sources.stamp == self.stamp:
            return self
        claims = tuple(_claim(entry, named=False) for entry in sorted(self.file))
        return self._replace(sources=self.sources.with_checkpoint(claims, self.stamp, RESOURCES))

    def with_publishing(self) -> "Node":
        """After the plugin decided, and sent its list if it is another one than before."""
        sources = self.sources
        partitionings, offer = _decided(
            _Question(
                claims=sources.claims,
                grants=frozenset(sources.grants),
                is_recorded=sources.is_recorded,
                partitionings=self.partitionings,
                wish=self.wish,
                disabled=self.disabled,
                card=None if not self.knows_card else not self.is_lost,
            )
        )
        decided = self._replace(partitionings=partitionings, offer=offer)
        return decided if offer == self.offered else decided.with_list()

    def with_list(self) -> "Node":
        """After the plugin sent its list, changed or not."""
        assert self.offer is not None
        return self._replace(offered=self.offer).with_writing()

    def with_allocation(self, pod: int, role: Role, unit: str) -> "Node | None":
        """After Allocate was answered and the kubelet noted it; None if the plugin refuses."""
        if (unit, True) not in (self.offer or ()):
            return None
        entry = Entry(pod, role, unit)
        sources = self.sources.with_grant(Arch.WARBOY, [UnitId.parse(unit)], self.stamp)
        return self._replace(sources=sources, books=self.books | {entry}, held=self.held | {entry})

    # -- what must hold -------------------------------------------------------------------------------------------

    def double_holds(self) -> Iterator[str]:
        """Cores that two pods hold."""
        held = sorted(self.held)
        for place, one in enumerate(held):
            for other in held[:place]:
                if one.pod != other.pod and _share_cores(one.unit, other.unit):
                    yield f"two pods hold one core: {one.unit} of pod {one.pod}, {other.unit} of pod {other.pod}"

    def unlisted(self) -> Iterator[str]:
        """Held units that the last list lacks."""
        listed = {unit for unit, _ in self.offered}
        if self.offered:
            yield from (
                f"{entry.unit} of pod {entry.pod} is not listed"
                for entry in sorted(self.held)
                if entry.unit not in listed
            )

    def problems(self) -> Iterator[str]:
        """What is wrong; nothing if all is well."""
        yield from self.double_holds()
        yield from self.unlisted()

    def key(self) -> Hashable:
        """What tells two nodes apart. Writings of the checkpoint count by their order only."""
        sources = self.sources
        grants = [(unit, given.stamp, given.missed) for (_, unit), given in sources.grants.items()]
        stamps = {self.stamp, *(stamp for _, stamp, _ in grants)}
        if sources.stamp is not None:
            stamps.add(sources.stamp)
        rank = {stamp: place for place, stamp in enumerate(sorted(stamps, key=_number))}
        return (
            self.lives,
            self.held,
            self.books,
            self.knows_pods,
            self.api_server,
            self.offered,
            self.file,
            rank[self.stamp],
            (sources.recorded, rank.get(sources.stamp), sources.is_recorded, sources.listed, sources.is_listed),
            frozenset((unit, rank[stamp], missed) for unit, stamp, missed in grants),
            self.partitionings,
            self.offer,
            self.answer,
            self.wish,
            self.disabled,
            self.writing,
            self.is_lost,
            self.knows_card,
        )


def _number(stamp: Hashable) -> int:
    assert isinstance(stamp, int)
    return stamp


@cache
def _claim(entry: Entry, *, named: bool) -> Claim:
    if named:
        return _Claim(RESOURCE, entry.unit, 0, container=Container("default", f"pod{entry.pod}", entry.role))
    return _Claim(RESOURCE, entry.unit, 0, pod_uid=f"uid{entry.pod}", container_name=entry.role)


@cache
def _share_cores(one: str, other: str) -> bool:
    first, second = UnitId.parse(one), UnitId.parse(other)
    return first.index == second.index and first.cores.overlaps(second.cores)


def _card(index: int) -> Device:
    plan = warboy(index)
    files: list[DeviceFile] = [parse_device_file(plan.spec, plan.name + suffix) for suffix in all_suffixes(plan.spec)]
    return Device(index, Arch.WARBOY, uuid=plan.uuid, pci=PciAddress.parse(plan.pci), numa_node=0, files=tuple(files))


def _fleet() -> Fleet:
    cards = [_card(0), _card(1)]
    fleet = Fleet().with_devices(cards)
    for card in cards:
        fleet = fleet.with_look(card.key, HEALTHY, 0.0)
    return fleet


FLEET = _fleet()
LOST = HealthReport(HealthStatus.UNHEALTHY, ("the card is gone from /sys",))


@dataclass(frozen=True, slots=True)
class _Question:
    """All that a decision depends on."""

    claims: tuple[Claim, ...]
    grants: frozenset[tuple[Arch, UnitId]]
    is_recorded: bool
    partitionings: tuple[Partitioning | None, ...]
    wish: Partitioning
    disabled: bool
    card: bool | None
    """Whether card 0 is there; None if it is not and the plugin's process has never seen it."""


@cache
def _decided(question: _Question) -> tuple[tuple[Partitioning | None, ...], UnitHealth]:
    """How the plugin cuts the cards and what it offers, by the code that runs on nodes."""
    cards = [
        replace(card, cut=None if partitioning is None else Cut(partitioning))
        for card, partitioning in zip(FLEET.cards, question.partitionings, strict=True)
    ]
    if question.card is None:
        del cards[0]
    fleet = Fleet(tuple(cards))
    if question.card is False:
        fleet = fleet.with_look(cards[0].device.key, LOST, 1.0, present=False)
    is_complete = question.is_recorded
    allocations = join(question.claims, question.grants, fleet.known_cards, RESOURCES, is_complete=is_complete)
    fleet = fleet.with_cuts(question.wish, allocations)
    (offer,) = offers(fleet, question.wish, DISABLED if question.disabled else (), allocations)
    partitionings = tuple(card.cut.partitioning if card.cut else None for card in fleet.cards)
    if question.card is None:
        partitionings = (None, *partitionings)
    return partitionings, tuple((unit.id, unit.healthy) for unit in offer.listing)
