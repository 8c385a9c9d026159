"""Families of metrics as the bytes that a scrape is answered with.

The lines are prometheus_client's, byte for byte (tests compare them), but for whole numbers, which it has no way to
write: there 45000000 is ``4.5e+07``, here it is what the driver said. A line is the same in both formats, so it is
made once; that and its labels' being escaped once is also why this takes a quarter of the time.
"""

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4 as TEXT_TYPE
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_TYPE
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

__all__ = ["OPENMETRICS_TYPE", "TEXT_TYPE", "Exposition", "FamilyBytes", "Renderer", "render"]

_EOF = b"# EOF\n"
_GZIP_LEVEL = 1
_GZIP_FORMAT = 31
"""zlib's number for a window of 32 KiB in a gzip file; it writes no time of day, so equal texts stay equal."""

_BACKSLASH_AND_LINE = str.maketrans({"\\": r"\\", "\n": r"\n"})
_AND_QUOTE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


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
            return b"".join([*(self.openmetrics[family.openmetrics] for family in wanted), _EOF])
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
        lines = "".join(_lines(family.samples))
        self._families.append(
            FamilyBytes(
                frozenset({family.name, *(sample.name for sample in family.samples)}),
                self._text.add(_text_head(family) + lines),
                self._openmetrics.add(_openmetrics_head(family) + lines),
            )
        )

    def finish(self, *, page: bytes, rendered_at: float) -> Exposition:
        """Everything that was added. The renderer is of no use after this."""
        self._openmetrics.add_bytes(_EOF)
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


class _Document:
    """Bytes, and the same bytes compressed as they come."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._packed: list[bytes] = []
        self._size = 0
        self._gzip = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)

    def add(self, text: str) -> slice:
        return self.add_bytes(text.encode(errors="replace"))

    def add_bytes(self, part: bytes) -> slice:
        start = self._size
        self._size += len(part)
        self._parts.append(part)
        self._packed.append(self._gzip.compress(part))
        return slice(start, self._size)

    def finish(self) -> tuple[bytes, bytes]:
        return b"".join(self._parts), b"".join([*self._packed, self._gzip.flush()])


def _text_head(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    kind = "untyped" if family.type == "unknown" else family.type
    return f"# HELP {name} {family.documentation.translate(_BACKSLASH_AND_LINE)}\n# TYPE {name} {kind}\n"


def _openmetrics_head(family: Metric) -> str:
    unit = f"# UNIT {family.name} {family.unit}\n" if family.unit else ""
    documentation = family.documentation.translate(_AND_QUOTE)
    return f"# HELP {family.name} {documentation}\n# TYPE {family.name} {family.type}\n{unit}"


def _lines(samples: Iterable[Sample]) -> Iterator[str]:
    for sample in samples:
        labels = f"{{{_labels(sample.labels)}}}" if sample.labels else ""
        yield f"{sample.name}{labels} {_number(sample.value)}\n"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join([f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)])


def _escaped(value: str) -> str:
    # Hardly any value has anything to escape, and looking is faster than translating.
    return value.translate(_AND_QUOTE) if "\\" in value or '"' in value or "\n" in value else value


_float: Callable[[float], str] = floatToGoString


def _number(value: float) -> str:
    return str(value) if type(value) is int else _float(value)
