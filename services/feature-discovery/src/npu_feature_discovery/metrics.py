"""The discovery's metrics, ``npu_feature_discovery_*``: numbers it kept anyway, in Prometheus' words."""

from collections.abc import Iterable, Iterator, Mapping

from npu_core.service.exposition import CONTENT_TYPE, Family, Kind, Sample
from npu_core.service.exposition import exposition as exposition_of
from npu_feature_discovery import __version__
from npu_feature_discovery.condition import Condition
from npu_feature_discovery.sinks import FailureReason, Outcome
from npu_feature_discovery.telemetry import Telemetry

__all__ = ["CONTENT_TYPE", "exposition"]
_PREFIX = "npu_feature_discovery_"
_OUTCOMES = tuple(map(str, (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED)))
"""The outcomes of publishing. Removing has the other outcomes."""
_FAILURES = ("look", *map(str, FailureReason))
"""Why a look or a publication can fail."""


def exposition(condition: Condition, telemetry: Telemetry, now: float) -> str:
    """Everything, in Prometheus' text format; ``now`` is seconds since the epoch."""
    return exposition_of([*_counters(telemetry), *_gauges(condition, telemetry, now)])


def _counters(telemetry: Telemetry) -> Iterator[Family]:
    yield _counter("changes", "Changes of what is published, the first time included.", Sample({}, telemetry.changes))
    publishes = _by("outcome", _OUTCOMES, telemetry.publishes)
    yield _counter("publishes", "Times the labels were published, by what that did.", *publishes)
    failures = _by("reason", _FAILURES, telemetry.failures)
    yield _counter("failures", "Looks and publications that failed.", *failures)
    refused = _by("reason", (), telemetry.traffic.by_reason())
    yield _counter(
        "http_clients_refused", "Clients of the HTTP endpoint that were cut off or refused, by reason.", *refused
    )
    dropped = Sample({}, telemetry.dropped_lines())
    yield _counter("log_lines_dropped", "Log lines lost because nobody read standard error.", dropped)


def _by(label: str, always: Iterable[str], counts: Mapping[str, int]) -> Iterator[Sample]:
    """A sample for each value. Values of ``always`` start as 0, so that ``increase()`` sees a first 1."""
    for value, count in sorted((dict.fromkeys(always, 0) | dict(counts)).items()):
        yield Sample({label: value}, count)


def _counter(name: str, text: str, *samples: Sample) -> Family:
    return Family(f"{_PREFIX}{name}_total", Kind.COUNTER, text, samples)


def _gauges(condition: Condition, telemetry: Telemetry, now: float) -> Iterator[Family]:
    version = Sample({"version": __version__}, 1)
    yield Family(f"{_PREFIX}build_info", Kind.GAUGE, "1; the version is in the label.", (version,))
    for name, text, value in (
        ("labels", "Labels that belong on the node.", None if condition.labels is None else len(condition.labels)),
        ("cards", "Cards that the last good look found.", condition.cards),
        ("cards_stuck", "Cards that a read has not come back from.", condition.stuck),
        ("ready", "1 if the labels are published and the last look was good.", int(condition.ready)),
        ("look_duration_seconds", "Time that the last look at the host took.", telemetry.look_seconds),
        ("last_success_timestamp_seconds", "When the labels were last known to be published.", telemetry.last_success),
        ("heartbeat_timestamp_seconds", "When the loop last turned.", now - condition.heartbeat_age),
    ):
        if value is not None:  # what is not known yet is not there, rather than 0
            yield Family(_PREFIX + name, Kind.GAUGE, text, (Sample({}, value),))
