"""Which devices a container gets: the decision alone, step by step in the kubelet's order.

The plugin's preference is asked for in the middle of it, so the decision is a generator: it yields what to
ask and is sent the answer. Whoever drives it does the talking.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from testkit.standins.kubelet import gotext
from testkit.standins.kubelet.errors import RefusedError
from testkit.standins.kubelet.topology import Affinity


@dataclass(frozen=True, slots=True)
class Demand:
    """What one container wants of one resource."""

    pod_uid: str
    container: str
    resource: str
    count: int


@dataclass(frozen=True, slots=True)
class Stock:
    """The device sets a decision is made on."""

    healthy: frozenset[str] | None
    """None when the resource is not known."""
    in_use: frozenset[str]
    held: frozenset[str] | None
    """What the container already has; None when nothing."""
    reusable: frozenset[str]
    """What the pod's init containers had."""

    @property
    def available(self) -> frozenset[str]:
        """Healthy and not in use."""
        return (self.healthy or frozenset()) - self.in_use


@dataclass(frozen=True, slots=True)
class Rules:
    """Where generations differ."""

    rechecks_held: bool
    unregistered: str
    """The text for an unknown resource, before its name."""


@dataclass(frozen=True, slots=True)
class Question:
    """What GetPreferredAllocation is asked."""

    available: frozenset[str]
    must_include: frozenset[str]
    size: int


Decision = Generator[Question, AbstractSet[str], frozenset[str] | None]
"""Yields at most one question, is sent the preferred ids, returns the choice; None keeps what is held."""


class _Pick:
    """Devices taken so far. A pool with more than is needed gives them in random order, as Go's sets do."""

    def __init__(self, count: int, rng: random.Random) -> None:
        self._count = count
        self._rng = rng
        self.ids: frozenset[str] = frozenset()

    @property
    def missing(self) -> int:
        return self._count - len(self.ids)

    def take(self, pool: AbstractSet[str]) -> bool:
        """Take what is missing; whether that completes the pick."""
        fresh = sorted(pool - self.ids)
        self.ids |= frozenset(self._rng.sample(fresh, min(self.missing, len(fresh))))
        return self.missing == 0


def choose(demand: Demand, stock: Stock, affinity: Affinity, rules: Rules, rng: random.Random) -> Decision:
    """Decide.

    Args:
        demand: What is wanted.
        stock: What there is.
        affinity: `stock.available`, split by the topology manager's hint.
        rules: The generation's.
        rng: For everything random.

    Raises:
        RefusedError: With the device manager's text.
    """
    if _keeps_what_it_has(demand, stock, rules):
        return None
    pick = _Pick(demand.count, rng)
    if pick.take(stock.reusable):
        return pick.ids
    _check_enough(demand, pick, stock)
    if pick.missing < len(affinity.aligned):
        preferred = yield Question(affinity.aligned | pick.ids, pick.ids, demand.count)
        pools = [preferred & affinity.aligned, affinity.aligned]
    elif pick.take(affinity.aligned):
        return pick.ids
    else:
        preferred = yield Question(stock.available | pick.ids, pick.ids, demand.count)
        pools = [preferred & stock.available, affinity.unaligned, affinity.indifferent]
    return _filled(demand, pick, pools)


def _filled(demand: Demand, pick: _Pick, pools: list[AbstractSet[str]]) -> frozenset[str]:
    if any(pick.take(pool) for pool in pools):
        return pick.ids
    raise RefusedError(
        f"unexpectedly allocated less resources than required. Requested: {demand.count}, Got: {len(pick.ids)}"
    )


def _check_enough(demand: Demand, pick: _Pick, stock: Stock) -> None:
    if len(stock.available) < pick.missing:
        raise RefusedError(
            f"requested number of devices unavailable for {demand.resource}. "
            f"Requested: {pick.missing}, Available: {len(stock.available)}"
        )


def _keeps_what_it_has(demand: Demand, stock: Stock, rules: Rules) -> bool:
    if stock.held is None:
        _check_supply(demand, stock, rules)
        return False
    if len(stock.held) != demand.count:
        raise RefusedError(
            f"pod {gotext.quote(demand.pod_uid)} container {gotext.quote(demand.container)} changed request "
            f"for resource {gotext.quote(demand.resource)} from {len(stock.held)} to {demand.count}"
        )
    if rules.rechecks_held:
        _check_supply(demand, stock, rules)
        _check_held(demand.resource, stock.held, stock.healthy or frozenset())
    return True


def _check_supply(demand: Demand, stock: Stock, rules: Rules) -> None:
    if stock.healthy is None:
        raise RefusedError(f"{rules.unregistered} {demand.resource}")
    if not stock.healthy:
        raise RefusedError(f"no healthy devices present; cannot allocate unhealthy devices {demand.resource}")


def _check_held(resource: str, held: frozenset[str], healthy: frozenset[str]) -> None:
    if not held <= healthy:
        raise RefusedError(
            f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
        )
