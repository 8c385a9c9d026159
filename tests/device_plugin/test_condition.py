"""Whether the plugin is alive and ready, and the reason if it is not."""

from dataclasses import replace

import pytest

from npu_device_plugin.service_status import HEARTBEAT_TIMEOUT, ServiceStatus
from tests.device_plugin.conditions import NOTHING_YET, RESOURCE, condition

HANGS = "the cards were not looked at for too long"


@pytest.mark.parametrize(
    ("now", "alive", "ready"),
    [
        (condition(), "", ""),
        (NOTHING_YET, "", ""),
        (replace(NOTHING_YET, looked=False), "", "the cards were not looked at yet"),
        (replace(condition(), waiting_for="the kubelet"), "", "waiting for the kubelet"),
        (condition(listening=False), "", f"not registered: {RESOURCE}"),
        (condition(age=HEARTBEAT_TIMEOUT - 0.1), "", ""),
        (condition(age=HEARTBEAT_TIMEOUT), HANGS, HANGS),
        (condition(stuck=3), "", ""),
    ],
)
def test_it_is_alive_while_it_looks_and_ready_while_the_kubelet_listens(
    now: ServiceStatus, alive: str, ready: str
) -> None:
    assert (now.why_not_alive, now.why_not_ready) == (alive, ready)


def test_a_removed_directory_is_told_by_both() -> None:
    now = replace(condition(), removed=("/var/lib/kubelet/device-plugins",))
    assert now.why_not_alive == now.why_not_ready
    assert "/var/lib/kubelet/device-plugins" in now.why_not_alive


def test_of_two_resources_it_says_which_one_is_missing() -> None:
    now = condition()
    [(_, offer, _)] = now.resources
    both = (("example.com/a", offer, True), ("example.com/b", offer, False), ("example.com/c", offer, False))
    missing = ServiceStatus(now.heartbeat_age, both, now.fleet, now.stuck)
    assert missing.why_not_ready == "not registered: example.com/b, example.com/c"
