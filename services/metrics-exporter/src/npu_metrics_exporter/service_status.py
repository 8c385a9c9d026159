"""The exporter at one moment, as a value: is it alive, has it something to say."""

from dataclasses import dataclass

from npu_core.os_errors import removed_text

LEAST_TIMEOUT = 15.0
"""Seconds without a collection for which the process never counts as hung. A card that hangs delays one by two."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The exporter at one moment, as far as anybody outside is concerned.

    Attributes:
        heartbeat_age: seconds since the last collection, or the start; by a clock that does not step.
        interval: seconds between two collections.
        published: whether there is anything to scrape.
        removed: directories on the node that were removed, and that this process still has mounted.
    """

    heartbeat_age: float
    interval: float
    published: bool
    removed: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the process does anything at all: at most three intervals without a collection."""
        return self.heartbeat_age < max(3 * self.interval, LEAST_TIMEOUT) and not self.removed

    @property
    def complaint(self) -> str:
        """Why the process is not alive; empty if the process is alive."""
        if self.removed:
            return removed_text(self.removed)
        return "" if self.alive else "no collection for too long"

    @property
    def ready(self) -> bool:
        """Whether there is something to scrape, and it is not old. A host without a card has something to say too."""
        return self.published and self.alive
