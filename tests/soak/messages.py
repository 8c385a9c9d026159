"""Whether the plugin told the kubelet only what was news to it. Pure, over the kubelet's events."""

from dataclasses import dataclass, replace

from standins.kubelet import Event, EventKind, PluginDevice

_NEW_READER = frozenset({EventKind.REGISTERED, EventKind.STREAM_ENDED, EventKind.STARTED})
"""After these somebody may be reading who has not been told anything yet."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a resource's readers were told.

    Attributes:
        last: the last list; None if there was none.
        fresh: whether somebody may be reading who does not know it.
        messages: how many there were.
        first: of those, how many may have been the first of their stream.
        needless: of those, how many said nothing new to anybody.
    """

    last: frozenset[PluginDevice] | None = None
    fresh: bool = True
    messages: int = 0
    first: int = 0
    needless: int = 0

    def after(self, event: Event) -> "Told":
        """After one more event of this resource, or of none."""
        if event.kind in _NEW_READER:
            return replace(self, fresh=True)
        if event.kind is not EventKind.LIST_MESSAGE:
            return self
        devices = frozenset(event.devices)
        return Told(
            last=devices,
            fresh=False,
            messages=self.messages + 1,
            first=self.first + self.fresh,
            needless=self.needless + (devices == self.last and not self.fresh),
        )
