"""When the discovery is alive and when it does its job, and what its endpoint says then."""

import asyncio
from dataclasses import replace
from http import HTTPStatus

import pytest

from npu_core.service.http.messages import Answer, Request
from npu_feature_discovery import __version__
from npu_feature_discovery.counters import Counters
from npu_feature_discovery.endpoint import pages_of
from npu_feature_discovery.metrics import families
from npu_feature_discovery.service_status import ServiceStatus
from npu_feature_discovery.sinks import FailureReason

GOOD = ServiceStatus(heartbeat_age=0.5, patience=30.0, labels={"a": "b"}, cards=2, published=True)
NEW = ServiceStatus(heartbeat_age=0.5, patience=30.0)


@pytest.mark.parametrize(
    ("condition", "verdict", "objection"),
    [
        (GOOD, (True, True), ""),
        (NEW, (True, False), "the labels are not published yet"),
        (replace(GOOD, look_failure="/sys: EIO"), (True, False), "cannot look at the host: /sys: EIO"),
        (replace(GOOD, publish_failure="403", published=False), (True, False), "cannot publish: 403"),
        (replace(GOOD, heartbeat_age=30.0), (False, False), "the loop has not turned for 30 s"),
        (replace(GOOD, stuck=1), (True, True), ""),
    ],
)
def test_it_is_ready_when_the_labels_are_published_and_true(
    condition: ServiceStatus, verdict: tuple[bool, bool], objection: str
) -> None:
    assert (not condition.why_not_alive, not condition.why_not_ready) == verdict
    assert condition.why_not_ready == objection


def answer(page: str, condition: ServiceStatus) -> Answer:
    return asyncio.run(pages_of(lambda: condition, Counters()).answer(Request("GET", page)))


def test_the_endpoint_says_what_is_so() -> None:
    hung = replace(GOOD, heartbeat_age=100.0)
    assert answer("/healthz", GOOD).status is HTTPStatus.OK
    assert answer("/healthz", NEW).status is HTTPStatus.OK
    assert answer("/healthz", hung).status is HTTPStatus.SERVICE_UNAVAILABLE
    assert answer("/readyz", GOOD).status is HTTPStatus.OK
    assert answer("/readyz", NEW).status is HTTPStatus.SERVICE_UNAVAILABLE
    assert answer("/readyz", hung).body == "the loop has not turned for 100 s\n"


def samples(condition: ServiceStatus, telemetry: Counters, now: float = 1000.0) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("npu_feature_discovery_"), *sample.labels.values()): sample.value
        for family in families(condition, telemetry, now)
        for sample in family.samples
    }


def test_the_metrics_are_what_it_counted() -> None:
    telemetry = Counters(changes=2, last_success=900.0, look_seconds=0.004)
    telemetry.publishes.update(created=1, unchanged=5)
    telemetry.failures.update(look=1, no_space=3)
    assert {key: value for key, value in samples(replace(GOOD, stuck=1), telemetry).items() if value} == {
        ("changes_total",): 2,
        ("publishes_total", "created"): 1,
        ("publishes_total", "unchanged"): 5,
        ("failures_total", "look"): 1,
        ("failures_total", "no_space"): 3,
        ("build_info", __version__): 1,
        ("labels",): 1,
        ("cards",): 2,
        ("cards_stuck",): 1,
        ("ready",): 1,
        ("look_duration_seconds",): 0.004,
        ("last_success_timestamp_seconds",): 900,
        ("heartbeat_timestamp_seconds",): 999.5,
    }


def test_a_counter_is_there_as_0_before_it_counts() -> None:
    """``increase()`` does not see a counter go from nothing to 1."""
    counters = {key: value for key, value in samples(NEW, Counters()).items() if key[0].endswith("_total")}
    assert set(counters.values()) == {0}
    assert {key[1] for key in counters if key[0] == "publishes_total"} == {"created", "updated", "unchanged"}
    assert {key[1] for key in counters if key[0] == "failures_total"} == {"look", *FailureReason}
    assert ("changes_total",) in counters


def test_what_is_not_known_yet_is_left_out_of_the_metrics() -> None:
    assert {key for key in samples(NEW, Counters()) if not key[0].endswith("_total")} == {
        ("build_info", __version__),
        ("cards_stuck",),
        ("ready",),
        ("heartbeat_timestamp_seconds",),
    }


def test_the_page_of_metrics_is_prometheus_text() -> None:
    page = answer("/metrics", GOOD)
    assert page.content_type.startswith("text/plain; version=0.0.4")
    assert b"# TYPE npu_feature_discovery_publishes_total counter" in page.content
