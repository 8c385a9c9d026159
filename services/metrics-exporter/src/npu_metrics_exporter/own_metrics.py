"""The exporter's own metrics, ``furiosa_npu_exporter_*`` and ``process_*``, as of the end of a collection."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector

from npu_metrics_exporter import __version__
from npu_metrics_exporter.render import Exposition
from npu_metrics_exporter.snapshot import CardState, CardStatus, Snapshot
from npu_metrics_exporter.telemetry import COLLECT_BOUNDS, QUESTION_FAILURES, READ_FAILURES, SCRAPE_STATUSES, Telemetry

_PREFIX = "furiosa_npu_exporter_"
_CARD = ("device", "arch")


@dataclass(frozen=True, slots=True)
class PodQuestions:
    """How asking the kubelet goes, where it is asked.

    Attributes:
        up: whether the last question was answered.
        errors: questions that failed, by code.
        conflicts: how often a card came to have a core that two pods hold.
        unnamed: containers with NPUs of pods whose name is not known.
        unmapped: device ids of NPUs that are held and are no card known here.
    """

    up: bool = False
    errors: Mapping[str, int] = field(default_factory=dict)
    conflicts: int = 0
    unnamed: int = 0
    unmapped: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """The exporter at the end of one collection.

    Attributes:
        snapshot: the cards.
        telemetry: what was counted.
        questions: how asking the kubelet goes; None where it is not asked.
        last: the exposition before this one; None at the first.
        web_reload_failed: whether a web configuration is on disk that is not in force.
    """

    snapshot: Snapshot
    telemetry: Telemetry
    questions: PodQuestions | None = None
    last: Exposition | None = None
    web_reload_failed: bool = False


Samples = Iterable[tuple[tuple[str, ...], float]]


class Own(NamedTuple):
    """One family of the exporter's own.

    Attributes:
        name: without :data:`_PREFIX`.
        counter: whether it only grows; a gauge otherwise.
        help: its documentation.
        labels: their names.
        values: labels' values and number of each series.
    """

    name: str
    counter: bool
    help: str
    labels: tuple[str, ...]
    values: Callable[[Moment], Samples]

    @property
    def full_name(self) -> str:
        """As it is exposed."""
        return f"{_PREFIX}{self.name}{'_total' if self.counter else ''}"


def _counter(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Callable[[Moment], Samples],
    always: Callable[[Moment], Iterable[tuple[str, ...]]],
) -> Own:
    """A counter. The series of ``always`` start as 0: ``increase()`` does not see a series that begins at 1."""

    def all_values(moment: Moment) -> Samples:
        return sorted((dict.fromkeys(always(moment), 0.0) | dict(values(moment))).items())

    return Own(name, counter=True, help=text, labels=labels, values=all_values)


def _plain_counter(name: str, text: str, values: Callable[[Moment], Samples]) -> Own:
    """A counter with a single series."""
    return Own(name, counter=True, help=text, labels=(), values=values)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Callable[[Moment], Samples]) -> Own:
    return Own(name, counter=False, help=text, labels=labels, values=values)


def _cards(value: Callable[[CardState], float | None]) -> Callable[[Moment], Samples]:
    """One value of every card that is listed."""

    def values(moment: Moment) -> Samples:
        for card in moment.snapshot.cards:
            number = value(card) if card.status in {CardStatus.PRESENT, CardStatus.FAILED} else None
            if number is not None:
                yield (card.name, card.key[0]), number

    return values


def _devices(moment: Moment) -> Samples:
    snapshot = moment.snapshot
    yield ("present",), snapshot.present
    yield ("expected",), snapshot.most
    yield ("failed",), snapshot.failed


def _sizes(moment: Moment) -> Samples:
    if moment.last is not None:
        for name in ("text", "text_gzip", "openmetrics", "openmetrics_gzip"):
            yield (name,), len(getattr(moment.last, name))


def _read_failures(moment: Moment) -> Iterator[tuple[str, ...]]:
    for card in moment.snapshot.cards:
        if card.is_exported:
            yield from ((card.name, str(card.key[0]), reason) for reason in READ_FAILURES)


def _scrapes(moment: Moment) -> Samples:
    return [((str(code),), count) for code, count in moment.telemetry.scrapes.items()]


def _pod_errors(moment: Moment) -> Samples:
    return [] if moment.questions is None else [((code,), count) for code, count in moment.questions.errors.items()]


def _question_failures(moment: Moment) -> Iterator[tuple[str, ...]]:
    return iter(()) if moment.questions is None else ((code,) for code in QUESTION_FAILURES)


def _of_pods(value: Callable[[PodQuestions], int]) -> Callable[[Moment], Samples]:
    return lambda moment: [] if moment.questions is None else [((), value(moment.questions))]


def _one(value: Callable[[Moment], float]) -> Callable[[Moment], Samples]:
    return lambda moment: [((), value(moment))]


TABLE: tuple[Own, ...] = (
    _gauge(
        "build_info",
        "1; versions are in the labels.",
        ("version", "python"),
        lambda _: [((__version__, platform.python_version()), 1)],
    ),
    _gauge(
        "collect_success",
        "1 if the last look at the card came back.",
        _CARD,
        _cards(lambda card: int(card.status is CardStatus.PRESENT and card.report is not None)),
    ),
    _gauge(
        "last_success_timestamp_seconds",
        "When a look at the card last came back.",
        _CARD,
        _cards(lambda card: card.last_success),
    ),
    _gauge("sensor_stuck", "1 if a read of the card has not come back.", _CARD, _cards(lambda card: int(card.stuck))),
    _counter(
        "read_errors",
        "Values that exist and could not be read, by why.",
        (*_CARD, "reason"),
        lambda moment: moment.telemetry.read_errors.items(),
        _read_failures,
    ),
    _gauge(
        "devices",
        "Cards: present, expected (the most that were there at once), failed (present, and the last look failed).",
        ("state",),
        _devices,
    ),
    _gauge(
        "list_success", "1 if the cards could be listed.", (), _one(lambda moment: int(moment.telemetry.listing_up))
    ),
    _counter(
        "scrapes",
        "Answers to scrapes, by HTTP status, as of the last collection.",
        ("code",),
        _scrapes,
        lambda _: ((str(status.value),) for status in SCRAPE_STATUSES),
    ),
    _gauge(
        "scrape_inflight",
        "Scrapes that were being answered at the last collection.",
        (),
        _one(lambda moment: moment.telemetry.in_flight),
    ),
    _counter(
        "http_clients_refused",
        "Clients that were cut off or refused, by reason, as of the last collection.",
        ("reason",),
        lambda moment: (((reason,), count) for reason, count in moment.telemetry.traffic.by_reason().items()),
        lambda _: (),
    ),
    _gauge("render_bytes", "Size of the exposition before this one, by format.", ("format",), _sizes),
    _plain_counter(
        "series_dropped",
        "Series left out because there were too many, or two of one name and labels.",
        _one(lambda moment: moment.telemetry.dropped),
    ),
    _gauge(
        "podresources_up",
        "1 if the kubelet answered who holds what, and listed every pod that furiosa_npu_pod_info names.",
        (),
        _of_pods(lambda questions: int(questions.up)),
    ),
    _counter(
        "podresources_errors",
        "Failed questions to the kubelet, by gRPC's code.",
        ("code",),
        _pod_errors,
        _question_failures,
    ),
    _plain_counter(
        "podresources_conflicts",
        "How often a card came to have a core that two pods hold.",
        _of_pods(lambda questions: questions.conflicts),
    ),
    _gauge(
        "unnamed_holders",
        "Containers that hold an NPU and are in no pod_info, since the name of their pod is not known.",
        (),
        _of_pods(lambda questions: questions.unnamed),
    ),
    _gauge(
        "unmapped_devices",
        "Device ids of NPUs that containers hold and that are no card known here.",
        (),
        _of_pods(lambda questions: questions.unmapped),
    ),
    _plain_counter(
        "log_lines_dropped",
        "Log lines lost because nobody read standard error.",
        _one(lambda moment: moment.telemetry.dropped_lines()),
    ),
    _gauge(
        "config_generation",
        "1 at the start, one more for each change of the configuration that was applied.",
        (),
        _one(lambda moment: moment.telemetry.config.generation),
    ),
    _gauge(
        "config_last_reload_success",
        "0 if the configuration file is wrong and an older one is in force.",
        (),
        _one(lambda moment: int(not moment.telemetry.config.error)),
    ),
    _gauge(
        "web_config_last_reload_success",
        "0 if the web configuration, or a certificate, is wrong and an older one is in force.",
        (),
        _one(lambda moment: int(not moment.web_reload_failed)),
    ),
    _gauge(
        "loop_heartbeat_timestamp_seconds",
        "When the loop of collections last turned.",
        (),
        _one(lambda moment: moment.telemetry.heartbeat),
    ),
)
"""Every family but :data:`COLLECT_DURATION`, in the order they are written in."""

COLLECT_DURATION = f"{_PREFIX}collect_duration_seconds"
"""A histogram: how long a collection took."""


def own_families(moment: Moment, static_labels: Iterable[tuple[str, str]] = ()) -> Iterator[Metric]:
    """All families that have a series. Each series has the static labels, as the series of cards do."""
    static = dict(static_labels)
    for family in _families(moment):
        if static:
            family.samples = [sample._replace(labels=static | sample.labels) for sample in family.samples]
        yield family


def _families(moment: Moment) -> Iterator[Metric]:
    for row in TABLE:
        family = _family(row, moment)
        if family.samples:
            yield family
    yield _collect_duration(moment.telemetry)
    yield from _process()


def _family(row: Own, moment: Moment) -> Metric:
    kind = CounterMetricFamily if row.counter else GaugeMetricFamily
    family = kind(_PREFIX + row.name, row.help, labels=row.labels)
    for labels, value in row.values(moment):
        family.add_metric(labels, value)
    return family


def _collect_duration(telemetry: Telemetry) -> Metric:
    bounds = (*map(str, COLLECT_BOUNDS), "+Inf")
    buckets = list(zip(bounds, telemetry.collections.cumulated(), strict=True))
    return HistogramMetricFamily(
        COLLECT_DURATION, "How long a collection took.", buckets=buckets, sum_value=telemetry.collections.total
    )


def _process() -> Iterable[Metric]:
    return _process_collector().collect()


@cache
def _process_collector() -> ProcessCollector:
    return ProcessCollector(registry=None)
