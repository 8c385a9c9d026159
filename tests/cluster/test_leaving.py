"""What is left of a node on the machine, and of the services on a node: nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testkit.waiting import until
from tools.cluster import settings
from tools.cluster.keeper import sweep
from tools.cluster.machine import left_of, look, naming, processes_in
from tools.cluster.namespaces import NamespaceNode
from tools.cluster.node import DAEMONS, MANIFESTS, Node
from tools.cluster.pods import RESOURCE
from tools.cluster.programs import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_SECOND = """\
import os, sys
from tools.cluster.namespaces import NamespaceNode
with NamespaceNode(warboys=1) as node:
    node.run_pod("runs")
    print(node.folder, node.first, node._keeper.pid, flush=True)
    sys.stdin.read()
"""


def _ends(process: subprocess.Popen[str], _: int) -> None:
    process.communicate(timeout=60)
    assert process.returncode == 0


def _is_interrupted(process: subprocess.Popen[str], _: int) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(60)


def _is_killed(process: subprocess.Popen[str], _: int) -> None:
    process.kill()
    process.wait(60)


def _and_its_keeper_are_killed(process: subprocess.Popen[str], keeper: int) -> None:
    os.kill(keeper, signal.SIGKILL)
    process.kill()
    process.wait(60)


@pytest.mark.parametrize("how", [_ends, _is_interrupted, _is_killed, _and_its_keeper_are_killed])
def test_a_second_node_leaves_nothing_however_its_test_run_ends(
    node: Node, how: Callable[[subprocess.Popen[str], int], None]
) -> None:
    if not isinstance(node, NamespaceNode):
        pytest.skip("what a node of kind leaves on the machine is kind's and Docker's")
    before = look()
    process = subprocess.Popen(
        [sys.executable, "-c", _SECOND],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        folder, first, keeper = process.stdout.readline().split()
        assert folder != str(node.folder)
        namespace = str(Path(f"/proc/{first}/ns/pid").readlink())
        assert len(processes_in(namespace)) >= len(settings.commands(node.folder))
        how(process, int(keeper))
    finally:
        process.kill()
        process.communicate()
    until(lambda: processes_in(namespace) == [], "no process of the node is there")
    until(lambda: naming(folder) == [], "no process waits for one of them")
    if how is _and_its_keeper_are_killed:
        sweep()
    until(lambda: not left_of(Path(folder)), "folder and groups are gone", 30, instead=lambda: left_of(Path(folder)))
    until(lambda: not look().changes(before), "the machine is as before", 30, instead=lambda: look().changes(before))
    assert node.condition("Ready") == "True"


def test_uninstalling_as_the_documentation_says_leaves_nothing_on_the_node(node: Node) -> None:
    node.run_pod("holds", 1)
    discovery = f"daemonset/{DAEMONS[1]}"
    try:
        node.kubectl("delete", f"--filename={MANIFESTS[2]}", f"--filename={MANIFESTS[0]}")
        node.kubectl("set", "env", discovery, "--namespace=kube-system", "NPU_CLEANUP_ON_EXIT=true")
        node.kubectl("rollout", "status", discovery, "--namespace=kube-system", "--timeout=120s")
        node.kubectl("delete", f"--filename={MANIFESTS[1]}")
        assert node.units_of("holds")
        selector = "app.kubernetes.io/part-of=furiosa-npu"
        kinds = "all,configmap,serviceaccount"
        until(lambda: not node.json("get", kinds, "--namespace=kube-system", "-l", selector)["items"], "no object")
        until(lambda: node.allocatable() == 0, "no unit is allocatable")
        # What nfd-worker publishes. nfd-master 0.18 was seen to stop following after the API server had been away.
        feature = ("get", "nodefeature", settings.NODE, "--namespace=node-feature-discovery")
        domain = RESOURCE.partition("/")[0]
        until(lambda: not [name for name in node.json(*feature)["spec"]["labels"] if domain in name], "no label")
        features = node.path("/etc/kubernetes/node-feature-discovery/features.d")
        assert list(features.iterdir()) == []
        plugins = {path.name for path in node.path("/var/lib/kubelet/device-plugins").iterdir()}
        assert plugins == {"kubelet.sock", "kubelet_internal_checkpoint"}
    finally:
        node.apply(*MANIFESTS)
        for name in DAEMONS:
            node.await_daemon(name)
