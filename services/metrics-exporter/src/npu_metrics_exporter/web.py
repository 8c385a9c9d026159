"""The exporter's pages, as an ASGI application."""

from typing import Protocol

from npu_metrics_exporter.web_reload import WebKeeper


class Exposition(Protocol):
    """What is served of one collection; all of it is ready before anybody asks. ``render.Exposition`` is one."""

    @property
    def text(self) -> bytes: ...
    @property
    def text_gzip(self) -> bytes: ...
    @property
    def openmetrics(self) -> bytes: ...
    @property
    def openmetrics_gzip(self) -> bytes: ...
    @property
    def page(self) -> bytes: ...
    def named(self, names: frozenset[str], *, openmetrics: bool) -> bytes:
        """Only the samples of these names (the ``name[]`` of a scrape)."""
        ...


class Source(Protocol):
    """Where the application takes what it serves; nothing in it may wait."""

    def exposition(self) -> Exposition | None:
        """The newest one, or None before the first collection."""
        ...

    def healthy(self) -> bool:
        """Whether the loop of collections still turns."""
        ...

    def ready(self) -> bool:
        """Whether there is something to scrape."""
        ...

    def count(self, code: int) -> None:
        """A scrape of ``/metrics`` was answered with this status."""
        ...

    def in_flight(self, number: int) -> None:
        """So many scrapes are being answered now."""
        ...


class Web:
    """The ASGI application."""

    def __init__(self, source: Source, keeper: WebKeeper, max_in_flight: int = 16) -> None:
        """Serve ``source`` to at most ``max_in_flight`` scrapes at once; more are told to come again."""
        self._source, self._keeper = source, keeper
        self.max_in_flight = max_in_flight
