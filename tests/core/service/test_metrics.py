"""The metrics of a service: rows make families, and prometheus_client's own parsers read the pages."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


PROMETHEUS_3 = (
    f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPENMETRICS};version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_TEXT_FIRST = f"text/plain;version=0.0.4;q=0.6,{OPENMETRICS};version=1.0.0;q=0.5,*/*;q=0.2"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS_3, True),
        (PROMETHEUS_3_TEXT_FIRST, False),
        (BROWSER, False),
        ("*/*", False),
        ("text/html", False),
        (f"{OPENMETRICS};version=0.0.1", False),
        (f"{OPENMETRICS};version=words", False),
        (f'{OPENMETRICS}; version="1.0.0"', True),
        (f"{OPENMETRICS} ; Version = 1.0.0 ; Q = 0.5 , text/plain;q=0.4", True),
        ("Application/OpenMetrics-Text", True),
        (f"{OPENMETRICS};q=0", False),
        (f"{OPENMETRICS};q=much", False),
        (f"{OPENMETRICS};q=nan", False),
        (f"{OPENMETRICS};q=7", False),
        (f"{OPENMETRICS};q=0.2,text/plain;q=0.7", False),
        (f"{OPENMETRICS};q=0.7,text/plain;q=0.7", True),
        (f"{OPENMETRICS};q=0.1,{OPENMETRICS};q=0.7,text/plain;q=0.5", True),
        # One clause that cannot be understood says nothing of the others.
        (f"text/plain;version=words,{OPENMETRICS}", True),
        ("\x00;;=,,q", False),
    ],
)
def test_a_client_gets_openmetrics_only_where_it_asks_for_it_and_likes_it_no_less(
    accept: str, *, expected: bool
) -> None:
    assert takes_openmetrics(accept) is expected


@given(
    st.text()
    | st.lists(st.sampled_from([OPENMETRICS, ";version=", ";q=", ",", "1.0.0", "x", '"', "=", "text/plain"])).map(
        "".join
    )
)
def test_any_accept_header_is_answered(header: str) -> None:
    assert takes_openmetrics(header) in {True, False}
