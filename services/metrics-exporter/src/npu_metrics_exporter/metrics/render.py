"""Families of metrics as bytes, made once per collection. prometheus_client writes the lines."""

import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from npu_core.service.metrics import EOF_LINE, OPENMETRICS_TYPE, TEXT_TYPE, openmetrics_of, text_of

__all__ = ["OPENMETRICS_TYPE", "TEXT_TYPE", "Exposition", "FamilyBytes", "Renderer", "render"]

_GZIP_LEVEL = 1
_GZIP_FORMAT = 31
"""zlib's number for a window of 32 KiB in a gzip file; it writes no time of day, so equal texts stay equal."""


@dataclass(frozen=True, slots=True)
class FamilyBytes:
    """Where one family stands in an exposition.

    Attributes:
        names: its own, and those of its samples.
        text: from which byte of the text format to which.
        openmetrics: likewise.
    """

    names: frozenset[str]
    text: slice
    openmetrics: slice


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
        families: where each family stands.
    """

    text: bytes
    text_gzip: bytes
    openmetrics: bytes
    openmetrics_gzip: bytes
    page: bytes
    rendered_at: float
    families: tuple[FamilyBytes, ...] = ()

    def named(self, names: Collection[str], *, openmetrics: bool) -> bytes:
        """Only the families with one of these names, as ``name[]`` of a scrape asks; uncompressed.

        A family is given whole: asked for its buckets, a histogram gives its sum too.
        """
        wanted = [family for family in self.families if not family.names.isdisjoint(names)]
        if openmetrics:
            return b"".join([*(self.openmetrics[family.openmetrics] for family in wanted), EOF_LINE])
        return b"".join(self.text[family.text] for family in wanted)


class Renderer:
    """Writes an exposition family by family, so that an event loop can breathe between two."""

    def __init__(self) -> None:
        """Nothing written yet."""
        self._text = _Document()
        self._openmetrics = _Document()
        self._families: list[FamilyBytes] = []

    def add(self, family: Metric) -> None:
        """Write one family. One without a sample is left out.

        Samples carry neither a timestamp nor an exemplar, and none is called ``_created``.
        """
        if not family.samples:
            return
        text = text_of([family])
        lines = text[len(text_of([_head(family)])) :]
        # Samples are the same in both formats, and to write them takes nearly all of the time.
        openmetrics = openmetrics_of([_head(family)]).removesuffix(EOF_LINE) + lines
        self._families.append(
            FamilyBytes(
                frozenset({family.name, *(sample.name for sample in family.samples)}),
                self._text.add(text),
                self._openmetrics.add(openmetrics),
            )
        )

    def finish(self, *, page: bytes, rendered_at: float) -> Exposition:
        """Everything that was added. The renderer is of no use after this."""
        self._openmetrics.add(EOF_LINE)
        text, text_gzip = self._text.finish()
        openmetrics, openmetrics_gzip = self._openmetrics.finish()
        return Exposition(
            text, text_gzip, openmetrics, openmetrics_gzip, page, rendered_at, families=tuple(self._families)
        )


def render(families: Iterable[Metric], *, page: bytes = b"", rendered_at: float = 0.0) -> Exposition:
    """All families in one go, for who has no event loop to mind."""
    renderer = Renderer()
    for family in families:
        renderer.add(family)
    return renderer.finish(page=page, rendered_at=rendered_at)


def _head(family: Metric) -> Metric:
    """The family without its samples."""
    return Metric(family.name, family.documentation, family.type, family.unit)


class _Document:
    """Bytes, and the same bytes compressed as they come."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._packed: list[bytes] = []
        self._size = 0
        self._gzip = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)

    def add(self, part: bytes) -> slice:
        start = self._size
        self._size += len(part)
        self._parts.append(part)
        self._packed.append(self._gzip.compress(part))
        return slice(start, self._size)

    def finish(self) -> tuple[bytes, bytes]:
        return b"".join(self._parts), b"".join([*self._packed, self._gzip.flush()])
