"""The plugin at one moment, as a value."""

from dataclasses import dataclass

from npu_core.arch import Arch
from npu_device_plugin.inventory import Fleet
from npu_device_plugin.offer import Offer

HEARTBEAT_PATIENCE = 15.0
"""Seconds without a round of looks after which the process counts as hung. A hung card delays no round."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The plugin at one moment, as far as anybody outside is concerned.

    Attributes:
        heartbeat_age: seconds since the last round of looks.
        resources: each resource's name, offer, and whether the kubelet listens.
        fleet: the cards.
        stuck: cards that a read has not come back from.
        unasked: number of cards that could not be asked, because no thread, descriptor or memory was left.
        looked: whether a round was finished at all.
        unmapped: resource and id of what containers hold under ids that may mean any card.
        refused: families that are not offered, because their resource or socket name would not be valid, and why.
        removed: directories on the node that were removed, and that this process still has mounted.
        waiting_for: what the first list waits for, and why; empty if it does not wait.
    """

    heartbeat_age: float
    resources: tuple[tuple[str, Offer, bool], ...]
    fleet: Fleet
    stuck: int
    unasked: int = 0
    looked: bool = True
    unmapped: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[Arch, str], ...] = ()
    removed: tuple[str, ...] = ()
    waiting_for: str = ""

    @property
    def alive(self) -> bool:
        """Whether the process works through its loop, and its mounted directories still exist on the node."""
        return self.heartbeat_age < HEARTBEAT_PATIENCE and not self.removed

    @property
    def ready(self) -> bool:
        """Whether every resource is registered and listened to. Without a card there is nothing to be ready for."""
        is_settled = self.looked and not self.waiting_for
        return is_settled and self.alive and all(listening for _, _, listening in self.resources)
