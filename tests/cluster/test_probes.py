"""The services' probes as the kubelet sees them."""

import os
import signal
import time
from datetime import datetime

import pytest

from testkit.waiting import until
from tools.cluster.node import DAEMONS, Node
from tools.cluster.services import NAMESPACE, Service, events, processes, renew, service, services

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

PLUGIN = DAEMONS[0]


def _longest(node: Node) -> float:
    """Seconds until the kubelet ends a container that hangs, by the longest of the probes that are shipped."""
    seconds = []
    for daemons in node.json("get", "daemonsets", f"--namespace={NAMESPACE}")["items"]:
        pod = daemons["spec"]["template"]["spec"]
        for container in pod["containers"]:
            probe = container["livenessProbe"]
            looks = probe["failureThreshold"] * max(probe["periodSeconds"], probe["timeoutSeconds"])
            seconds.append(looks + probe["timeoutSeconds"] + pod["terminationGracePeriodSeconds"])
    return float(max(seconds))


def test_a_service_that_hangs_is_restarted_and_one_that_is_killed_too(node: Node) -> None:
    before = services(node)
    assert sorted(each.daemon for each in before) == sorted(DAEMONS)
    begun = {each.uid: each.restarts for each in before}

    def restarted() -> list[str]:
        return sorted(each.daemon for each in services(node) if each.ready and each.restarts > begun[each.uid])

    for each in before:
        _signal(node, each, signal.SIGSTOP)
    until(lambda: restarted() == sorted(DAEMONS), "all are restarted", _longest(node) + 120, instead=node.overview)
    for each in before:
        assert any("failed liveness probe" in line for line in events(node, "Killing", each.uid)), each.daemon
    begun = {each.uid: each.restarts for each in services(node)}
    for each in services(node):
        _signal(node, each, signal.SIGKILL)
    until(lambda: restarted() == sorted(DAEMONS), "all are started again", instead=node.overview)
    assert {each.uid for each in services(node)} == set(begun)
    # Later tests count restarts and must not count these intended ones.
    renew(node)


def _signal(node: Node, each: Service, number: signal.Signals) -> None:
    pids = processes(node, each)
    assert pids, each
    for pid in pids:
        os.kill(pid, number)


def test_the_plugin_is_not_ready_while_no_kubelet_listens_to_it(node: Node) -> None:
    assert service(node, PLUGIN).ready
    socket = node.path("/var/lib/kubelet/device-plugins/kubelet.sock")
    aside = socket.with_suffix(".aside")

    def ready() -> int:
        return int(node.json("get", "daemonset", f"--namespace={NAMESPACE}", PLUGIN)["status"].get("numberReady", 0))

    socket.rename(aside)
    try:
        # The plugin of a new pod finds no kubelet to register with.
        node.kubectl("delete", "pod", f"--namespace={NAMESPACE}", service(node, PLUGIN).pod)
        until(lambda: _runs(node) and any("503" in line for line in _unhealthy(node)), "the probe says not ready")
        assert ready() == 0
    finally:
        aside.rename(socket)
    until(lambda: ready() == 1, "the plugin is ready", instead=node.overview)


def _runs(node: Node) -> bool:
    found = [each for each in services(node) if each.daemon == PLUGIN]
    return bool(found) and "running" in found[0].status.get("state", {})


def _unhealthy(node: Node) -> list[str]:
    return events(node, "Unhealthy", service(node, PLUGIN).uid)


def test_no_probe_comes_before_a_service_listens(node: Node) -> None:
    renew(node)
    # The kubelet's events of the first seconds reach the API server a moment after the pods are ready.
    time.sleep(2)
    for each in services(node):
        pod = node.json("get", "pod", f"--namespace={NAMESPACE}", each.pod)["spec"]
        delay = pod["containers"][0]["readinessProbe"].get("initialDelaySeconds", 0)
        seconds = _seconds_to_listen(node, each)
        early = events(node, "Unhealthy", each.uid)
        print(f"{each.daemon} listens after {seconds:.1f} s, {len(early)} probes failed")  # noqa: T201  # shown by -s
        assert delay > 0, each.daemon
        # On a slow machine, a probe may come before the program listens.
        assert early == [] or seconds >= delay, each.daemon


def _seconds_to_listen(node: Node, each: Service) -> float:
    """Seconds from the start of a service's container to its log's word that it listens, up to one too many."""
    begun = datetime.fromisoformat(each.status["state"]["running"]["startedAt"])
    lines = node.kubectl("logs", f"--namespace={NAMESPACE}", each.pod, "--timestamps").splitlines()
    [stamp] = [line.split()[0] for line in lines if line.split(" ", 1)[1].split()[2:3] == ["listening"]]
    return (datetime.fromisoformat(stamp) - begun).total_seconds()
