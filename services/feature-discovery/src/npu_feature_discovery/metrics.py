"""The discovery's metrics, ``npu_feature_discovery_*``: numbers it kept anyway, in Prometheus' words."""

from collections.abc import Iterator

from npu_core.service.exposition import CONTENT_TYPE, Family, Kind, Sample
from npu_core.service.exposition import exposition as exposition_of
from npu_feature_discovery import __version__
from npu_feature_discovery.condition import Condition
from npu_feature_discovery.telemetry import Telemetry

__all__ = ["CONTENT_TYPE", "exposition"]
_PREFIX = "npu_feature_discovery_"


def exposition(condition: Condition, telemetry: Telemetry, now: float) -> str:
    """Everything, in Prometheus' text format; ``now`` is seconds since the epoch."""
    return exposition_of([*_counters(telemetry), *_gauges(condition, telemetry, now)])


def _counters(telemetry: Telemetry) -> Iterator[Family]:
    yield _counter("changes", "Changes of what is published, the first time included.", Sample({}, telemetry.changes))
    publishes = (Sample({"outcome": outcome}, count) for outcome, count in sorted(telemetry.publishes.items()))
    yield _counter("publishes", "Times the labels were published, by what that did.", *publishes)
    failures = (Sample({"reason": reason}, count) for reason, count in sorted(telemetry.failures.items()))
    yield _counter("failures", "Looks and publications that failed.", *failures)


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
