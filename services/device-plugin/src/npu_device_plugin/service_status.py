"""The plugin at one moment, as a value."""

from dataclasses import dataclass

from npu_core.arch import Arch
from npu_core.os_errors import removed_text
from npu_device_plugin.allocation.inventory import Fleet
from npu_device_plugin.allocation.resource_state import Offer

HEARTBEAT_TIMEOUT = 15.0
"""Seconds without a round of looks after which the process counts as hung. A hung card delays no round."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
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
    def why_not_alive(self) -> str:
        """Why the process has to be restarted: it hangs, or a mounted directory was removed; empty if it is alive."""
        if self.removed:
            return removed_text(self.removed)
        return "" if self.heartbeat_age < HEARTBEAT_TIMEOUT else "the cards were not looked at for too long"

    @property
    def why_not_ready(self) -> str:
        """Why some resource is not registered or not listened to. Without a card there is nothing to be ready for."""
        if not self.looked:
            return "the cards were not looked at yet"
        if self.waiting_for:
            return f"waiting for {self.waiting_for}"
        missing = ", ".join(name for name, _, listening in self.resources if not listening)
        return f"not registered: {missing}" if missing else self.why_not_alive
