"""Which ListAndWatch streams may be the kubelet's. Pure.

gRPC does not tell who has opened a stream. But three facts hold of every kubelet (docs/kubelet.md):

* The kubelet opens one stream for each registration, after the plugin has called Register.
* The kubelet writes its checkpoint at every list message of that stream.
* The checkpoint names no healthy device of a resource whose stream has ended.

So only streams that were opened after Register count. When one of them ends while others are open, the plugin sends its
list once more. If the kubelet then writes a checkpoint with healthy devices of the resource, its stream is still open.
Then the stream that ended was another client's, and so is every stream that is opened later.
"""

from dataclasses import dataclass, replace

FIRST_STREAM_TIMEOUT = 5.0
"""Seconds after the registration in which the kubelet opens its stream, and in which its checkpoint shows that."""
LATE = 1.0
"""Seconds after the registration in which the kubelet's stream may come after another client's stream has ended."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one resource at one moment. They are numbered from 1, in the order in which they were opened.

    Attributes:
        opened: how many streams were opened so far.
        open: numbers of the streams that are open.
    """

    opened: int = 0
    open: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Listeners:
    """The streams of which one is the kubelet's, for one registration.

    Attributes:
        since: number of streams that were opened before Register was called. None of them is the kubelet's.
        until: the last stream that may be the kubelet's; None if the kubelet may still open its stream.
        judged: how many of the possible streams have ended and were found to be other clients'.
    """

    since: int = 0
    until: int | None = None
    judged: int = 0

    def may_be(self, number: int) -> bool:
        """Whether the stream of this number may be the kubelet's."""
        return number > self.since and (self.until is None or number <= self.until)

    def possible(self, streams: Streams) -> int:
        """How many of the open streams may be the kubelet's."""
        return sum(map(self.may_be, streams.open))

    def ended(self, streams: Streams) -> int:
        """How many streams that may have been the kubelet's have ended."""
        last = streams.opened if self.until is None else self.until
        return max(last - self.since, 0) - self.possible(streams)

    def in_doubt(self, streams: Streams) -> bool:
        """Whether a stream has ended that may have been the kubelet's and was not judged yet."""
        return self.ended(streams) > self.judged

    def confirmed(self, before: Streams, after: Streams) -> "Listeners":
        """What is known after the kubelet has shown that it listens.

        Args:
            before: the streams at a moment before the kubelet wrote its checkpoint. What had ended by then was not the
                kubelet's.
            after: the streams at a moment after that. What was not open yet is not the kubelet's.
        """
        until = after.opened if self.until is None else self.until
        return replace(self, until=until, judged=self.ended(before))
