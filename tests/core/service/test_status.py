"""The status pages of a service."""

from http import HTTPStatus

import pytest

from npu_core.service.http.messages import Request
from npu_core.service.metrics import Row, gauge
from npu_core.service.status import StatusPages

_AGE: Row[float] = gauge("age", "Age.", lambda age: age)


def pages(alive: str = "", ready: str = "") -> StatusPages:
    return StatusPages(lambda: alive, lambda: ready, lambda: lambda: [_AGE.family("x_", 3.0)])


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_service_that_is_well_says_so(path: str) -> None:
    assert (await pages().answer(Request("GET", path))).status == HTTPStatus.OK


@pytest.mark.parametrize(("path", "reason"), [("/healthz", "it hangs"), ("/readyz", "no kubelet")])
async def test_a_probe_that_fails_tells_the_reason(path: str, reason: str) -> None:
    answer = await pages("it hangs", "no kubelet").answer(Request("GET", path))
    assert (answer.status, answer.content.decode().strip()) == (HTTPStatus.SERVICE_UNAVAILABLE, reason)


async def test_metrics_are_read_whatever_the_service_does_not_do() -> None:
    answer = await pages("it hangs", "no kubelet").answer(Request("GET", "/metrics"))
    assert (answer.status, b"x_age 3.0" in answer.content) == (HTTPStatus.OK, True)


async def test_other_paths_and_methods_are_refused() -> None:
    assert (await pages().answer(Request("GET", "/"))).status == HTTPStatus.NOT_FOUND
    assert (await pages().answer(Request("POST", "/metrics"))).status == HTTPStatus.METHOD_NOT_ALLOWED
