"""The text of a feature file: equal labels are equal bytes, and every release reads the same from them."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_feature_discovery.labels.feature_text import MAX_BYTES, FeatureText, parse, render
from npu_feature_discovery.labels.table import Extra, labels_of
from testkit.standins.nfd import RULES, Worker
from tests.feature_discovery.facts import node, rngd, warboy

LABELS = labels_of(node(warboy()))
NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
TEN = b"""\
beta.furiosa.ai/driver.reference=57ac7b0
beta.furiosa.ai/driver.version=1.3.0
beta.furiosa.ai/driver.version.major=1
beta.furiosa.ai/driver.version.minor=3
beta.furiosa.ai/driver.version.patch=0
beta.furiosa.ai/machine.name=PowerEdge-R750
beta.furiosa.ai/machine.vendor=Dell-Inc
beta.furiosa.ai/npu.count=1
beta.furiosa.ai/npu.family=warboy
beta.furiosa.ai/npu.product=warboy
"""

label_maps = st.dictionaries(
    st.from_regex(r"beta\.furiosa\.ai/[a-z0-9]([-a-z0-9_.]{0,20}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?", fullmatch=True),
    max_size=12,
)
times = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1))  # noqa: DTZ001  # hypothesis wants them so


def test_a_file_is_a_line_per_label_in_key_order_after_the_expiry_time() -> None:
    assert render(LABELS) == render(dict(reversed(list(LABELS.items())))) == TEN
    assert render(LABELS, NOON) == b"# +expiry-time=2026-05-04T12:00:00Z\n" + TEN


@pytest.mark.parametrize(
    "time",
    [
        NOON + timedelta(microseconds=999_999),
        datetime(2026, 5, 4, 21, 0, 0, tzinfo=timezone(timedelta(hours=9))),
    ],
)
def test_an_expiry_time_is_written_in_utc_and_whole_seconds(time: datetime) -> None:
    assert render({}, time) == b"# +expiry-time=2026-05-04T12:00:00Z\n"


@given(label_maps, st.none() | times)
def test_what_is_written_is_read_back(labels: dict[str, str], expires: datetime | None) -> None:
    whole = None if expires is None else expires.replace(microsecond=0)
    assert parse(render(labels, expires)) == FeatureText(labels, whole)


@pytest.mark.parametrize(
    "content",
    [
        TEN[:-1],
        TEN[:50],
        TEN + b"\n",
        TEN.replace(b"\n", b"\r\n"),
        b"# by hand\n" + TEN,
        TEN + TEN,
        b"".join(reversed(TEN.splitlines(keepends=True))),
        b"\xff" + TEN,
        b"\n",
        b"\0" * 100,
        b"beta.furiosa.ai/npu.count\n",
        b"# +expiry-time=tomorrow\n" + TEN,
        b"# +expiry-time=2026-05-04T12:00:00+00:00\n" + TEN,
        b"# +expiry-time=2026-05-04T12:00:00\n" + TEN,
        b"# +expiry-time=9999-12-31T23:59:59-23:00\n" + TEN,
        TEN + b"# +expiry-time=2026-05-04T12:00:00Z\n",
    ],
)
def test_a_file_that_somebody_touched_is_not_ours(content: bytes) -> None:
    assert parse(content) is None


@given(st.binary(max_size=200) | st.text("beta.furiosa.ai/=# +expiry-time\n", max_size=100).map(str.encode))
def test_whatever_passes_for_ours_is_what_would_be_written(content: bytes) -> None:
    text = parse(content)
    assert text is None or render(text.labels, text.expires) == content


def test_an_empty_file_says_nothing() -> None:
    assert render({}) == b""
    assert parse(b"") == FeatureText()
    assert parse(b"a=b=c\n") == FeatureText({"a": "b=c"})


@pytest.mark.parametrize("version", RULES)
def test_every_release_reads_exactly_our_labels(tmp_path: Path, version: str) -> None:
    labels = labels_of(node(warboy(0), warboy(1, "warboyB0"), rngd(0)), extras=Extra)
    (tmp_path / "furiosa-npu-feature-discovery").write_bytes(render(labels))
    reading = Worker(tmp_path, version, extra_label_ns={"beta.furiosa.ai"}).discover()
    assert reading.labels == labels
    assert reading.log == ()


@pytest.mark.parametrize("version", ["v0.14", "v0.15", "v0.19"])
def test_labels_are_gone_when_their_time_is_over(tmp_path: Path, version: str) -> None:
    (tmp_path / "furiosa-npu-feature-discovery").write_bytes(render(LABELS, NOON))
    worker = Worker(tmp_path, version)
    assert worker.discover(NOON).labels == LABELS
    assert worker.discover(NOON + timedelta(seconds=1)).labels == {}
    assert worker.discover().log == ()


def test_the_largest_file_there_can_be_is_far_from_the_limit() -> None:
    cards = [warboy(index, f"product{index:02}-{'x' * 40}", f"1.2.3-{'y' * 60}") for index in range(64)]
    assert len(render(labels_of(node(*cards), extras=Extra), NOON)) < MAX_BYTES / 8 == 8 * 1024
