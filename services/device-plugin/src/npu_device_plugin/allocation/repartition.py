"""When a card may be cut anew. Pure: what is known of who holds what, and what follows for each card.

The kubelet never says that a unit is free again, and replays old answers to containers that restart. So a card is cut
as the settings say only if no container can hold a unit that the new cut does not have; until then it stays as its
holders know it.
"""

from dataclasses import dataclass

from npu_core.arch import ArchSpec
from npu_core.cores import CoreRange
from npu_core.partition import FUSION, Partitioning, partitionings_of


@dataclass(frozen=True, slots=True)
class Cut:
    """How a card is cut.

    Attributes:
        partitioning: the policy in force on the card.
        pending: why it is not the one that was wished for, in words; None if it is.
    """

    partitioning: Partitioning
    pending: str | None = None


def cut_of(
    spec: ArchSpec,
    current: Partitioning | None,
    wish: Partitioning,
    held: frozenset[CoreRange] | None,
    traces: frozenset[CoreRange] = frozenset(),
) -> Cut:
    """How a card is to be cut now.

    Args:
        spec: the card's family.
        current: the policy in force; None for a card that was not cut yet.
        wish: what the settings ask for; a family that cannot be cut so gets whole cards.
        held: the core ranges that may be held, or None if nobody can tell.
        traces: then, those that something speaks for; they tell how a card was cut that we have not cut yet.
    """
    goal = wish if wish.fits(spec) else FUSION
    now = goal if current is None else current
    if held is None:
        if current is None:
            now = _policy_of_holders(spec, goal, traces)
        return Cut(goal) if now == goal else Cut(now, "it cannot be told whether its units are held")
    if held <= set(goal.core_ranges(spec)):
        return Cut(goal)
    names = ", ".join(f"pe{cores}" for cores in sorted(held))
    return Cut(_policy_of_holders(spec, now, held), f"{names} held by a container")


def _policy_of_holders(spec: ArchSpec, current: Partitioning, held: frozenset[CoreRange]) -> Partitioning:
    """The policy under which everything held is a unit; the current one if there is none, or it is one."""
    candidates = (current, *partitionings_of(spec))
    return next((policy for policy in candidates if held <= set(policy.core_ranges(spec))), current)
