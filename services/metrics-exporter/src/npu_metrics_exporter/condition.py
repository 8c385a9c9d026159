"""The exporter at one moment, as a value: is it alive, has it something to say."""

from dataclasses import dataclass

LEAST_PATIENCE = 15.0
"""Seconds without a collection for which the process never counts as hung. A card that hangs delays one by two."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The exporter at one moment, as far as anybody outside is concerned.

    Attributes:
        heartbeat_age: seconds since the last collection, or the start; by a clock that does not step.
        interval: seconds between two collections.
        published: whether there is anything to scrape.
    """

    heartbeat_age: float
    interval: float
    published: bool

    @property
    def alive(self) -> bool:
        """Whether the process does anything at all: at most three intervals without a collection."""
        return self.heartbeat_age < max(3 * self.interval, LEAST_PATIENCE)

    @property
    def ready(self) -> bool:
        """Whether there is something to scrape, and it is not old. A host without a card has something to say too."""
        return self.published and self.alive
