"""The endpoint's pages: alive, ready, and the numbers."""

from dataclasses import replace
from http import HTTPStatus

import pytest
from prometheus_client.parser import text_string_to_metric_families

from npu_core.service.http.messages import Answer
from npu_device_plugin.condition import HEARTBEAT_PATIENCE, Condition
from npu_device_plugin.endpoint import pages
from npu_device_plugin.telemetry import Telemetry
from tests.device_plugin.conditions import NOTHING_YET, RESOURCE, condition

NO_ROUND = Answer("the cards were not looked at for too long\n", HTTPStatus.SERVICE_UNAVAILABLE)
ALIVE = Answer("alive\n")
NOT_LOOKED = Answer("the cards were not looked at yet\n", HTTPStatus.SERVICE_UNAVAILABLE)
READY = Answer("registered, and the kubelet listens\n")


def page(name: str, now: Condition) -> Answer:
    return pages(lambda: now, Telemetry())[name]()


def test_there_are_three_pages() -> None:
    assert list(pages(condition, Telemetry())) == ["/healthz", "/readyz", "/metrics"]


@pytest.mark.parametrize(
    ("now", "alive", "ready"),
    [
        (condition(), ALIVE, READY),
        (NOTHING_YET, ALIVE, Answer("no card, so nothing to register\n")),
        (replace(NOTHING_YET, looked=False), ALIVE, NOT_LOOKED),
        (
            condition(listening=False),
            ALIVE,
            Answer(f"not registered: {RESOURCE}\n", HTTPStatus.SERVICE_UNAVAILABLE),
        ),
        (condition(age=HEARTBEAT_PATIENCE - 0.1), ALIVE, READY),
        (condition(age=HEARTBEAT_PATIENCE), NO_ROUND, NO_ROUND),
        (condition(stuck=3), ALIVE, READY),
    ],
)
def test_it_is_alive_while_it_looks_and_ready_while_the_kubelet_listens(
    now: Condition, alive: Answer, ready: Answer
) -> None:
    assert (page("/healthz", now), page("/readyz", now)) == (alive, ready)


def test_of_two_resources_it_says_which_one_is_missing() -> None:
    now = condition()
    [(_, offer, _)] = now.resources
    both = (("example.com/a", offer, True), ("example.com/b", offer, False), ("example.com/c", offer, False))
    missing = Condition(now.heartbeat_age, both, now.fleet, now.stuck)
    assert page("/readyz", missing).body == "not registered: example.com/b, example.com/c\n"


def test_a_page_is_made_anew_each_time() -> None:
    now = [condition(listening=False)]
    ready = pages(lambda: now[-1], Telemetry())["/readyz"]
    assert ready().status is HTTPStatus.SERVICE_UNAVAILABLE
    now.append(condition())
    assert ready().status is HTTPStatus.OK


def test_metrics_are_what_prometheus_reads() -> None:
    answer = page("/metrics", condition())
    assert (answer.status, answer.content_type) == (HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8")
    assert len(list(text_string_to_metric_families(answer.content.decode()))) > 10
