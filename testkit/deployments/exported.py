"""Every metric that the three services export, with its labels; from the tables that they are exported by."""

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from npu_device_plugin import metrics as plugin
from npu_feature_discovery import metrics as discovery
from npu_feature_discovery.condition import Condition
from npu_feature_discovery.telemetry import Telemetry
from npu_metrics_exporter import families, own_metrics
from npu_metrics_exporter.policy import Units

TARGET = frozenset({"job", "instance", "node", "cluster"})
"""Labels that every series may have of its target; ``cluster`` where Prometheus has several."""

Labels = dict[str, frozenset[str]]
_OF_A_HISTOGRAM = {"bucket": ("le",), "sum": (), "count": ()}


def exported() -> Labels:
    """Names in queries, and labels."""
    return {**_cards(), **_exporter(), **_plugin(), **_discovery()}


def in_other_units() -> frozenset[str]:
    """Metrics that have a twin in base units."""
    return frozenset(family.sample for family in families.TABLE if family.twin is Units.SPEC)


def _cards() -> Labels:
    return {
        family.sample: frozenset({*families.COMMON_LABELS, *family.labels})
        for family in (*families.TABLE, families.POD_INFO)
    }


def _exporter() -> Labels:
    rows = {row.full_name: frozenset(row.labels) for row in own_metrics.TABLE}
    return rows | _histogram(own_metrics.COLLECT_DURATION)


def _plugin() -> Labels:
    counters = {f"{plugin._PREFIX}{row.name}_total": frozenset(row.labels) for row in plugin._COUNTERS}
    gauges = {f"{plugin._PREFIX}{row.name}": frozenset(row.labels) for row in plugin._GAUGES}
    return counters | gauges | _histogram(f"{plugin._PREFIX}allocate_duration_seconds", "resource")


def _discovery() -> Labels:
    """They are in no table: as they are exposed when everything has happened once."""
    telemetry = Telemetry(Counter(created=1), Counter(look=1), 1, 1.0, 1.0)
    text = discovery.exposition(Condition(0.0, 30.0, labels={}, cards=1), telemetry, 1.0)
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {sample.name: frozenset(sample.labels) for sample in samples}


def _histogram(name: str, *labels: str) -> Labels:
    return {f"{name}_{part}": frozenset({*labels, *more}) for part, more in _OF_A_HISTOGRAM.items()}
