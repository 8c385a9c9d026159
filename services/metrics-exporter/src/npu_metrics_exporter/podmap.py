"""Which container owns which cores of which card, from what the kubelet says containers hold."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol, Self

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import CardKey
from npu_core.errors import FormatError
from npu_core.partition import UnitId, partitionings_of

RESOURCE_PREFIX = "beta.furiosa.ai/"
"""What the device plugin's resources begin with, unless it was given other names."""


class Held(Protocol):
    """Devices of one resource that one container holds, as :class:`npu_core.kubelet.Holding` has them.

    That class comes with gRPC; this one lets decisions do without.
    """

    @property
    def namespace(self) -> str: ...  # noqa: D102
    @property
    def pod(self) -> str: ...  # noqa: D102
    @property
    def container(self) -> str: ...  # noqa: D102
    @property
    def resource(self) -> str: ...  # noqa: D102
    @property
    def device_ids(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, order=True)
class Container:
    """A container of a pod on this node, by its names."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """One unit of a card, and the container that the kubelet gave it to.

    Attributes:
        cores: the unit's cores.
        resource: ``beta.furiosa.ai/npu``.
        container: who holds it.
    """

    cores: CoreRange
    resource: str
    container: Container


@dataclass(frozen=True, slots=True)
class PodMap:
    """The owners of a node's cards.

    Attributes:
        owners: those of each card that has any: by first core, each once.
        unknown: resource and device id of what is held below our prefix and is no unit of any card we know.
    """

    owners: Mapping[CardKey, tuple[Owner, ...]] = field(default_factory=dict)
    unknown: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, holdings: Iterable[Held], cards: Collection[CardKey], prefix: str = RESOURCE_PREFIX) -> Self:
        """Who owns what, of everything that containers hold.

        Args:
            holdings: the kubelet's answer. One device may stand under two pods, of which one has ended.
            cards: those of the node.
            prefix: what the resources of NPUs begin with; others are somebody else's.
        """
        ours = [(held, held.device_ids) for held in holdings if held.resource.startswith(prefix)]
        ids: dict[str, set[str]] = {}
        for held, device_ids in ours:
            ids.setdefault(held.resource, set()).update(device_ids)
        units = _units(ids, cards)
        owners: dict[CardKey, set[Owner]] = {}
        for held, device_ids in ours:
            container = Container(held.namespace, held.pod, held.container)
            for device_id in device_ids:
                if unit := units.get((held.resource, device_id)):
                    card, cores = unit
                    owners.setdefault(card, set()).add(Owner(cores, held.resource, container))
        return cls(
            {card: tuple(sorted(owners[card])) for card in sorted(owners)},
            frozenset((resource, text) for resource, texts in ids.items() for text in texts) - units.keys(),
        )

    def of_card(self, card: CardKey) -> tuple[Owner, ...]:
        """The owners of a card's units, by first core; the rows of ``furiosa_npu_pod_info``."""
        return self.owners.get(card, ())

    def sole_owner(self, card: CardKey, cores: CoreRange) -> Container | None:
        """The container that holds all of these cores, if none else holds any of them.

        It may hold them as several units. For a series of the whole card, ask with all its cores.
        """
        touching = [owner for owner in self.of_card(card) if owner.cores.overlaps(cores)]
        containers = {owner.container for owner in touching}
        held = {core for owner in touching for core in owner.cores}
        return containers.pop() if len(containers) == 1 and held.issuperset(cores) else None

    @property
    def conflicts(self) -> frozenset[CardKey]:
        """Cards of which two containers hold the same core, as far as the kubelet tells."""
        return frozenset(
            card
            for card, owners in self.owners.items()
            if any(
                one.container != other.container and one.cores.overlaps(other.cores)
                for one, other in combinations(owners, 2)
            )
        )


_Units = dict[tuple[str, str], tuple[CardKey, CoreRange]]
"""Card and cores by resource and device id."""


def _units(ids: Mapping[str, Collection[str]], cards: Collection[CardKey]) -> _Units:
    named = {resource: arch for resource in ids if (arch := _named_family(resource)) is not None}
    units: _Units = {}
    for resource, texts in ids.items():
        readings = [_units_of(arch, texts, cards) for arch in _families(resource, named, cards)]
        best = max(readings, key=len, default={})  # of equals the first: that is the family with the plain name
        units.update({(resource, text): unit for text, unit in best.items()})
    return units


def _named_family(resource: str) -> Arch | None:
    """The family at the end of a resource's name, as the plugin appends it to a node's second one."""
    return next((arch for arch in Arch if resource.endswith((f"-{arch}", f"/{arch}"))), None)


def _families(resource: str, named: Mapping[str, Arch], cards: Collection[CardKey]) -> list[Arch]:
    """Which families a resource may be of: the plain name is of one whose own name is not beside it."""
    if resource in named:
        return [named[resource]]
    others = {arch for name, arch in named.items() if name == f"{resource}-{arch}"}
    present = {arch for arch, _ in cards}
    return [arch for arch in Arch if arch in present - others]


def _units_of(arch: Arch, texts: Collection[str], cards: Collection[CardKey]) -> dict[str, tuple[CardKey, CoreRange]]:
    """Those ids that a card of this family could have been given out by."""
    ranges = _advertised(arch_spec(arch))
    units = {text: unit for text in texts if (unit := _parsed(text)) is not None}
    return {
        text: ((arch, unit.index), unit.cores)
        for text, unit in units.items()
        if (arch, unit.index) in cards and unit.cores in ranges
    }


def _advertised(spec: ArchSpec) -> frozenset[CoreRange]:
    return frozenset(cores for cut in partitionings_of(spec) for cores in cut.core_ranges(spec))


def _parsed(text: str) -> UnitId | None:
    try:
        return UnitId.parse(text)
    except FormatError:
        return None
