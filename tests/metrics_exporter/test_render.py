"""Bytes of a scrape: prometheus_client's, byte for byte, but for whole numbers."""

import gzip
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from npu_metrics_exporter.metrics.render import OPENMETRICS_TYPE, TEXT_TYPE, Exposition, render


@dataclass(frozen=True, eq=False)
class Fixed(Collector):
    """A registry's only collector."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def registry(families: Iterable[Metric]) -> CollectorRegistry:
    made = CollectorRegistry(auto_describe=False)
    made.register(Fixed(list(families)))
    return made


def gauge(*samples: tuple[dict[str, str], float], name: str = "x", text: str = "What it is.") -> Metric:
    family = Metric(name, text, "gauge")
    family.samples = [Sample(name, labels, value) for labels, value in samples]
    return family


def counter(count: float = 2.0) -> Metric:
    family = CounterMetricFamily("errors", "Errors.", labels=["kind"])
    family.add_metric(["axi"], count)
    return family


def histogram() -> Metric:
    return HistogramMetricFamily("took", "Seconds.", buckets=[("0.1", 1.0), ("+Inf", 3.0)], sum_value=1.5)


def with_unit() -> Metric:
    family = GaugeMetricFamily("heat_celsius", "Heat.", unit="celsius")
    family.add_metric([], 40.5)
    return family


openmetrics_of: Callable[[CollectorRegistry], bytes] = generate_openmetrics

names = st.sampled_from(["x", "furiosa_npu_alive", "y_info"])
texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from('\\"\n\r{},=# ')), max_size=12)
labels = st.dictionaries(st.sampled_from(["label", "device", "arch", "_z", "A"]), texts, max_size=4)
floats = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1e6, 1e7, 4.5e7, 1e-7, math.inf, -math.inf, math.nan]))
kinds = st.sampled_from(["gauge", "counter", "unknown"])


@st.composite
def families(draw: st.DrawFn, values: st.SearchStrategy[float] = floats) -> Metric:
    name, kind = draw(names), draw(kinds)
    family = Metric(name, draw(texts), kind)
    sample = f"{name}_total" if kind == "counter" else name
    pairs = draw(st.lists(st.tuples(labels, values), min_size=1, max_size=4))
    family.samples = [Sample(sample, each, value) for each, value in pairs]
    return family


@given(st.lists(families(), max_size=4))
def test_both_formats_are_what_prometheus_client_writes(made: list[Metric]) -> None:
    found = render(made)
    assert found.text == generate_latest(registry(made))
    assert found.openmetrics == openmetrics_of(registry(made))


def test_histograms_and_units_are_what_prometheus_client_writes() -> None:
    made = [histogram(), with_unit(), counter()]
    found = render(made)
    assert found.text == generate_latest(registry(made))
    assert found.openmetrics == openmetrics_of(registry(made))


class Watched(dict[str, str]):
    """Labels that count how often somebody writes them."""

    written = 0

    def items(self) -> Any:  # noqa: ANN401  # its type has no public name
        self.written += 1
        return super().items()


def test_a_series_is_written_once_for_both_formats() -> None:
    """A node with many cards has thousands, and the event loop waits meanwhile."""
    labels = Watched(device="npu0")
    found = render([gauge((labels, 1.0))])
    assert labels.written == 1
    assert b'x{device="npu0"} 1.0\n' in found.text
    assert b'x{device="npu0"} 1.0\n' in found.openmetrics


def test_the_content_types_are_those_of_the_formats() -> None:
    assert re.fullmatch(r"text/plain; version=0\.0\.4; charset=utf-8", TEXT_TYPE)
    assert re.fullmatch(r"application/openmetrics-text; version=1\.0\.0; charset=utf-8", OPENMETRICS_TYPE)


def samples_of(document: bytes) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in parse_text(document.decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, float(sample.value)


def test_both_are_compressed_as_gzip_files_that_hold_them() -> None:
    found = render([gauge(({"device": "npu0"}, 1)), counter()])
    assert gzip.decompress(found.text_gzip) == found.text
    assert gzip.decompress(found.openmetrics_gzip) == found.openmetrics


def test_a_family_without_a_sample_is_left_out() -> None:
    assert render([gauge(), gauge(({}, 1), name="y")]).text.startswith(b"# HELP y ")


def test_nothing_is_an_empty_text_and_an_openmetrics_end() -> None:
    found = render([])
    assert (found.text, found.openmetrics) == (b"", b"# EOF\n")
    assert gzip.decompress(found.text_gzip) == b""


EVERYTHING = render([gauge(({"device": "npu0"}, 1)), counter(), histogram(), gauge(({}, 7), name="y")])


def family_names(found: bytes, *, openmetrics: bool = False) -> list[str]:
    parse = parse_openmetrics if openmetrics else parse_text
    return [family.name for family in parse(found.decode())]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_families_are_chosen_by_name(*, openmetrics: bool) -> None:
    found = EVERYTHING.named({"x", "y", "nowhere"}, openmetrics=openmetrics)
    assert family_names(found, openmetrics=openmetrics) == ["x", "y"]
    for name in ("errors", "errors_total"):
        assert family_names(EVERYTHING.named({name}, openmetrics=openmetrics), openmetrics=openmetrics) == ["errors"]
    assert EVERYTHING.named({"nowhere"}, openmetrics=openmetrics) == (b"# EOF\n" if openmetrics else b"")


def test_a_histogram_is_given_whole() -> None:
    found = EVERYTHING.named({"took_bucket"}, openmetrics=False).decode()
    assert "took_sum 1.5" in found
    assert family_names(found.encode()) == ["took"]


def test_choosing_everything_is_the_document() -> None:
    everything: Exposition = EVERYTHING
    names = {name for family in everything.families for name in family.names}
    assert everything.named(names, openmetrics=False) == everything.text
    assert everything.named(names, openmetrics=True) == everything.openmetrics
