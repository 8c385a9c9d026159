"""Which container owns which cores of which card, from what the kubelet says containers hold. Pure: no I/O."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Self

from npu_core.arch import Arch
from npu_core.claims import Claim, Container, KnownCard, Place, families_of, is_of_domain, meaning_of
from npu_core.cores import CoreRange
from npu_core.device import CardKey

_MAY_NAME_A_CARD = re.compile(r"npu[0-9]+pe[0-9-]+|[0-9A-Za-z]{8}-[0-9A-Za-z_-]+|[0-9A-Fa-f:]+\.[0-7]", re.ASCII)
"""Device ids that can mean a card under a resource of any name: a unit, a UUID, a PCI address."""


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """One unit of a card, and the container that the kubelet gave it to.

    Attributes:
        cores: the unit's cores.
        resource: ``beta.furiosa.ai/npu``.
        container: who holds it.
        is_listed: whether PodResources lists it under this container. An ordinary init container is never listed.
    """

    cores: CoreRange
    resource: str
    container: Container
    is_listed: bool = field(compare=False)


@dataclass(frozen=True, slots=True)
class PodMap:
    """The owners of a node's cards.

    Attributes:
        owners: those of each card that has any: by first core, each once.
        unmapped: resource and device id of every NPU that a container holds and that is no card known here.
    """

    owners: Mapping[CardKey, tuple[Owner, ...]] = field(default_factory=dict)
    unmapped: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, claims: Iterable[Claim], cards: Collection[KnownCard]) -> Self:
        """Who owns what, of everything that containers hold.

        Args:
            claims: what the sources name. One device may stand under two pods, of which one has ended. A claim whose
                container is not known has no owner.
            cards: those of the node.
        """
        given = tuple(claims)
        meanings = _meanings(given, cards)
        owners: defaultdict[CardKey, dict[Owner, Owner]] = defaultdict(dict)
        for claim in given:
            if claim.container is None:
                continue
            for place in meanings.get((claim.resource, claim.device_id), ()):
                owner = Owner(place.cores, claim.resource, claim.container, is_listed=not claim.pod_uid)
                if owner.is_listed or owner not in owners[place.card]:
                    owners[place.card][owner] = owner
        unmapped = {name for name, places in meanings.items() if not places and is_of_domain(name[0])}
        return cls({card: tuple(sorted(owners[card].values())) for card in sorted(owners)}, frozenset(unmapped))

    def of_card(self, card: CardKey) -> tuple[Owner, ...]:
        """The owners of a card's units, by first core; the rows of ``furiosa_npu_pod_info``."""
        return self.owners.get(card, ())

    def sole_owner(self, card: CardKey, cores: CoreRange) -> Container | None:
        """The container that holds all of these cores, if none else holds any of them.

        It may hold them as several units. For a series of the whole card, ask with all its cores. An init container
        does not count beside the containers of its pod: the kubelet gives them what it had.
        """
        touching = [owner for owner in self.of_card(card) if owner.cores.overlaps(cores)]
        if len({_pod(owner) for owner in touching}) == 1:
            touching = [owner for owner in touching if owner.is_listed] or touching
        containers = {owner.container for owner in touching}
        held = {core for owner in touching for core in owner.cores}
        return containers.pop() if len(containers) == 1 and held.issuperset(cores) else None

    @property
    def conflicts(self) -> frozenset[CardKey]:
        """Cards of which two pods hold the same core, as far as the kubelet tells."""
        return frozenset(
            card
            for card, owners in self.owners.items()
            if any(
                _pod(one) != _pod(other) and one.cores.overlaps(other.cores) for one, other in combinations(owners, 2)
            )
        )


def may_be_npu(claim: Claim) -> bool:
    """Whether a claim can be of an NPU of any host. False for most of what a node's containers hold."""
    return is_of_domain(claim.resource) or _MAY_NAME_A_CARD.fullmatch(claim.device_id) is not None


def npus_of(claims: Iterable[Claim], cards: Collection[KnownCard]) -> tuple[Claim, ...]:
    """The claims of NPUs: by their resource, or because the device id means a card of this host."""
    given = tuple(claims)
    meanings = _meanings(given, cards)
    return tuple(claim for claim in given if is_of_domain(claim.resource) or meanings[claim.resource, claim.device_id])


def _pod(owner: Owner) -> tuple[str, str]:
    return owner.container.namespace, owner.container.pod


_Names = Mapping[str, Collection[str]]
"""Device ids by resource."""


def _meanings(claims: Iterable[Claim], cards: Collection[KnownCard]) -> dict[tuple[str, str], frozenset[Place]]:
    """The cores that each held device id stands for; none if that cannot be told, or if they are of no card here."""
    ids: defaultdict[str, dict[str, Arch | None]] = defaultdict(dict)
    for claim in claims:
        # Only the checkpoint has the family: an entry of PodResources for the same id does not take it away.
        ids[claim.resource][claim.device_id] = claim.arch or ids[claim.resource].get(claim.device_id)
    return {
        (resource, device_id): _places(Claim(resource, device_id, arch=arch), family, cards)
        for resource, device_ids in ids.items()
        for family in [_family_of(resource, ids, cards)]
        for device_id, arch in device_ids.items()
    }


def _places(claim: Claim, family: Arch | None, cards: Collection[KnownCard]) -> frozenset[Place]:
    known = {family: claim.resource} if family is not None else {}
    meaning = meaning_of(claim, cards, known)
    if not meaning.is_known:
        return frozenset()
    there = {card.device.key for card in cards}
    moved = {(card.device.arch, index): card.device.key for card in cards for index in card.former}
    # The kubelet knows a card by the number that it had when the container was admitted.
    places = (
        place if place.card in there else Place(moved.get(place.card, place.card), place.cores)
        for place in meaning.places
    )
    found = frozenset(place for place in places if place.card in there)
    return found if len({place.card for place in found}) == 1 else frozenset()


def _family_of(resource: str, ids: _Names, cards: Collection[KnownCard]) -> Arch | None:
    """The family that a resource of this domain is of, where its name does not tell and the node has two.

    The plain name belongs to a family whose own name is not beside it; of two such to the one that more of the held
    ids can be of, and of equals to the first.
    """
    if not is_of_domain(resource):
        return None
    if len(families_of(resource, {})) == 1:
        return None
    beside = (families_of(other, {}) for other in ids if other.startswith(f"{resource}-"))
    named = {family for families in beside if len(families) == 1 for family in families}
    families = [arch for arch in Arch if arch in {card.device.arch for card in cards} - named]
    return max(families, key=lambda arch: _fitting(resource, arch, ids[resource], cards), default=None)


def _fitting(resource: str, arch: Arch, device_ids: Iterable[str], cards: Collection[KnownCard]) -> int:
    """How many of the ids can be of a family's cards on this host."""
    own = [card for card in cards if card.device.arch is arch]
    return sum(bool(_places(Claim(resource, device_id), arch, own)) for device_id in device_ids)
