"""The discovery's metrics, ``npu_feature_discovery_*``: numbers it kept anyway, in Prometheus' words."""

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from npu_feature_discovery import __version__
from npu_feature_discovery.condition import Condition
from npu_feature_discovery.telemetry import Telemetry

__all__ = ["CONTENT_TYPE", "exposition"]
_PREFIX = "npu_feature_discovery_"


def exposition(condition: Condition, telemetry: Telemetry, now: float) -> str:
    """Everything, in Prometheus' text format; ``now`` is seconds since the epoch."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot([*_counters(telemetry), *_gauges(condition, telemetry, now)]))
    return generate_latest(registry).decode()


class _Snapshot(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counters(telemetry: Telemetry) -> Iterator[Metric]:
    changes = CounterMetricFamily(f"{_PREFIX}changes", "Changes of what is published, the first time included.")
    changes.add_metric([], telemetry.changes)
    yield changes
    publishes = CounterMetricFamily(
        f"{_PREFIX}publishes", "Times the labels were published, by what that did.", labels=["outcome"]
    )
    for outcome, count in sorted(telemetry.publishes.items()):
        publishes.add_metric([outcome], count)
    yield publishes
    failures = CounterMetricFamily(f"{_PREFIX}failures", "Looks and publications that failed.", labels=["reason"])
    for reason, count in sorted(telemetry.failures.items()):
        failures.add_metric([reason], count)
    yield failures


def _gauges(condition: Condition, telemetry: Telemetry, now: float) -> Iterator[Metric]:
    build = GaugeMetricFamily(f"{_PREFIX}build_info", "1; the version is in the label.", labels=["version"])
    build.add_metric([__version__], 1)
    yield build
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
            yield GaugeMetricFamily(_PREFIX + name, text, value=value)
