"""What a client takes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_metrics_exporter.negotiation import Format, format_of, names_of, takes_gzip

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        (BROWSER, Format.TEXT),
        (PROMETHEUS_2, Format.OPENMETRICS),
        (PROMETHEUS_3, Format.OPENMETRICS),
        (PROTOBUF_FIRST, Format.OPENMETRICS),
        ("text/plain", Format.TEXT),
        ("Application/OpenMetrics-Text", Format.OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"', Format.OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", Format.TEXT),
        ("application/openmetrics-text;q=0", Format.TEXT),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.7", Format.TEXT),
        ("application/openmetrics-text;q=0.7,text/plain;q=0.7", Format.OPENMETRICS),
        ("application/openmetrics-text;q=much", Format.TEXT),
        ("application/openmetrics-text;q=nan", Format.TEXT),
        ("application/openmetrics-text;q=7", Format.TEXT),
        (";;;,,,q=1", Format.TEXT),
        ("application/openmetrics-text;version=0.0.1", Format.OPENMETRICS),
        ("application/openmetrics-text;version=", Format.OPENMETRICS),
        ("application/openmetrics-text;q=1", Format.OPENMETRICS),
        ("application/openmetrics-text;q=1.5", Format.TEXT),
        ("application/openmetrics-text;q=-0.1", Format.TEXT),
        ("application/openmetrics-text;q=0.5,text/plain;version=0.0.4;q=0.7", Format.TEXT),
        ("application/openmetrics-text;q=0.5,text/plain;version=;q=0.7", Format.TEXT),
        ("application/openmetrics-text;q=0.5,text/plain;version=1.0.0;q=0.7", Format.OPENMETRICS),
        ("APPLICATION/openmetrics-text ; Version = 1.0.0 ; Q = 0.5 , text/plain;q=0.4", Format.OPENMETRICS),
        (" application/openmetrics-text ; VERSION = 2.0.0 ", Format.TEXT),
        ("text/plain ; q = 0.7 , application/openmetrics-text ; q = 0.5", Format.TEXT),
        ("application/openmetrics-text;q=0.5=1", Format.TEXT),
        ("application/openmetrics-text;version=1.0.0X", Format.TEXT),
        # Of what is listed twice, the better weight counts.
        ("application/openmetrics-text;q=0.7,application/openmetrics-text;q=0.1,text/plain;q=0.5", Format.OPENMETRICS),
        ("application/openmetrics-text;q=0.1,application/openmetrics-text;q=0.7,text/plain;q=0.5", Format.OPENMETRICS),
        ("text/plain;q=0.7,text/plain;q=0.1,application/openmetrics-text;q=0.5", Format.TEXT),
        ("text/plain;q=0.1,text/plain;q=0.7,application/openmetrics-text;q=0.5", Format.TEXT),
    ],
)
def test_a_client_gets_openmetrics_only_where_it_asks_for_it_and_likes_it_no_less(
    accept: str, expected: Format
) -> None:
    assert format_of(accept) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("br, zstd", False),
        ("gzipped", False),
        ("gzip;q=0.5, x-gzip;q=0", True),
        ("gzip;q=0, x-gzip", False),
        ("x-gzip;q=0, *", False),
        (" deflate ; q=1 , gzip ; q=0.1 ", True),
        ("gzip;q=2", False),
    ],
)
def test_gzip_is_sent_only_to_who_takes_it(header: str, *, expected: bool) -> None:
    assert takes_gzip(header) is expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", set()),
        ("name[]=a", {"a"}),
        ("name%5B%5D=a&name[]=b&name[]=a", {"a", "b"}),
        ("collect[]=a", set()),
        ("name[]=", set()),
        ("name[]=%ff", {"\ufffd"}),
    ],
)
def test_names_are_taken_from_the_query_once_each(query: str, expected: set[str]) -> None:
    assert names_of(query) == expected


@given(st.text())
def test_no_header_makes_a_scrape_fail(header: str) -> None:
    assert format_of(header) in Format
    assert takes_gzip(header) in {True, False}


@given(st.floats(0, 1), st.floats(0, 1))
def test_between_the_two_formats_the_weight_decides(openmetrics: float, text: float) -> None:
    accept = f"application/openmetrics-text;q={openmetrics!r},text/plain;q={text!r}"
    wins = openmetrics > 0 and (openmetrics > text or math.isclose(openmetrics, text, rel_tol=0, abs_tol=0))
    assert (format_of(accept) is Format.OPENMETRICS) is wins
