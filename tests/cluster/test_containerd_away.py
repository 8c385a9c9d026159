"""containerd is stopped for two minutes, as in an upgrade: nobody reads the logs of the services."""

import re
import time
from collections.abc import Iterator

import pytest

from testkit.waiting import until
from tools.cluster.node import DAEMONS, MANIFESTS, Node
from tools.cluster.services import NAMESPACE, page, services

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

_SECONDS = 120.0
_DROPPED = re.compile(r"^\w+_log_lines_dropped_total (\d+)", re.MULTILINE)


@pytest.fixture
def talkative(node: Node) -> Iterator[Node]:
    """The node, whose services log every step."""
    for daemon in DAEMONS:
        node.kubectl("set", "env", f"daemonset/{daemon}", f"--namespace={NAMESPACE}", "NPU_LOG_LEVEL=debug")
    for daemon in DAEMONS:
        node.await_daemon(daemon)
    yield node
    for daemon in DAEMONS:
        node.kubectl("set", "env", f"daemonset/{daemon}", f"--namespace={NAMESPACE}", "NPU_LOG_LEVEL-")
    node.apply(*MANIFESTS)
    for daemon in DAEMONS:
        node.await_daemon(daemon)


def test_probes_are_answered_and_cards_are_watched_while_nobody_reads_the_logs(talkative: Node) -> None:
    node = talkative
    before = services(node)
    silent: list[str] = []
    node.stop_containerd()
    ends = time.monotonic() + _SECONDS
    node.card(1).die()
    until(lambda: node.allocatable() == 3, "the kubelet knows that the card is dead")
    while time.monotonic() < ends:
        asked = [(each, path) for each in before for path in ("/healthz", "/metrics")]
        silent += [f"{each.daemon}{path}" for each, path in asked if not page(node, each, path)]
    node.card(1).revive()
    until(lambda: node.allocatable() == 4, "the kubelet knows that the card is alive")
    node.start_containerd()
    assert silent == []
    after = services(node)
    assert [(each.uid, each.restarts) for each in after] == [(each.uid, each.restarts) for each in before]
    # The services count every log line that they drop.
    assert all(_DROPPED.search(page(node, each, "/metrics")) for each in after)
