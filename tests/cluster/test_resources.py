"""Memory and processor time that the services used during all tests, compared with the limits of the manifests."""

import pytest

from tools.cluster.keeper import hierarchies
from tools.cluster.node import DAEMONS, Node
from tools.cluster.services import services
from tools.cluster.usage import usage

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

REBOOT = "Unknown"
"""The reason that the kubelet reports for containers that it does not find after a reboot."""


def test_the_services_use_less_than_half_of_their_memory_and_never_ended_by_themselves(node: Node) -> None:
    found = services(node)
    assert sorted(each.daemon for each in found) == sorted(DAEMONS)
    for each in found:
        used = usage(hierarchies(), node.group, each.container)
        print(each.daemon, used)  # noqa: T201  # shown by -s
        assert 0 < used.memory < used.limit / 2, each.daemon
        assert (used.throttled, used.killed) == (0, 0), each.daemon
        assert used.processor > 0
        assert each.ended.get("reason", REBOOT) == REBOOT, (each.daemon, each.ended)
        assert each.restarts == 0 or each.ended, each.daemon
