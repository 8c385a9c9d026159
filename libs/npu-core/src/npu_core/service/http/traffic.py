"""What a server counts of its clients: plain numbers, whether or not anybody scrapes them."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Refusal(StrEnum):
    """Why a client was cut off or refused, as the metrics say it."""

    ROOM = "room"
    """The client waited longest when another one needed room."""
    HANDSHAKE = "handshake"
    """TLS could not be agreed on, or not in time, or the certificate is not allowed."""
    REQUEST = "request"
    """What the client sent is no request, or too large."""
    SLOW_REQUEST = "slow_request"
    """The request did not come in time."""
    SLOW_ANSWER = "slow_answer"
    """The client did not take the answer in time, or another one needed the place."""


@dataclass(slots=True)
class Traffic:
    """What a server counts.

    Attributes:
        refused: clients cut off or refused, by reason.
        connections: open now, handshakes included.
    """

    refused: Counter[Refusal] = field(default_factory=Counter)
    connections: int = 0

    def by_reason(self) -> dict[str, int]:
        """``refused`` with every reason, those that never were too."""
        return {str(reason): self.refused[reason] for reason in Refusal}
