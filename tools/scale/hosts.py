"""Simulated hosts of a kind."""

from npu_core.testing import CardPlan, rngd, warboy
from tools.scale.measured import HostKind


def plans(kind: HostKind) -> tuple[CardPlan, ...]:
    """The cards of a host of this kind."""
    make = warboy if kind.family == "warboy" else rngd
    return tuple(make(index) for index in range(kind.cards))
