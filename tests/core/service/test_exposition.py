"""The text format of a service's own metrics, beside Prometheus' own library, which reads and writes the same."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from npu_core.service.exposition import CONTENT_TYPE, Family, Kind, Sample, exposition, histogram_samples

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))
names = st.from_regex(r"_?[a-z][a-z0-9_]{0,20}", fullmatch=True)  # two underscores begin Prometheus' own labels


def written_by_the_library(*families: Metric) -> str:
    """What Prometheus' client library makes of its own families."""

    class These(Collector):
        def collect(self) -> tuple[Metric, ...]:
            return families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(These())
    return generate_latest(registry).decode()


def read(text: str) -> list[tuple[object, ...]]:
    """What a scrape would take from a text. Not-a-number is made equal to itself."""
    return [
        (family.name, family.type, family.documentation, sample.name, sample.labels, repr(sample.value))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def test_a_gauge_a_counter_and_a_histogram_are_written_as_the_format_has_them() -> None:
    families = [
        Family("cards", Kind.GAUGE, "Cards there are.", (Sample({}, 2),)),
        Family("answers_total", Kind.COUNTER, "Answers.", (Sample({"was": "b", "to": "a"}, 3.5),)),
        Family("seconds", Kind.HISTOGRAM, "Time.", tuple(histogram_samples({"of": "x"}, (0.5, 1), (1, 2, 4), 9.25))),
        Family("nothing", Kind.GAUGE, "No values.", ()),
    ]
    assert exposition(families) == (
        "# HELP cards Cards there are.\n"
        "# TYPE cards gauge\n"
        "cards 2.0\n"
        "# HELP answers_total Answers.\n"
        "# TYPE answers_total counter\n"
        'answers_total{to="a",was="b"} 3.5\n'
        "# HELP seconds Time.\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{le="0.5",of="x"} 1.0\n'
        'seconds_bucket{le="1.0",of="x"} 2.0\n'
        'seconds_bucket{le="+Inf",of="x"} 4.0\n'
        'seconds_count{of="x"} 4.0\n'
        'seconds_sum{of="x"} 9.25\n'
        "# HELP nothing No values.\n"
        "# TYPE nothing gauge\n"
    )


def test_what_is_no_number_is_told_in_the_formats_words() -> None:
    told = {math.inf: "+Inf", -math.inf: "-Inf", math.nan: "NaN", -1: "-1.0", 1 << 60: "1.152921504606847e+18"}
    samples = tuple(Sample({"n": str(place)}, value) for place, value in enumerate(told))
    text = exposition([Family("odd", Kind.GAUGE, "Odd ones.", samples)])
    assert [line.split()[-1] for line in text.splitlines()[2:]] == list(told.values())


@given(
    name=names.map("x{}".format),
    text=texts,
    labels=st.dictionaries(names, texts, max_size=4),
    value=st.floats(0, 1e300),
    counts=st.booleans(),
)
def test_a_gauge_and_a_counter_are_read_as_the_librarys_own(
    name: str, text: str, labels: dict[str, str], value: float, *, counts: bool
) -> None:
    name = f"{name.removesuffix('_total')}_total" if counts else name
    theirs = (CounterMetricFamily if counts else GaugeMetricFamily)(name, text, labels=list(labels))
    theirs.add_metric(list(labels.values()), value)
    ours = Family(name, Kind.COUNTER if counts else Kind.GAUGE, text, (Sample(labels, value),))
    assert read(exposition([ours])) == read(written_by_the_library(theirs))


@given(
    texts,
    st.lists(st.floats(0, 1e9), min_size=1, max_size=8, unique=True).map(sorted),
    st.data(),
    st.floats(0, 1e300),
)
def test_a_histogram_is_read_as_the_librarys_own(
    label: str, bounds: list[float], data: st.DataObject, total: float
) -> None:
    many = len(bounds) + 1
    counts = sorted(data.draw(st.lists(st.integers(0, 1 << 40), min_size=many, max_size=many)))
    theirs = HistogramMetricFamily("seconds", "Time.", labels=["of"])
    theirs.add_metric([label], list(zip((*map(str, bounds), "+Inf"), counts, strict=True)), total)
    samples = tuple(histogram_samples({"of": label}, bounds, counts, total))
    ours = Family("seconds", Kind.HISTOGRAM, "Time.", samples)
    assert read(exposition([ours])) == read(written_by_the_library(theirs))


def test_the_content_type_is_the_librarys() -> None:
    assert CONTENT_TYPE == CONTENT_TYPE_PLAIN_0_0_4
