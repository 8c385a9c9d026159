"""The discovery at one moment, as a value: is it alive, is it doing its job."""

from dataclasses import dataclass

from npu_core.os_errors import removed_text
from npu_feature_discovery.labels.table import Labels

LOOK_TIMEOUT = 30.0
"""Seconds that the loop may be at one look and one write. It turns every second, and a card that hangs holds it for
two."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The discovery at one moment, as far as anybody outside is concerned.

    Attributes:
        heartbeat_age: seconds since the loop last turned.
        patience: seconds after which a loop that does not turn counts as hung.
        labels: what the last look makes it publish; None while nothing is known.
        cards: how many cards the last good look found; None before it.
        stuck: cards that a read has not come back from.
        look_failure: why the last look failed; empty if it did not.
        publish_failure: why publishing failed last; empty if it did not.
        removed: directories on the node that were removed, and that this process still has mounted.
        published: whether the labels are where they belong, as far as the last attempt tells.
    """

    heartbeat_age: float
    patience: float
    labels: Labels | None = None
    cards: int | None = None
    stuck: int = 0
    look_failure: str = ""
    publish_failure: str = ""
    published: bool = False
    removed: tuple[str, ...] = ()

    @property
    def why_not_alive(self) -> str:
        """Why the process has to be restarted: it hangs, or a mounted directory was removed; empty if it is alive."""
        if self.removed:
            return removed_text(self.removed)
        return "" if self.heartbeat_age < self.patience else f"the loop has not turned for {self.heartbeat_age:.0f} s"

    @property
    def why_not_ready(self) -> str:
        """Why the labels are not published, or may not be true now; empty if they are."""
        if self.why_not_alive:
            return self.why_not_alive
        if self.look_failure:
            return f"cannot look at the host: {self.look_failure}"
        if self.publish_failure:
            return f"cannot publish: {self.publish_failure}"
        return "" if self.published else "the labels are not published yet"
