"""The metrics of a service of itself: rows of a table make families, and prometheus_client makes pages of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, exposition
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics

from npu_core.service.histogram import Histogram
from npu_core.service.http.messages import Answer, Request
from npu_core.service.http.preferences import preferences

M = TypeVar("M")
TEXT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS_TYPE: str = openmetrics.CONTENT_TYPE_LATEST
EOF_LINE = b"# EOF\n"
"""The last line of OpenMetrics."""

Values = Iterable[tuple[tuple[str, ...], float]]
"""Each with the values of the labels, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Row(Generic[M]):
    """One family of metrics.

    Attributes:
        name: without the service's prefix, and without the ``_total`` of counters.
        help: one sentence.
        values: of a moment of the service.
        labels: their names.
        always: of a counter: the labels of the series that are there from the start, at 0, because ``increase()`` does
            not see a series that begins at 1. None makes the family a gauge.
    """

    name: str
    help: str
    values: Callable[[M], Values]
    labels: tuple[str, ...] = ()
    always: Callable[[M], Iterable[tuple[str, ...]]] | None = None

    @property
    def sample(self) -> str:
        """The name of its series, without the service's prefix."""
        return self.name if self.always is None else f"{self.name}_total"

    def family(self, prefix: str, moment: M) -> Metric:
        """The family at this moment. It has no sample where there are no values."""
        if self.always is None:
            kind: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily
            values = self.values(moment)
        else:
            kind = CounterMetricFamily
            values = sorted((dict.fromkeys(self.always(moment), 0.0) | dict(self.values(moment))).items())
        family = kind(prefix + self.name, self.help, labels=self.labels)
        for labels, value in values:
            family.add_metric(labels, value)
        return family


def gauge(name: str, text: str, value: Callable[[M], float | None]) -> Row[M]:
    """A gauge with one series; there is none while the value is None."""
    return Row(name, text, lambda moment: () if (number := value(moment)) is None else [((), number)])


def counter(name: str, text: str, value: Callable[[M], float]) -> Row[M]:
    """A counter with one series."""
    return Row(name, text, lambda moment: [((), value(moment))], always=lambda _: [()])


def by_label(counts: Mapping[str, float]) -> Values:
    """The values of a family with one label."""
    return [((key,), count) for key, count in counts.items()]


def histogram(name: str, text: str, histograms: Mapping[str, Histogram], label: str) -> Metric:
    """The family of several histograms, by the value of their label."""
    family = HistogramMetricFamily(name, text, labels=[label])
    for value, each in sorted(histograms.items()):
        family.add_metric([value], each.cumulated(), each.total)
    return family


@dataclass(frozen=True, slots=True)
class _Families:
    """Families as prometheus_client's encoders take them."""

    families: Iterable[Metric]

    def collect(self) -> Iterator[Metric]:
        return iter(self.families)


def text_of(families: Iterable[Metric]) -> bytes:
    """The families in Prometheus' text format."""
    return exposition.generate_latest(_Families(families))


def openmetrics_of(families: Iterable[Metric]) -> bytes:
    """The families in OpenMetrics, with :data:`EOF_LINE` at the end."""
    encoded: bytes = openmetrics.generate_latest(_Families(families))  # type: ignore[no-untyped-call]
    return encoded


def takes_openmetrics(accept: str) -> bool:
    """Whether a client that sends this ``Accept`` header is answered in OpenMetrics; otherwise in the text format.

    The weights decide. Of two formats that the client likes alike, OpenMetrics is sent.
    """
    openmetrics_weight = text_weight = 0.0
    for clause, weight in preferences(accept):
        if _is_openmetrics(clause):
            openmetrics_weight = max(openmetrics_weight, weight)
        elif clause.partition(";")[0] == "text/plain":
            text_weight = max(text_weight, weight)
    return openmetrics_weight > 0 and openmetrics_weight >= text_weight


def _is_openmetrics(clause: str) -> bool:
    # prometheus_client knows media types and versions. Weights it does not read.
    try:
        _, content_type = exposition.choose_encoder(clause)
    except TypeError:  # a version that is no number
        return False
    return content_type.startswith("application/openmetrics-text")


def answer(request: Request, families: Iterable[Metric]) -> Answer:
    """The page of these families, in the format that the client takes. Families without samples are left out."""
    told = [family for family in families if family.samples]
    if takes_openmetrics(request.headers.get("accept", "")):
        return Answer(openmetrics_of(told), content_type=OPENMETRICS_TYPE)
    return Answer(text_of(told), content_type=TEXT_TYPE)
