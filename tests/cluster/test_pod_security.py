"""The level of the Pod Security Standards that each pod of the services needs, as docs/install.md says."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from testkit.waiting import until
from tools.cluster.node import DEPLOYMENTS, MANIFESTS, Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

HOST = "hostPath volumes"
"""The words of the level ``baseline`` about mounts of the host's directories."""
MOUNTS = {"restricted volume types"}
"""The words of the level ``restricted`` about mounts of the host's directories."""
ROOT_USER = {"runAsNonRoot != true", "runAsUser=0"}
LEVELS = ("privileged", "baseline", "restricted")
OVERLAYS = ("exporter-unprivileged", "node-feature", "node-labels")
REFUSED = {
    **{path.stem: {"privileged": set(), "baseline": {HOST}, "restricted": MOUNTS | ROOT_USER} for path in MANIFESTS},
    **{name: {"privileged": set(), "baseline": {HOST}, "restricted": MOUNTS} for name in OVERLAYS},
}
"""Why a level refuses a pod; nothing if it admits the pod."""


@pytest.fixture(scope="module")
def namespaces(whole_node: Node) -> Iterator[dict[str, str]]:
    """A namespace for each level, which enforces it; by level."""
    made = {level: f"enforces-{level}" for level in LEVELS}
    for level, name in made.items():
        whole_node.kubectl("create", "namespace", name)
        whole_node.kubectl("label", "namespace", name, f"pod-security.kubernetes.io/enforce={level}")
        whole_node.kubectl("create", "serviceaccount", "furiosa-npu-feature-discovery", f"--namespace={name}")
    for name in made.values():
        until(
            lambda name=name: whole_node.kubectl(  # type: ignore[misc]
                "get", "serviceaccount", "default", f"--namespace={name}", "--ignore-not-found"
            ),
            "the namespace has a service account",
        )
    yield made
    whole_node.kubectl("delete", "namespace", *made.values())


def _pod(node: Node, name: str) -> dict[str, Any]:
    """The pod that a manifest, or an overlay, makes."""
    if name in OVERLAYS:
        text = node.kubectl("kustomize", str(DEPLOYMENTS / "overlays" / name))
    else:
        text = (DEPLOYMENTS / f"{name}.yaml").read_text(encoding="utf-8")
    [daemons] = [each for each in yaml.safe_load_all(text) if each["kind"] == "DaemonSet"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": daemons["spec"]["template"]["spec"]}


def _refusal(node: Node, pod: dict[str, Any], namespace: str) -> set[str]:
    """Why the API server refuses a pod, by a dry run."""
    create = ["kubectl", "create", "--dry-run=server", f"--namespace={namespace}", "--filename=-"]
    done = node.run(*create, stdin=json.dumps(pod), check=False)
    if done.returncode == 0:
        return set()
    _, found, reasons = re.sub(r" \([^()]*\)", "", done.stderr).partition("violates PodSecurity")
    assert found, done.stderr
    return set(reasons.strip().partition('": ')[2].split(", "))


@pytest.mark.parametrize("name", REFUSED)
def test_a_level_admits_a_pod_or_says_what_it_has_against_it(node: Node, namespaces: dict[str, str], name: str) -> None:
    pod = _pod(node, name)
    assert {level: _refusal(node, pod, namespaces[level]) for level in LEVELS} == REFUSED[name]
