"""Where labels go, and what can go wrong there."""

from enum import StrEnum
from typing import Protocol

from npu_feature_discovery.labels.table import Labels


class Outcome(StrEnum):
    """What publishing or removing did. A closed set, fit for a metric label."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    ABSENT = "absent"
    """There was nothing of ours to remove."""


class FailureReason(StrEnum):
    """Why labels could not be published or removed. A closed set, fit for a metric label."""

    NO_DIRECTORY = "no_directory"
    READ_ONLY = "read_only"
    NO_PERMISSION = "no_permission"
    NO_SPACE = "no_space"
    IO = "io"
    CONFIGURATION = "configuration"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_INSTALLED = "not_installed"
    NO_NODE = "no_node"
    CONFLICT = "conflict"
    GONE = "gone"
    THROTTLED = "throttled"
    REFUSED = "refused"
    """Any other answer of 4xx: the request itself is at fault."""
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    CHILD_FAILED = "child_failed"
    CLOSED = "closed"
    """The service ends; whoever is still publishing hears of it so."""
    UNFORESEEN = "unforeseen"
    """A fault of this program."""


class SinkError(Exception):
    """Labels could not be published or removed.

    Attributes:
        reason: why, as a closed set.
        message: why, for people: names the path or the request.
        retry_after: seconds to wait before the next attempt, where the other side said so.
    """

    def __init__(self, reason: FailureReason, message: str, *, retry_after: float | None = None) -> None:
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        super().__init__(message)


class Sink(Protocol):
    """One place that labels are published to. One thread publishes; :meth:`close` is for any other."""

    name: str
    """``feature-file``, ``node-feature`` or ``node-labels``."""

    def publish(self, labels: Labels) -> Outcome:
        """Let exactly these labels be there. Blocks; writes nothing if they are there already.

        Raises:
            SinkError: if that was not possible.
        """
        ...

    def remove(self) -> Outcome:
        """Take away everything of ours. Blocks.

        Raises:
            SinkError: if that was not possible.
        """
        ...

    def known(self) -> Labels:
        """What is published by this process or one before, as far as that can be told without asking anybody."""
        ...

    def forget(self) -> None:
        """Do not trust what was published before: the next :meth:`publish` looks."""
        ...

    def doubts_in(self) -> float:
        """Seconds until :meth:`publish` should look whether the published labels are still there.

        0 or less means now. Infinite means never.
        """
        ...

    def close(self) -> None:
        """End what is still under way, at once."""
        ...
