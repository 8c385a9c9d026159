"""What is deployed under the tools that change manifests on their way: other namespaces, and variable substitution."""

import os
import re
from pathlib import Path

import pytest
import yaml

from testkit.deployments.kustomize import needs_kubectl, rendered
from testkit.deployments.manifests import OVERLAYS, PLACE
from testkit.deployments.monitoring import Json

pytestmark = needs_kubectl
ELSEWHERE = "npu-system"
BASES = ("base/device-plugin", "base/npu-feature-discovery", "base/npu-metrics-exporter", "monitoring")
MONITORS = {"ServiceMonitor": "Service", "PodMonitor": "DaemonSet"}
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding"}
SWITCH = "kustomize.toolkit.fluxcd.io/substitute"
"""The annotation with which an object is left alone by Flux' variable substitution.

Source: https://fluxcd.io/flux/components/kustomize/kustomizations/#post-build-variable-substitution
"""
_VARIABLE = re.compile(r"\$\{|\$\$")
"""What is replaced there: variables in braces, and two dollar signs, which stand for one."""


def moved(directory: Path, *resources: str) -> list[Json]:
    """These directories of deployments, under a kustomization that puts them into another namespace."""
    paths = [os.path.relpath(PLACE / each, directory) for each in resources]
    content = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": paths}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content | {"namespace": ELSEWHERE}), encoding="utf-8")
    return rendered(directory)


def _selects(monitor: Json, each: Json) -> bool:
    """Whether the monitor's selector takes the labels that the object has, or its pods."""
    labels = (
        each["spec"]["template"]["metadata"]["labels"] if each["kind"] == "DaemonSet" else each["metadata"]["labels"]
    )
    selector = monitor["spec"]["selector"]
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items()) and all(
        (labels.get(condition["key"]) in condition["values"]) for condition in selector.get("matchExpressions", ())
    )


def _is_seen(monitor: Json, namespace: str) -> bool:
    """Whether the monitor looks into the namespace: into its own, unless it names others."""
    named = monitor["spec"].get("namespaceSelector", {})
    return bool(named.get("any")) or namespace in named.get("matchNames", [monitor["metadata"]["namespace"]])


def test_in_another_namespace_the_monitors_still_find_all_three_services(tmp_path: Path) -> None:
    objects = moved(tmp_path, *BASES)
    found = {
        each["metadata"]["name"]
        for monitor in objects
        if monitor["kind"] in MONITORS
        for each in objects
        if each["kind"] == MONITORS[monitor["kind"]]
        and _selects(monitor, each)
        and _is_seen(monitor, each["metadata"]["namespace"])
    }
    assert found == {"furiosa-device-plugin", "furiosa-npu-feature-discovery", "furiosa-npu-metrics-exporter"}


@pytest.mark.parametrize("resources", [BASES, *((f"overlays/{name}",) for name in OVERLAYS)], ids=lambda each: each[0])
def test_nothing_keeps_the_namespace_that_it_had(tmp_path: Path, resources: tuple[str, ...]) -> None:
    objects = moved(tmp_path, *resources)
    assert {each["metadata"].get("namespace", "none") for each in objects if each["kind"] not in CLUSTER_WIDE} == {
        ELSEWHERE
    }
    assert [each["kind"] for each in objects if "kube-system" in yaml.safe_dump(each)] == []


@pytest.mark.parametrize("directory", [*BASES, *(f"overlays/{name}" for name in OVERLAYS)])
def test_what_looks_like_a_variable_is_in_objects_that_are_left_alone(directory: str) -> None:
    """Whoever uses variables wants them replaced everywhere but in the dashboard."""
    for each in rendered(PLACE / directory):
        is_dashboard = each["metadata"]["name"] == "furiosa-npu-dashboard"
        assert (SWITCH in each["metadata"].get("annotations", {})) == is_dashboard
        if each["metadata"].get("annotations", {}).get(SWITCH) != "disabled":
            assert not _VARIABLE.search(yaml.safe_dump(each, width=1000)), f"{each['kind']}/{each['metadata']['name']}"
