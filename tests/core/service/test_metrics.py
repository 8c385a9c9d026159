"""The metrics of a service: rows make families, and prometheus_client's own parsers read the pages."""

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from npu_core.service.histogram import Histogram
from npu_core.service.http.messages import Request
from npu_core.service.metrics import (
    OPENMETRICS_TYPE,
    TEXT_TYPE,
    Row,
    answer,
    by_label,
    counter,
    gauge,
    histogram,
    takes_openmetrics,
)

OPENMETRICS = "application/openmetrics-text"
TURNS: Row[float] = counter("turns", "Turns.", lambda turns: turns)
FAULTS: Row[dict[str, float]] = Row("faults", "Faults.", by_label, ("kind",), lambda _: [("io",), ("gone",)])


def test_a_counter_has_the_series_that_are_always_there_from_the_start() -> None:
    family = FAULTS.family("x_", {"io": 2, "other": 1})
    assert [(sample.name, sample.labels["kind"], sample.value) for sample in family.samples] == [
        ("x_faults_total", "gone", 0),
        ("x_faults_total", "io", 2),
        ("x_faults_total", "other", 1),
    ]
    assert FAULTS.sample == "faults_total"


def test_a_gauge_whose_value_is_not_known_has_no_series() -> None:
    row = gauge("age", "Age.", lambda moment: moment)
    assert [sample.value for sample in row.family("x_", 3.0).samples] == [3.0]
    assert row.family("x_", None).samples == []


def test_a_histogram_counts_each_observation_once_and_adds_up() -> None:
    seen = Histogram((0.1, 1.0))
    for value in (0.1, 0.5, 7.0):
        seen.observe(value)
    family = histogram("x_seconds", "Time.", {"a": seen}, "resource")
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert found == {
        ("x_seconds_bucket", "0.1"): 1,
        ("x_seconds_bucket", "1.0"): 2,
        ("x_seconds_bucket", "+Inf"): 3,
        ("x_seconds_count", None): 3,
        ("x_seconds_sum", None): pytest.approx(7.6),
    }


@pytest.mark.parametrize(("accept", "is_openmetrics"), [("", False), (OPENMETRICS, True), ("text/plain", False)])
def test_a_page_is_in_the_format_that_the_client_takes(accept: str, *, is_openmetrics: bool) -> None:
    rows = (
        FAULTS.family("x_", {"io": math.inf, 'a"\\\n': 1}),
        TURNS.family("x_", 2.0),
    )
    page = answer(Request("GET", "/metrics", headers={"accept": accept}), rows)
    assert page.content_type == (OPENMETRICS_TYPE if is_openmetrics else TEXT_TYPE)
    parse = parse_openmetrics if is_openmetrics else parse_text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for f in parse(page.content.decode())
        for sample in f.samples
    }
    assert found == {
        ("x_faults_total", "io"): math.inf,
        ("x_faults_total", "gone"): 0,
        ("x_faults_total", 'a"\\\n'): 1,
        ("x_turns_total",): 2,
    }


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{OPENMETRICS};version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3", True),
        (f"{OPENMETRICS};version=0.0.1", False),
        (f"{OPENMETRICS};version=words", False),
        ("text/html", False),
        ("\x00;;=,,q", False),
    ],
)
def test_any_accept_header_is_answered(accept: str, *, expected: bool) -> None:
    assert takes_openmetrics(accept) is expected
