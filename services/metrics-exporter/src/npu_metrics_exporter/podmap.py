"""Which container owns which cores of which card, from what the kubelet says containers hold."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol, Self

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.errors import FormatError
from npu_core.partition import UnitId, partitionings_of

CardKey = tuple[Arch, int]
"""Which card of a node: two families may both have an ``npu0``."""
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
        raise NotImplementedError

    def of_card(self, card: CardKey) -> tuple[Owner, ...]:
        """The owners of a card's units, by first core; the rows of ``furiosa_npu_pod_info``."""
        return self.owners.get(card, ())

    def sole_owner(self, card: CardKey, cores: CoreRange) -> Container | None:
        """The container that holds all of these cores, if none else holds any of them.

        It may hold them as several units. For a series of the whole card, ask with all its cores.
        """
        raise NotImplementedError

    @property
    def conflicts(self) -> frozenset[CardKey]:
        """Cards of which two containers hold the same core, as far as the kubelet tells."""
        raise NotImplementedError
