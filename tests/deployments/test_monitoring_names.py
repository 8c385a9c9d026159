"""Rules and dashboard name metrics and labels that exist: a name that nobody exports alerts of nothing, for ever."""

import re

import pytest

from testkit.deployments.exported import TARGET, exported, in_other_units
from testkit.deployments.monitoring import Expression, expressions, rules
from testkit.deployments.promql import Grouping, Matcher, Selector, names

EXPRESSIONS = tuple(expressions())
PROMETHEUS = {"up": frozenset[str](), "ALERTS": frozenset({"alertname", "alertstate"})}
RENAMED = {"furiosa_npu_pod_info": frozenset({"exported_pod"})}
"""What Prometheus makes of labels where ``honor_labels`` is not set."""
_SHOWN = re.compile(r"{{ *(\w+) *}}|\$labels\.(\w+)")


def recorded() -> dict[str, frozenset[str]]:
    """What the recording rules make: their outermost aggregation says which labels are left."""
    return {rule["record"]: frozenset(names(rule["expr"]).groupings[0].labels) for rule in rules() if "record" in rule}


KNOWN = {**exported(), **PROMETHEUS, **recorded()}
EACH = pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda expression: expression.where)


@EACH
def test_an_expression_names_metrics_that_exist(expression: Expression) -> None:
    metrics = names(expression.text).metrics
    assert metrics
    assert metrics - KNOWN.keys() == set()


@EACH
def test_an_expression_matches_labels_that_the_metric_has(expression: Expression) -> None:
    for selector in names(expression.text).selectors:
        metric = selector.metric
        assert selector.labels - KNOWN[metric] - TARGET - RENAMED.get(metric, frozenset()) == set(), metric


@EACH
def test_what_is_grouped_by_and_shown_is_a_label_of_some_metric_of_the_expression(expression: Expression) -> None:
    read = names(expression.text)
    there = TARGET.union(*(KNOWN[metric] for metric in read.metrics))
    grouped = {label for grouping in read.groupings for label in grouping.labels}
    shown = {one or other for text in expression.shown for one, other in _SHOWN.findall(text)}
    assert (grouped | shown) - there == set()


@EACH
def test_clusters_are_kept_apart(expression: Expression) -> None:
    """Nodes and addresses of two clusters may be called alike."""
    if expression.where.startswith("$"):
        return  # the values of one label, of clusters that were chosen
    for grouping in names(expression.text).groupings:
        assert grouping.word not in {"by", "on"} or "cluster" in grouping.labels, grouping
        assert grouping.word not in {"without", "ignoring"} or "cluster" not in grouping.labels, grouping


def test_a_rule_adds_nothing_up_over_all_clusters() -> None:
    assert [rule["expr"] for rule in rules() if names(rule["expr"]).bare] == []


@EACH
def test_values_are_taken_in_base_units(expression: Expression) -> None:
    assert names(expression.text).metrics & in_other_units() == set()


def test_of_every_service_something_is_said() -> None:
    prefixes = ("furiosa_npu_hw_", "furiosa_npu_exporter_", "npu_device_plugin_", "npu_feature_discovery_")
    named = {metric for expression in EXPRESSIONS for metric in names(expression.text).metrics}
    assert [prefix for prefix in prefixes if not any(metric.startswith(prefix) for metric in named)] == []


def test_the_reader_of_expressions_tells_metrics_labels_and_functions_apart() -> None:
    read = names('sum by (a, b) (rate(x_total{c=~"d", e!="f}"}[5m])) / on (g) group_left () max(y:z) or vector(1) > 2')
    matchers = (Matcher("c", "=~", "d"), Matcher("e", "!=", "f}"))
    assert read.selectors == (Selector("x_total", matchers), Selector("y:z"))
    assert read.groupings == (Grouping("by", ("a", "b")), Grouping("on", ("g",)), Grouping("group_left", ()))
    assert read.bare == 1
    assert Matcher("c", "=~", "d|e").holds({"c": "e"})
    assert not Matcher("c", "=~", "d|e").holds({"c": "de"})
    assert Matcher("c", "!=", "").holds({"c": "d"})
    assert not Matcher("c", "!=", "").holds({})
    assert names('x{a="b\\"c\\\\d"}').selectors == (Selector("x", (Matcher("a", "=", 'b"c\\d'),)),)
    with pytest.raises(ValueError, match="without a metric"):
        names('{__name__="x"}')
    with pytest.raises(ValueError, match="what is"):
        names("x ? y")
