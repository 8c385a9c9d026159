"""The plugin's own HTTP endpoint: is it alive, is it doing its job, and what it counted."""

import time
from collections.abc import Callable

from npu_core.os_errors import removed_text
from npu_core.service.http.messages import Answer, verdict
from npu_core.service.http.pages import Page
from npu_device_plugin.condition import Condition
from npu_device_plugin.metrics import CONTENT_TYPE, exposition
from npu_device_plugin.telemetry import Telemetry


def pages(condition: Callable[[], Condition], telemetry: Telemetry) -> dict[str, Page]:
    """The endpoint's pages."""
    return {
        "/healthz": lambda: _liveness(condition()),
        "/readyz": lambda: _readiness(condition()),
        "/metrics": lambda: _metrics(condition(), telemetry),
    }


def _liveness(condition: Condition) -> Answer:
    return verdict(condition.alive, "alive", _lifeless(condition))


def _lifeless(condition: Condition) -> str:
    if condition.removed:
        return removed_text(condition.removed)
    return "the cards were not looked at for too long"


def _readiness(condition: Condition) -> Answer:
    good = "registered, and the kubelet listens" if condition.resources else "no card, so nothing to register"
    return verdict(condition.ready, good, _unready(condition))


def _unready(condition: Condition) -> str:
    if not condition.looked:
        return "the cards were not looked at yet"
    if condition.waiting_for:
        return f"waiting for {condition.waiting_for}"
    missing = ", ".join(name for name, _, listening in condition.resources if not listening)
    return f"not registered: {missing}" if missing else _lifeless(condition)


def _metrics(condition: Condition, telemetry: Telemetry) -> Answer:
    return Answer(exposition(condition, telemetry, time.time()), content_type=CONTENT_TYPE)
