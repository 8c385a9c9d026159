"""The discovery's metrics, ``npu_feature_discovery_*``: numbers it kept anyway, in Prometheus' words."""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from npu_core.service.metrics import Row, by_label, counter, gauge
from npu_feature_discovery import __version__
from npu_feature_discovery.counters import Counters
from npu_feature_discovery.service_status import ServiceStatus
from npu_feature_discovery.sinks import FailureReason, Outcome

PREFIX = "npu_feature_discovery_"
_OUTCOMES = tuple(map(str, (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED)))
"""The outcomes of publishing. Removing has the other outcomes."""
_FAILURES = ("look", *map(str, FailureReason))
"""Why a look or a publication can fail."""


class Moment(NamedTuple):
    """The discovery at one moment.

    Attributes:
        condition: what the discovery is.
        telemetry: what the discovery counted.
        now: seconds since the epoch.
    """

    condition: ServiceStatus
    telemetry: Counters
    now: float


def families(condition: ServiceStatus, telemetry: Counters, now: float) -> Iterator[Metric]:
    """Every family; ``now`` is seconds since the epoch. What is not known yet has no series, rather than a 0."""
    return (row.family(PREFIX, Moment(condition, telemetry, now)) for row in TABLE)


TABLE: tuple[Row[Moment], ...] = (
    counter(
        "changes",
        "Changes of what is published, the first time included.",
        lambda moment: moment.telemetry.changes,
    ),
    Row(
        "publishes",
        "Times the labels were published, by what that did.",
        lambda moment: by_label(moment.telemetry.publishes),
        ("outcome",),
        lambda _: ((outcome,) for outcome in _OUTCOMES),
    ),
    Row(
        "failures",
        "Looks and publications that failed.",
        lambda moment: by_label(moment.telemetry.failures),
        ("reason",),
        lambda _: ((reason,) for reason in _FAILURES),
    ),
    Row(
        "http_clients_refused",
        "Clients of the HTTP endpoint that were cut off or refused, by reason.",
        lambda moment: by_label(moment.telemetry.traffic.by_reason()),
        ("reason",),
        lambda _: (),
    ),
    counter(
        "log_lines_dropped",
        "Log lines lost because nobody read standard error.",
        lambda moment: moment.telemetry.dropped_lines(),
    ),
    Row("build_info", "1; the version is in the label.", lambda _: [((__version__,), 1)], ("version",)),
    gauge(
        "labels",
        "Labels that belong on the node.",
        lambda moment: None if moment.condition.labels is None else len(moment.condition.labels),
    ),
    gauge("cards", "Cards that the last good look found.", lambda moment: moment.condition.cards),
    gauge("cards_stuck", "Cards that a read has not come back from.", lambda moment: moment.condition.stuck),
    gauge(
        "ready",
        "1 if the labels are published and the last look was good.",
        lambda moment: int(not moment.condition.why_not_ready),
    ),
    gauge(
        "look_duration_seconds",
        "Time that the last look at the host took.",
        lambda moment: moment.telemetry.look_seconds,
    ),
    gauge(
        "last_success_timestamp_seconds",
        "When the labels were last known to be published.",
        lambda moment: moment.telemetry.last_success,
    ),
    gauge(
        "heartbeat_timestamp_seconds",
        "When the loop last turned.",
        lambda moment: moment.now - moment.condition.heartbeat_age,
    ),
)
