"""What containers hold, made up."""

from npu_core.allocations import Allocations
from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.device import CardKey
from npu_core.partition import UnitId

UNKNOWN = Allocations()
"""Nobody can tell what is held."""


def holding(*ids: str, arch: Arch = Arch.WARBOY, others: tuple[str, ...] = (), is_complete: bool = True) -> Allocations:
    """These units are held, and nothing else.

    Args:
        ids: units held by the ids that the plugin gives them.
        arch: their family.
        others: cores held under another name, written as units.
        is_complete: whether everything that is held is known.
    """
    return Allocations(is_complete=is_complete, units=_by_card(arch, ids), others=_by_card(arch, others))


def _by_card(arch: Arch, ids: tuple[str, ...]) -> dict[CardKey, frozenset[CoreRange]]:
    cards: dict[CardKey, frozenset[CoreRange]] = {}
    for unit in map(UnitId.parse, ids):
        cards[arch, unit.index] = cards.get((arch, unit.index), frozenset()) | {unit.cores}
    return cards
