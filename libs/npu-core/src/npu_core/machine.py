"""The machine that the cards are in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """What the firmware says of the machine (DMI), as it says it.

    Attributes:
        vendor: ``Dell Inc.``; None where it says nothing.
        name: ``PowerEdge R750``; None where it says nothing.
    """

    vendor: str | None = None
    name: str | None = None
