"""A real Prometheus beside the pods of a node, which finds its targets through the API server as one in a pod does."""

import json
import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from testkit.deployments.monitoring import PLACE, RULES, document
from testkit.waiting import until
from tools.cluster import programs
from tools.cluster.keeper import children
from tools.cluster.node import Node
from tools.cluster.programs import program

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod has its token."""
ROLE = PLACE / "scrape-role.yaml"
BY_ANNOTATIONS = "kubernetes-service-endpoints"
_NAMESPACE = "monitoring"
_PORT = 9090
_ANNOTATION = "__meta_kubernetes_service_annotation_prometheus_io_"
_ANNOTATED = {
    "job_name": BY_ANNOTATIONS,
    "kubernetes_sd_configs": [{"role": "endpointslice"}],
    "relabel_configs": [
        {"source_labels": [f"{_ANNOTATION}scrape"], "regex": "true", "action": "keep"},
        {"source_labels": [f"{_ANNOTATION}path"], "regex": "(.+)", "target_label": "__metrics_path__"},
        {
            "source_labels": ["__address__", f"{_ANNOTATION}port"],
            "regex": r"(.+?)(?::\d+)?;(\d+)",
            "replacement": "$1:$2",
            "target_label": "__address__",
        },
    ],
}
"""A job that follows the annotations of Services, as many installations have."""
_READER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "follows-annotations"},
    "rules": [
        {"apiGroups": [""], "resources": ["services", "pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
    ],
}
"""The rights that this job needs. The shipped job has the rights of the shipped role only."""


_OVER_RUN = """
mount -t tmpfs run /run
mkdir -p {account}
mount --bind {secrets} {account}
exec "$@"
"""
"""Mounts the service account's files where a pod has them, in a mount namespace of Prometheus only."""


class Prometheus:
    """One Prometheus, in the network of the node. Used as ``with Prometheus(node, folder) as prometheus:``."""

    def __init__(self, node: Node, folder: Path, *, annotated: bool = False) -> None:
        """A Prometheus that is not started yet, with the shipped scrape configuration and rules.

        Args:
            node: whose API server it asks.
            folder: for what it writes.
            annotated: follow the annotations of Services instead of the shipped configuration.

        Raises:
            MissingError: if it is not built.
        """
        self._node = node
        self._folder = folder
        self._annotated = annotated
        self._program = programs.prometheus() / "prometheus"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        node = self._node
        node.kubectl("create", "namespace", _NAMESPACE)
        node.kubectl("create", "serviceaccount", "prometheus", f"--namespace={_NAMESPACE}")
        if self._annotated:
            node.apply_text(json.dumps(_READER))
            node.kubectl(
                *("create", "clusterrolebinding", "follows-annotations", "--clusterrole=follows-annotations"),
                f"--serviceaccount={_NAMESPACE}:prometheus",
            )
        else:
            node.apply(ROLE)
        self._write_account()
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(self._configuration()), encoding="utf-8")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            # In the node's PID namespace, this process has one child only: Prometheus.
            for child in children(self._process.pid):
                os.kill(child, signal.SIGTERM)
            self._process.wait(60)
        if self._annotated:
            self._node.kubectl("delete", "clusterrole,clusterrolebinding", "follows-annotations")
        else:
            self._node.kubectl("delete", f"--filename={ROLE}")
        self._node.kubectl("delete", "namespace", _NAMESPACE)

    def _write_account(self) -> None:
        """What a pod of the service account finds, in the folder ``account``."""
        files = {
            "token": self._node.kubectl("create", "token", "prometheus", f"--namespace={_NAMESPACE}").strip(),
            "ca.crt": until(self._authority, "the namespace has the API server's authority"),
            "namespace": _NAMESPACE,
        }
        (self._folder / "account").mkdir()
        for name, text in files.items():
            (self._folder / "account" / name).write_text(text, encoding="ascii")

    def _authority(self) -> str:
        found = ["get", "configmap", "kube-root-ca.crt", f"--namespace={_NAMESPACE}", "--ignore-not-found"]
        return self._node.kubectl(*found, r"--output=jsonpath={.data.ca\.crt}")

    def _start(self) -> None:
        service = self._node.json("get", "service", "kubernetes")["spec"]
        # What the kubelet sets in every container.
        variables = {"KUBERNETES_SERVICE_HOST": service["clusterIP"], "KUBERNETES_SERVICE_PORT": "443"}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *self._in_network("--pid"),
                    *(program("unshare"), "--mount", "sh", "-e", "-c"),
                    *(_OVER_RUN.format(account=ACCOUNT, secrets=self._folder / "account"), "sh"),
                    str(self._program),
                    f"--config.file={self._folder}/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{_PORT}",
                ],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        process = self._process
        until(lambda: self._get("/-/ready") or process.poll() is not None, "Prometheus is ready")
        assert process.poll() is None, (self._folder / "log").read_text(encoding="utf-8")

    def _in_network(self, *others: str) -> list[str]:
        return [program("nsenter"), "--target", str(self._node.first), "--net", *others, "--"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an expression gives now: labels and value of each series."""
        answer = self._api(f"/api/v1/query?{urlencode({'query': expression})}")
        return [(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def targets(self) -> dict[str, str]:
        """The health of each target, by its job."""
        active = self._api("/api/v1/targets?state=active")["activeTargets"]
        return {each["labels"]["job"]: f"{each['health']} {each['lastError']}".strip() for each in active}

    def rules(self) -> dict[str, str]:
        """The health of each rule, by its name."""
        groups = self._api("/api/v1/rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or fire."""
        found: list[dict[str, Any]] = self._api("/api/v1/alerts")["alerts"]
        return found

    def _configuration(self) -> dict[str, Any]:
        shipped = document(PLACE / "scrape-config.yaml")
        jobs = [_ANNOTATED] if self._annotated else shipped["scrape_configs"]
        every = {"evaluation_interval": "5s", **({"scrape_interval": "5s"} if self._annotated else {})}
        return {"global": every, "rule_files": [str(RULES)], "scrape_configs": jobs}

    def _api(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._get(path) or '{"data": {}}')["data"]
        return answer

    def _get(self, path: str) -> str:
        address = f"http://127.0.0.1:{_PORT}{path}"
        fetch = [*self._in_network(), program("busybox"), "wget", "-q", "-O", "-", address]
        return subprocess.run(fetch, capture_output=True, text=True, timeout=60, check=False).stdout
