"""Families of metrics as the bytes that a scrape is answered with."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Exposition:
    """One collection, ready to be sent.

    Attributes:
        text: in Prometheus' text format 0.0.4.
        text_gzip: the same, compressed.
        openmetrics: in OpenMetrics 1.0.
        openmetrics_gzip: the same, compressed.
        page: the landing page, HTML.
        rendered_at: wall-clock seconds.
        families: what all of them were made of.
    """

    text: bytes
    text_gzip: bytes
    openmetrics: bytes
    openmetrics_gzip: bytes
    page: bytes
    rendered_at: float
    families: tuple[Metric, ...] = ()


def render(families: Iterable[Metric], *, page: bytes, rendered_at: float) -> Exposition:
    """Everything a scrape may ask for, once per collection."""
    raise NotImplementedError


def render_named(exposition: Exposition, names: Collection[str], *, openmetrics: bool) -> bytes:
    """The families with a sample of one of these names, as ``name[]`` of a scrape asks; uncompressed."""
    raise NotImplementedError
