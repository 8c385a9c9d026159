"""Every metric that the three services export, with its labels; from the tables that they are exported by."""

from collections.abc import Iterable
from typing import Any

from npu_core.service.metrics import Row
from npu_device_plugin import metrics as plugin
from npu_feature_discovery import metrics as discovery
from npu_metrics_exporter.metrics import families
from npu_metrics_exporter.metrics import self_metrics as own_metrics
from npu_metrics_exporter.metrics.policy import Units

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
    return _rows(own_metrics.PREFIX, own_metrics.TABLE) | _histogram(own_metrics.COLLECT_DURATION)


def _plugin() -> Labels:
    return _rows(plugin.PREFIX, plugin.TABLE) | _histogram(f"{plugin.PREFIX}allocate_duration_seconds", "resource")


def _discovery() -> Labels:
    return _rows(discovery.PREFIX, discovery.TABLE)


def _rows(prefix: str, rows: Iterable[Row[Any]]) -> Labels:
    return {prefix + row.sample: frozenset(row.labels) for row in rows}


def _histogram(name: str, *labels: str) -> Labels:
    return {f"{name}_{part}": frozenset({*labels, *more}) for part, more in _OF_A_HISTOGRAM.items()}
