"""The page at ``/``: what a person wants to see of the cards of this node at a glance."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """One value with the sensor's label. Unit as the page's column says: m°C, µW."""

    label: str
    value: int


@dataclass(frozen=True, slots=True)
class Card:
    """A row of the page.

    Attributes:
        name: ``npu0``.
        arch: ``warboy``.
        health: one word or a few: ``alive``, ``dead``, ``unreadable: io``, ``departed``.
        good: whether that is well.
        temperatures: m°C.
        powers: µW.
        uptime: seconds, or None.
        firmware: or empty.
        owners: ``namespace/pod container (PE 0-1)``.
    """

    name: str
    arch: str
    health: str
    good: bool
    temperatures: tuple[Reading, ...] = ()
    powers: tuple[Reading, ...] = ()
    uptime: int | None = None
    firmware: str = ""
    owners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says.

    Attributes:
        cards: in the order to show.
        node: its name, or empty.
        version: of the exporter.
        collected: when the values were read, seconds since the epoch.
        interval: seconds between collections.
    """

    cards: tuple[Card, ...]
    node: str
    version: str
    collected: float
    interval: float


def page(content: Page) -> bytes:
    """The page as HTML, UTF-8; every text of the host escaped, nothing loaded from anywhere."""
    raise NotImplementedError(content)
