"""Prometheus' text format, version 0.0.4, as far as a service's metrics of itself need it.

For the endpoints of services that are not exporters: what a client library brings along for a dozen numbers weighs more
than they do (docs/adr/0017). Pure: families in, text out.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(StrEnum):
    """What a family's values are."""

    COUNTER = "counter"
    """Only grow, until a restart. The family's name ends in ``_total``."""
    GAUGE = "gauge"
    """Go up and down."""
    HISTOGRAM = "histogram"
    """Counts of observations by upper bound, and their sum; see :func:`histogram_samples`."""


class Sample(NamedTuple):
    """One value.

    Attributes:
        labels: what tells it from the family's others.
        value: it.
        suffix: of the name: ``_bucket``, ``_count``, ``_sum`` of a histogram; empty for every other kind.
    """

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


class Family(NamedTuple):
    """Values of one name.

    Attributes:
        name: the whole of it.
        kind: what they are.
        help: one sentence on them.
        samples: them.
    """

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


def histogram_samples(
    labels: Mapping[str, str], bounds: Iterable[float], counts: Iterable[float], total: float
) -> Iterator[Sample]:
    """The samples of one histogram.

    Args:
        labels: what tells it from the family's others.
        bounds: upper bounds of the buckets, growing, without the last one, which has none.
        counts: observations up to each bound, and all of them: one more than bounds.
        total: sum of the observations.
    """
    counted = 0.0
    for bound, counted in zip((*bounds, math.inf), counts, strict=True):
        yield Sample({**labels, "le": _number(bound)}, counted, "_bucket")
    yield Sample(labels, counted, "_count")
    yield Sample(labels, total, "_sum")


def exposition(families: Iterable[Family]) -> str:
    """The text of these families, in their order; labels by name."""
    return "".join(line for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {family.name} {text}\n# TYPE {family.name} {family.kind}\n"
    for labels, value, suffix in family.samples:
        inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in sorted(labels.items()))
        yield f"{family.name}{suffix}{f'{{{inside}}}' if inside else ''} {_number(value)}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(float(value))
