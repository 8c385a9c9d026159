"""Claims: what a source says that a container holds, and which cores of which card that may be. Pure: no I/O.

A device id is text that some plugin chose, perhaps another one than runs now. It may name a card in several ways, or
in none that is known here: then it may mean any card.

Source: the ids of the vendor's and of other device plugins; see docs/kubelet.md.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from npu_core.arch import Arch, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import CardKey, Device, PciAddress
from npu_core.errors import FormatError
from npu_core.partition import MAX_INDEX, UnitId

T = TypeVar("T")

DOMAIN = "furiosa.ai"
"""Resources and drivers of this domain, and of those below it, are taken to hand out NPUs."""

_CARD = re.compile(r"npu(0|[1-9][0-9]{0,2})", re.ASCII)
_UUID = re.compile(r"([0-9A-Za-z]{8}(?:-[0-9A-Za-z]{4}){3}-[0-9A-Za-z]{12})(?:_cores_([0-9]+(?:-[0-9]+)?))?", re.ASCII)
_FAMILY_WORDS = {Arch.WARBOY: ("warboy",), Arch.RENEGADE: ("renegade", "rngd")}


@dataclass(frozen=True, slots=True, order=True)
class Container:
    """A container of a pod on this node, by its names."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One device that one source says one container holds.

    Attributes:
        resource: the extended resource, ``beta.furiosa.ai/npu``; for Dynamic Resource Allocation the driver's name.
        device_id: the device's id, in whatever scheme the plugin or driver that gave it out used.
        numa_node: NUMA node that the kubelet has for the device; None for none.
        pod_uid: the pod, where the source names pods so; else empty.
        container: the container, where the source names it fully; else None.
        container_name: the container's name within its pod; may be empty.
        is_dynamic: whether the device was handed out by Dynamic Resource Allocation: no checkpoint names it.
        arch: the family of the card, where the source has kept what the container was given; else None. Ids of two
            families can be the same, and a resource may have been another family's when the container was admitted.
    """

    resource: str
    device_id: str
    numa_node: int | None = None
    pod_uid: str = ""
    container: Container | None = None
    container_name: str = ""
    is_dynamic: bool = False
    arch: Arch | None = None


@dataclass(frozen=True, slots=True)
class KnownCard:
    """A card that a claim may speak of.

    Attributes:
        device: the card as it was last known, present or not.
        former: numbers that the card had earlier, since this process knows it.
    """

    device: Device
    former: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Some cores of one card."""

    card: CardKey
    cores: CoreRange


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a device id may stand for.

    Attributes:
        places: cores that the id may stand for; more than one place only where families cannot be told apart.
        is_known: False if the id follows no known scheme, so that ``places`` is every card that it may mean.
    """

    places: frozenset[Place] = frozenset()
    is_known: bool = True


NOTHING = Meaning()
"""An id that stands for no card of this host."""


def is_of_domain(resource: str) -> bool:
    """Whether a resource or driver belongs to :data:`DOMAIN`: ``beta.furiosa.ai/npu``, ``npu.furiosa.ai``."""
    domain = resource.partition("/")[0]
    return domain == DOMAIN or domain.endswith(f".{DOMAIN}")


def families_of(resource: str, resources: Mapping[Arch, str]) -> tuple[Arch, ...]:
    """The families that a resource's devices may be of.

    Args:
        resource: the resource's name.
        resources: the names that are known for certain, by family. Any other name tells its family by its last word,
            ``.../npu-renegade`` or ``.../rngd``, or may be of every family.
    """
    if known := tuple(arch for arch, name in resources.items() if name == resource):
        return known
    name = resource.rpartition("/")[2] or resource
    words = set(re.split(r"[-./_]", name.casefold()))
    told = tuple(arch for arch, known_words in _FAMILY_WORDS.items() if words.intersection(known_words))
    return told or tuple(Arch)


def meaning_of(claim: Claim, cards: Collection[KnownCard], resources: Mapping[Arch, str]) -> Meaning:
    """What a claim's device id stands for on this host.

    Known schemes: a unit (``npu0pe0-1``), a card (``npu0``), a UUID, also with cores (``UUID_cores_0-3``), a PCI
    address, a serial number. Any other id of an NPU resource may mean any card of the resource's families.

    Args:
        claim: the claim.
        cards: the cards of this host, lost ones included.
        resources: see :func:`families_of`.
    """
    is_npu = is_of_domain(claim.resource) or claim.resource in resources.values()
    families = families_of(claim.resource, resources) if claim.arch is None else (claim.arch,)
    text = claim.device_id
    if unit := _parsed(UnitId.parse, text):
        return _meaning_of_unit(unit, families, is_npu=is_npu)
    if match := _UUID.fullmatch(text):
        return _meaning_of_uuid(match, cards, families, is_npu=is_npu)
    if pci := _parsed(PciAddress.parse, text):
        found = _places(cards, lambda card: card.device.pci == pci)
        doubtful = _places(cards, lambda card: card.device.pci is None and card.device.arch in families)
        return _found_or_doubtful(found, doubtful, is_npu=is_npu)
    return _meaning_of_other(text, cards, families) if is_npu else NOTHING


def _meaning_of_other(text: str, cards: Collection[KnownCard], families: Collection[Arch]) -> Meaning:
    """An id that only an NPU resource can have: a card's name, an identity of any form, or an unknown scheme."""
    if (card_name := _CARD.fullmatch(text)) and int(card_name[1]) <= MAX_INDEX:
        return _whole_card(int(card_name[1]), families)
    folded = text.casefold()
    if text and (found := _places(cards, lambda card: folded in _identities(card.device))):
        return Meaning(found)
    return Meaning(_places(cards, lambda card: card.device.arch in families), is_known=False)


def _meaning_of_unit(unit: UnitId, families: Iterable[Arch], *, is_npu: bool) -> Meaning:
    # A resource that had another family's devices before has ids that its family cannot have.
    for candidates in (families, Arch):
        places = [
            Place((arch, unit.index), unit.cores) for arch in candidates if arch_spec(arch).cores.encloses(unit.cores)
        ]
        if places:
            return Meaning(frozenset(places))
    # Cores that no family has: the number of the card is all that can be told.
    return _whole_card(unit.index, families) if is_npu else NOTHING


def _whole_card(index: int, families: Iterable[Arch]) -> Meaning:
    return Meaning(frozenset(Place((arch, index), arch_spec(arch).cores) for arch in families))


def _identities(device: Device) -> tuple[str, ...]:
    return tuple(text.casefold() for text in (device.uuid, device.serial) if text)


def _meaning_of_uuid(
    match: re.Match[str], cards: Collection[KnownCard], families: Collection[Arch], *, is_npu: bool
) -> Meaning:
    uuid, cores = match[1].casefold(), _parsed(CoreRange.parse, match[2]) if match[2] else None
    found = _places(cards, lambda card: (card.device.uuid or "").casefold() == uuid, cores)
    doubtful = _places(cards, lambda card: card.device.uuid is None and card.device.arch in families)
    return _found_or_doubtful(found, doubtful, is_npu=is_npu)


def _found_or_doubtful(found: frozenset[Place], doubtful: frozenset[Place], *, is_npu: bool) -> Meaning:
    """Cards that the id names; else, for an NPU resource, those that may be called so without saying it."""
    if found or not is_npu:
        return Meaning(found)
    return Meaning(doubtful, is_known=not doubtful)


def _places(
    cards: Iterable[KnownCard], is_meant: Callable[[KnownCard], bool], cores: CoreRange | None = None
) -> frozenset[Place]:
    return frozenset(
        Place(card.device.key, cores if cores and card.device.cores.encloses(cores) else card.device.cores)
        for card in cards
        if is_meant(card)
    )


def _parsed(parse: Callable[[str], T], text: str) -> T | None:
    try:
        return parse(text)
    except FormatError:
        return None
