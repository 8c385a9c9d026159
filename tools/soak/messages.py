"""Whether the plugin told the kubelet only what was news to it, or what the kubelet had a reason to write down again.

Pure, over the kubelet's events. The kubelet writes its checkpoint at each list message, so a list may be repeated after
pods came or went, and now and then while a name in the checkpoint is not confirmed.
"""

from dataclasses import dataclass, replace

from testkit.standins.kubelet import Event, EventKind, PluginDevice

_NEW_READER = frozenset({EventKind.REGISTERED, EventKind.STREAM_ENDED, EventKind.STARTED})
"""After these somebody may be reading who has not been told anything yet."""

_PODS = frozenset(
    {
        EventKind.ALLOCATE,
        EventKind.POD_ADMITTED,
        EventKind.POD_FAILED,
        EventKind.POD_FINISHED,
        EventKind.POD_DELETED,
        EventKind.PODS_DROPPED,
    }
)
"""After these the checkpoint may name what nobody holds, or not name what somebody does."""
_REPEATED = 9.0
"""Seconds after which a list may be repeated once more: ten, and some slack."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a resource's readers were told.

    Attributes:
        last: the last list; None if there was none.
        fresh: whether somebody may be reading who does not know it.
        messages: how many there were.
        first: of those, how many may have been the first of their stream.
        needless: of those, how many said nothing new to anybody, and were no repetition that had a reason.
        doubtful: whether pods came or went since the last repetition.
        repeated: when a list was repeated last.
    """

    last: frozenset[PluginDevice] | None = None
    fresh: bool = True
    messages: int = 0
    first: int = 0
    needless: int = 0
    doubtful: bool = True
    repeated: float = -_REPEATED

    def after(self, event: Event) -> "Told":
        """After one more event of this resource, or of none."""
        if event.kind in _NEW_READER:
            return replace(self, fresh=True)
        if event.kind in _PODS:
            return replace(self, doubtful=True)
        if event.kind is not EventKind.LIST_MESSAGE:
            return self
        devices = frozenset(event.devices)
        is_repeated = devices == self.last and not self.fresh
        has_reason = self.doubtful or event.at - self.repeated >= _REPEATED
        return Told(
            last=devices,
            fresh=False,
            messages=self.messages + 1,
            first=self.first + self.fresh,
            needless=self.needless + (is_repeated and not has_reason),
            doubtful=self.doubtful and not is_repeated,
            repeated=event.at if is_repeated else self.repeated,
        )
