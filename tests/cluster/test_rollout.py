"""Rollouts of the device plugin while pods with cards come and go.

What the kubelet admits while no plugin serves is refused, and its Job or Deployment makes another pod. Whether a pod is
admitted in that second depends on the pace of the machine, so that no test says how many are.
"""

import logging
import time
from datetime import datetime
from typing import Any

import pytest

from testkit.waiting import until
from tools.cluster.node import Node
from tools.cluster.pods import Container, manifest
from tools.cluster.watch import Watch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_LOG = logging.getLogger(__name__)
JOBS = 10
REPLICAS = 2
ROLLOUTS = 1


def _template(name: str, container: Container, restart: str) -> dict[str, Any]:
    spec = {**manifest(name, container)["spec"], "restartPolicy": restart}
    return {"metadata": {"labels": {"made-by": name}}, "spec": spec}


def _job() -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "queue"},
        "spec": {
            "completions": JOBS,
            "parallelism": 4 - REPLICAS,
            # A pod that was refused is tried again after ten seconds, and does not hold up the others.
            "completionMode": "Indexed",
            "backoffLimitPerIndex": 20,
            "template": _template("queue", Container(1, 1.0), "Never"),
        },
    }


def _deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "server"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"made-by": "server"}},
            "strategy": {"type": "Recreate"},
            "template": _template("server", Container(1), "Always"),
        },
    }


def _seconds(text: str) -> float:
    """A time of the API as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def test_what_jobs_and_deployments_want_runs_in_the_end_over_rollouts_of_the_plugin(node: Node) -> None:
    try:
        with Watch(node, interval=0.2) as watch:
            node.apply_objects(_deployment())
            node.kubectl("rollout", "status", "deployment/server", "--timeout=120s")
            node.apply_objects(_job())
            rollouts = []
            for _ in range(ROLLOUTS):
                begun = time.time()
                node.kubectl("rollout", "restart", "deployment/server")
                node.restart_plugin()
                rollouts.append((begun, time.time()))
            until(
                lambda: watch.problem() or node.json("get", "job", "queue")["status"].get("succeeded") == JOBS,
                "every pod of the job succeeded",
                instead=node.overview,
            )
            node.kubectl("rollout", "status", "deployment/server", "--timeout=120s")
        assert watch.problem() == ""
        assert len({each.units for each in node.held()}) == REPLICAS
        _only_the_gap_refused(node, rollouts)
    finally:
        node.kubectl("delete", "deployments,jobs", "--all", "--cascade=foreground", "--namespace=default")


def _only_the_gap_refused(node: Node, rollouts: list[tuple[float, float]]) -> None:
    """Every pod that failed was refused by the kubelet, while a plugin was being replaced and not later."""
    failed = {name: pod["status"] for name, pod in node.pods().items() if pod["status"]["phase"] == "Failed"}
    assert {status["reason"] for status in failed.values()} <= {"UnexpectedAdmissionError"}
    _LOG.info("pods that were refused: %d; rollouts: %d", len(failed), len(rollouts))
    # Times of the API are in whole seconds.
    times = {name: _seconds(status["startTime"]) for name, status in failed.items()}
    outside = [name for name, at in times.items() if not any(begun - 1 <= at <= end + 1 for begun, end in rollouts)]
    assert outside == [], f"{times} {rollouts}"
