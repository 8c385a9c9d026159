"""The exporter's own metrics, ``furiosa_npu_exporter_*`` and ``process_*``, as of the end of a collection."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from npu_core.service.metrics import Row, Values, by_label, counter, gauge
from npu_metrics_exporter import __version__
from npu_metrics_exporter.counters import QUESTION_FAILURES, READ_FAILURES, SCRAPE_STATUSES, Counters
from npu_metrics_exporter.metrics.render import Exposition
from npu_metrics_exporter.metrics.snapshot import CardState, CardStatus, Snapshot

PREFIX = "furiosa_npu_exporter_"
_CARD = ("device", "arch")


@dataclass(frozen=True, slots=True)
class PodResourcesStats:
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
    telemetry: Counters
    questions: PodResourcesStats | None = None
    last: Exposition | None = None
    web_reload_failed: bool = False


def _cards(value: Callable[[CardState], float | None]) -> Callable[[Moment], Values]:
    """One value of every card that is listed."""

    def values(moment: Moment) -> Values:
        for card in moment.snapshot.cards:
            number = value(card) if card.status in {CardStatus.PRESENT, CardStatus.FAILED} else None
            if number is not None:
                yield (card.name, card.key[0]), number

    return values


def _devices(moment: Moment) -> Values:
    snapshot = moment.snapshot
    yield ("present",), snapshot.present
    yield ("expected",), snapshot.most
    yield ("failed",), snapshot.failed


def _sizes(moment: Moment) -> Values:
    if moment.last is not None:
        for name in ("text", "text_gzip", "openmetrics", "openmetrics_gzip"):
            yield (name,), len(getattr(moment.last, name))


def _read_failures(moment: Moment) -> Iterator[tuple[str, ...]]:
    for card in moment.snapshot.cards:
        if card.is_exported:
            yield from ((card.name, str(card.key[0]), reason) for reason in READ_FAILURES)


def _pod_errors(moment: Moment) -> Values:
    return [] if moment.questions is None else by_label(moment.questions.errors)


def _question_failures(moment: Moment) -> Iterator[tuple[str, ...]]:
    return iter(()) if moment.questions is None else ((code,) for code in QUESTION_FAILURES)


def _pods_gauge(name: str, text: str, value: Callable[[PodResourcesStats], int]) -> Row[Moment]:
    return gauge(name, text, lambda moment: None if moment.questions is None else value(moment.questions))


TABLE: tuple[Row[Moment], ...] = (
    Row(
        "build_info",
        "1; versions are in the labels.",
        lambda _: [((__version__, platform.python_version()), 1)],
        ("version", "python"),
    ),
    Row(
        "collect_success",
        "1 if the last look at the card came back.",
        _cards(lambda card: int(card.status is CardStatus.PRESENT and card.report is not None)),
        _CARD,
    ),
    Row(
        "last_success_timestamp_seconds",
        "When a look at the card last came back.",
        _cards(lambda card: card.last_success),
        _CARD,
    ),
    Row("sensor_stuck", "1 if a read of the card has not come back.", _cards(lambda card: int(card.stuck)), _CARD),
    Row(
        "read_errors",
        "Values that exist and could not be read, by why.",
        lambda moment: moment.telemetry.read_errors.items(),
        (*_CARD, "reason"),
        _read_failures,
    ),
    Row(
        "devices",
        "Cards: present, expected (the most that were there at once), failed (present, and the last look failed).",
        _devices,
        ("state",),
    ),
    gauge("list_success", "1 if the cards could be listed.", lambda moment: int(moment.telemetry.listing_up)),
    Row(
        "scrapes",
        "Answers to scrapes, by HTTP status, as of the last collection.",
        lambda moment: [((str(code),), count) for code, count in moment.telemetry.scrapes.items()],
        ("code",),
        lambda _: ((str(status.value),) for status in SCRAPE_STATUSES),
    ),
    gauge(
        "scrape_inflight",
        "Scrapes that were being answered at the last collection.",
        lambda moment: moment.telemetry.in_flight,
    ),
    Row(
        "http_clients_refused",
        "Clients that were cut off or refused, by reason, as of the last collection.",
        lambda moment: by_label(moment.telemetry.traffic.by_reason()),
        ("reason",),
        lambda _: (),
    ),
    Row("render_bytes", "Size of the exposition before this one, by format.", _sizes, ("format",)),
    counter(
        "series_dropped",
        "Series left out because there were too many, or two of one name and labels.",
        lambda moment: moment.telemetry.dropped,
    ),
    _pods_gauge(
        "podresources_up",
        "1 if the kubelet answered who holds what, and listed every pod that furiosa_npu_pod_info names.",
        lambda questions: int(questions.up),
    ),
    Row(
        "podresources_errors",
        "Failed questions to the kubelet, by gRPC's code.",
        _pod_errors,
        ("code",),
        _question_failures,
    ),
    Row(
        "podresources_conflicts",
        "How often a card came to have a core that two pods hold.",
        lambda moment: [] if moment.questions is None else [((), moment.questions.conflicts)],
        always=lambda _: (),
    ),
    _pods_gauge(
        "unnamed_holders",
        "Containers that hold an NPU and are in no pod_info, since the name of their pod is not known.",
        lambda questions: questions.unnamed,
    ),
    _pods_gauge(
        "unmapped_devices",
        "Device ids of NPUs that containers hold and that are no card known here.",
        lambda questions: questions.unmapped,
    ),
    counter(
        "log_lines_dropped",
        "Log lines lost because nobody read standard error.",
        lambda moment: moment.telemetry.dropped_lines(),
    ),
    gauge(
        "config_generation",
        "1 at the start, one more for each change of the configuration that was applied.",
        lambda moment: moment.telemetry.config.generation,
    ),
    gauge(
        "config_last_reload_success",
        "0 if the configuration file is wrong and an older one is in force.",
        lambda moment: int(not moment.telemetry.config.error),
    ),
    gauge(
        "web_config_last_reload_success",
        "0 if the web configuration, or a certificate, is wrong and an older one is in force.",
        lambda moment: int(not moment.web_reload_failed),
    ),
    gauge(
        "loop_heartbeat_timestamp_seconds",
        "When the loop of collections last turned.",
        lambda moment: moment.telemetry.heartbeat,
    ),
)
"""Every family but :data:`COLLECT_DURATION`, in the order they are written in."""

COLLECT_DURATION = f"{PREFIX}collect_duration_seconds"
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
        family = row.family(PREFIX, moment)
        if family.samples:
            yield family
    yield _collect_duration(moment.telemetry)
    yield from _process()


def _collect_duration(telemetry: Counters) -> Metric:
    family = HistogramMetricFamily(COLLECT_DURATION, "How long a collection took.")
    family.add_metric([], telemetry.collections.cumulated(), telemetry.collections.total)
    return family


def _process() -> Iterable[Metric]:
    return _process_collector().collect()


@cache
def _process_collector() -> ProcessCollector:
    return ProcessCollector(registry=None)
