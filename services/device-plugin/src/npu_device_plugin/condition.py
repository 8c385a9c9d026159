"""The plugin at one moment, as a value."""

from dataclasses import dataclass

from npu_device_plugin.inventory import Fleet, Offer

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
        looked: whether a round was finished at all.
    """

    heartbeat_age: float
    resources: tuple[tuple[str, Offer, bool], ...]
    fleet: Fleet
    stuck: int
    looked: bool = True

    @property
    def alive(self) -> bool:
        """Whether the process does anything at all."""
        return self.heartbeat_age < HEARTBEAT_PATIENCE

    @property
    def ready(self) -> bool:
        """Whether every resource is registered and listened to. Without a card there is nothing to be ready for."""
        return self.looked and self.alive and all(listening for _, _, listening in self.resources)
