"""Which of the free units to take for a container. Pure, total, and polynomial at any size.

In this order: what must be included; as few cards as possible; as few NUMA nodes as possible; cards close to each
other on the PCI bus; cards that are in part used already, so that whole ones stay whole; on a card, cores side by side.

"No preference" is an answer the kubelet accepts, an error is not: it would fail the pod. So every request that cannot
be satisfied, nonsense included, gets an empty answer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import accumulate, pairwise
from operator import itemgetter

from npu_core.device import PciAddress
from npu_core.partition import Unit

_UNKNOWN_NODE = -1
_FAR = 1 << 51
"""Further from every PCI address, whose domain may have 32 bits, than any two of them are from each other."""


@dataclass(frozen=True, slots=True)
class _FreeCard:
    """A card with units to give.

    Attributes:
        index: the card's number.
        node: its NUMA node; cards of unknown nodes count as one node of their own.
        place: its place on the PCI bus as a number; neighbours differ by little.
        units: the free ones, by core.
        free: how many those are.
    """

    index: int
    node: int
    place: int
    units: tuple[Unit, ...]
    free: int


def preferred(
    units: Iterable[Unit], available: Iterable[str], must_include: Iterable[str], size: int
) -> tuple[str, ...]:
    """The best ``size`` of the available units.

    Args:
        units: every unit of the resource, by which ids are known.
        available: ids that may be taken. Unknown ones are ignored, repeated ones count once.
        must_include: ids that are taken in any case; they count as available.
        size: how many are to be taken in all.

    Returns:
        Ids by card and core: exactly ``size`` known ids from ``available`` and ``must_include``, all of the latter
        among them. Nothing, if there is no such choice.
    """
    known = {unit.id: unit for unit in units}
    must = set(must_include)
    fixed = [known[unit_id] for unit_id in must if unit_id in known]
    free = [known[unit_id] for unit_id in set(available) - must if unit_id in known]
    wanted = size - len(fixed)
    if not 0 <= wanted <= len(free) or len(fixed) < len(must):
        return ()
    chosen = fixed + _choose(fixed, free, wanted)
    return tuple(unit.id for unit in sorted(chosen, key=_unit_order))


def _unit_order(unit: Unit) -> tuple[int, int]:
    return unit.device.index, unit.cores.first


def _choose(fixed: Sequence[Unit], free: Sequence[Unit], wanted: int) -> list[Unit]:
    cards = _free_cards(free)
    begun = {unit.device.index for unit in fixed}
    chosen: list[Unit] = []
    for card in sorted((card for card in cards if card.index in begun), key=lambda card: card.free):
        chosen += _side_by_side(card, min(wanted - len(chosen), card.free), fixed)
    others = [card for card in cards if card.index not in begun]
    selection = _best_cards(others, wanted - len(chosen), _anchors(fixed))
    for card in sorted(selection, key=lambda card: card.free):
        chosen += _side_by_side(card, min(wanted - len(chosen), card.free), ())
    return chosen


def _free_cards(free: Iterable[Unit]) -> list[_FreeCard]:
    by_card: dict[int, list[Unit]] = {}
    for unit in free:
        by_card.setdefault(unit.device.index, []).append(unit)
    return [_free_card(sorted(units, key=_unit_order)) for _, units in sorted(by_card.items())]


def _free_card(units: list[Unit]) -> _FreeCard:
    device = units[0].device
    node = _UNKNOWN_NODE if device.numa_node is None else device.numa_node
    return _FreeCard(device.index, node, _place(device.pci, device.index), tuple(units), len(units))


def _place(pci: PciAddress | None, index: int) -> int:
    """A number in which neighbours on the bus are near each other, and cards without an address far from the rest."""
    if pci is None:
        return _FAR + index
    # The bit left out keeps two domains further apart than anything within one.
    return pci.domain << 17 | pci.bus << 8 | pci.device << 3 | pci.function


def _anchors(fixed: Iterable[Unit]) -> list[_FreeCard]:
    """The cards that are taken already, as places to stay close to."""
    return _free_cards(fixed)


def _best_cards(cards: Sequence[_FreeCard], wanted: int, anchors: Sequence[_FreeCard]) -> list[_FreeCard]:
    if wanted < 1:
        return []
    begun = {anchor.node for anchor in anchors}
    choices = [choice for pool in _pools(cards, wanted, begun) for choice in _choices(pool, wanted, anchors)]
    return min(choices, key=lambda choice: _cost(choice, anchors))


def _pools(cards: Sequence[_FreeCard], wanted: int, begun: set[int]) -> Iterator[Sequence[_FreeCard]]:
    """The cards of each NUMA node, beside those of the nodes begun; of the fewest nodes that will do; and all."""
    nodes = {card.node for card in cards}
    for node in sorted(nodes):
        yield [card for card in cards if card.node in {node, *begun}]
    if len(nodes) > 1:
        few = _fewest_nodes(cards, wanted, begun)
        yield [card for card in cards if card.node in few]
        yield cards


def _fewest_nodes(cards: Sequence[_FreeCard], wanted: int, begun: set[int]) -> set[int]:
    """The fewest NUMA nodes, not counting those begun, whose cards suffice without being more than need be.

    Not every set of nodes is tried: node by node, the most units are kept that so many nodes and cards can have.
    """
    count = _fewest((card.free for card in cards), wanted) or 0
    best: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {(0, 0): (0, ())}
    for node in sorted({card.node for card in cards}):
        sums = list(accumulate(sorted((card.free for card in cards if card.node == node), reverse=True)))
        for (nodes, used), (units, chosen) in list(best.items()):
            for more, gain in enumerate(sums[: count - used], 1):
                place = (nodes + (node not in begun), used + more)
                if units + gain > best.get(place, (0, ()))[0]:
                    best[place] = (units + gain, (*chosen, node))
    return set(min((nodes, chosen) for (nodes, _), (units, chosen) in best.items() if units >= wanted)[1])


def _choices(pool: Sequence[_FreeCard], wanted: int, anchors: Sequence[_FreeCard]) -> Iterator[list[_FreeCard]]:
    """Sets of the fewest cards of the pool that have enough, as close to each other and the anchors as can be."""
    stretches = {_stretch((*window, *anchors)) for window in _windows(pool, wanted)}
    least = min((last - first for first, last in stretches), default=0)
    for first, last in sorted(stretches):
        if last - first == least:
            near = [card for card in pool if first <= card.place <= last]
            shape = _shape([card.free for card in near], wanted)
            yield [card for free, count in shape.items() for card in [c for c in near if c.free == free][:count]]


def _windows(pool: Sequence[_FreeCard], wanted: int) -> Iterator[list[_FreeCard]]:
    """From each card on, the neighbours on the bus up to where the fewest cards that must be have enough."""
    along = sorted(pool, key=lambda card: card.place)
    free = [card.free for card in along]
    count = _fewest(free, wanted)
    if count is None:
        return
    for first in range(len(along)):
        for last in range(first + count, len(along) + 1):
            if _largest(free[first:last], count) >= wanted:
                yield along[first:last]
                break


def _largest(free: list[int], count: int) -> int:
    """The sum of the ``count`` largest."""
    return sum(free if len(free) == count else nlargest(count, free))


def _stretch(cards: Iterable[_FreeCard]) -> tuple[int, int]:
    places = [card.place for card in cards]
    return min(places), max(places)


def _shape(free: Iterable[int], wanted: int) -> Counter[int]:
    """How many cards of which free count to take: the fewest cards, and among them the fullest-used that suffice.

    For each card in turn, the smallest free count is taken with which the largest of the others can still make it.
    """
    ascending = sorted(free)
    shape: Counter[int] = Counter()
    for count in reversed(range(_fewest(ascending, wanted) or 0)):
        rest = sum(ascending[len(ascending) - count :])
        # With the largest of those that are not among the rest it is enough in any case: none is counted twice.
        place = next(place for place, units in enumerate(ascending) if units + rest >= wanted)
        taken = ascending.pop(place)
        shape[taken] += 1
        wanted -= taken
    return shape


def _fewest(free: Iterable[int], wanted: int) -> int | None:
    """How many cards it takes at least; None if all of them are not enough."""
    sums = accumulate(sorted(free, reverse=True))
    return next((count for count, units in enumerate(sums, 1) if units >= wanted), None)


def _cost(choice: Sequence[_FreeCard], anchors: Sequence[_FreeCard]) -> tuple[int, int, int, int, tuple[int, ...]]:
    first, last = _stretch((*choice, *anchors))
    return (
        len(choice),
        len({card.node for card in (*choice, *anchors)}),
        last - first,
        sum(card.free for card in choice),
        tuple(sorted(card.index for card in choice)),
    )


def _side_by_side(card: _FreeCard, count: int, fixed: Iterable[Unit]) -> list[Unit]:
    """``count`` of the card's free units, close together, on the boundaries that the driver fuses cores at."""
    if count < 1:
        return []
    there = [unit.cores.first for unit in fixed if unit.device.index == card.index]
    windows = (card.units[first : first + count] for first in range(card.free - count + 1))
    scattered = [(_scatter(window, there), window) for window in windows]
    return list(min(scattered, key=itemgetter(0))[1])


def _scatter(window: tuple[Unit, ...], there: Sequence[int]) -> tuple[int, bool, int]:
    cores = sorted([unit.cores.first for unit in window] + list(there))
    width = len(window[0].cores)
    gaps = sum(later - earlier - width for earlier, later in pairwise(cores))
    # Cores are fused in blocks of two, four, ...: the smallest that so many could fit into.
    block = width << (len(cores) - 1).bit_length()
    straddling = cores[0] // block != cores[-1] // block
    return gaps, straddling, window[0].cores.first
