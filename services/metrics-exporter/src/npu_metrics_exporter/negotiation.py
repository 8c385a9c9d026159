"""What a client takes: from its ``Accept`` and ``Accept-Encoding`` to one of the bodies there are, and its ``name[]``.

A client that says nothing, or nothing that can be understood, gets the text format, uncompressed: a scrape never fails
for what it wished for.
"""

from collections.abc import Iterator
from enum import StrEnum
from urllib.parse import parse_qsl

_OPENMETRICS_VERSIONS = frozenset({"", "0.0.1", "1.0.0"})
_TEXT_VERSIONS = frozenset({"", "0.0.4"})


class Format(StrEnum):
    """How samples are written."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"


def format_of(accept: str) -> Format:
    """The format that an ``Accept`` header prefers. Of two that it likes alike, OpenMetrics, as Prometheus does."""
    quality = {Format.TEXT: 0.0, Format.OPENMETRICS: 0.0}
    for media, parameters, weight in _clauses(accept):
        version = parameters.get("version", "")
        if media == "application/openmetrics-text" and version in _OPENMETRICS_VERSIONS:
            quality[Format.OPENMETRICS] = max(quality[Format.OPENMETRICS], weight)
        elif media == "text/plain" and version in _TEXT_VERSIONS:
            quality[Format.TEXT] = max(quality[Format.TEXT], weight)
    wins = quality[Format.OPENMETRICS] > 0 and quality[Format.OPENMETRICS] >= quality[Format.TEXT]
    return Format.OPENMETRICS if wins else Format.TEXT


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an ``Accept-Encoding`` header admits gzip, by name or by ``*``; ``q=0`` is a no."""
    weights = {coding: weight for coding, _, weight in _clauses(accept_encoding)}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def names_of(query: str) -> frozenset[str]:
    """The names that a scrape is limited to by ``name[]``; none: everything."""
    return frozenset(value for key, value in parse_qsl(query, errors="replace") if key == "name[]")


def _clauses(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """What a header lists: the word in lower case, its parameters, its weight from 0 to 1."""
    for clause in header.split(","):
        word, *rest = clause.split(";")
        pairs = (parameter.partition("=") for parameter in rest)
        parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
        yield word.strip().lower(), parameters, _weight(parameters.get("q", "1"))


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
