"""The components that an operator adds to an overlay: each is rendered over each overlay, with what it is for."""

import os
import re
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # it has none
import pytest
import yaml

from npu_feature_discovery.labels.table import PREFIX
from npu_feature_discovery.publish.node_feature import NODE_NAME_LABEL, object_name
from testkit.deployments.kustomize import needs_kubectl, rendered
from testkit.deployments.manifests import ADMISSION, COMPONENTS, OVERLAYS, PLACE, deployed
from testkit.deployments.monitoring import Json, documents

CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding"}
ADMISSION_KINDS = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
"""Kustomize takes them for objects of a namespace; the API server ignores that (tests/cluster/test_hardening.py)."""
ELSEWHERE = "npu-system"
RECURSIVE_SINCE = "1.31"
"""The first release that knows recursiveReadOnly without a feature gate."""


def _over(directory: Path, overlay: str, *components: str) -> list[Json]:
    """An overlay with components, in another namespace."""
    content = {
        "namespace": ELSEWHERE,
        "resources": [os.path.relpath(PLACE / "overlays" / overlay, directory)],
        "components": [os.path.relpath(PLACE / "components" / each, directory) for each in components],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return rendered(directory)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_components_go_with_every_overlay_in_any_namespace(overlay: str, tmp_path: Path) -> None:
    objects = _over(tmp_path, overlay, *COMPONENTS)
    for each in objects:
        assert kubernetes_validate.validate(each, RECURSIVE_SINCE, strict=True) == RECURSIVE_SINCE
        if each["kind"] not in ADMISSION_KINDS:
            assert each["metadata"].get("namespace") == (None if each["kind"] in CLUSTER_WIDE else ELSEWHERE)
        assert "kube-system" not in yaml.safe_dump(each)
    kinds = [each["kind"] for each in objects]
    assert kinds.count("NetworkPolicy") == kinds.count("ValidatingAdmissionPolicy") == 2


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_mount_of_the_host_that_shows_cards_is_read_only_as_a_whole_on_newer_releases(
    overlay: str, tmp_path: Path
) -> None:
    for each in _over(tmp_path, overlay, "recursive-read-only"):
        if each["kind"] != "DaemonSet":
            continue
        [container] = each["spec"]["template"]["spec"]["containers"]
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        whole = {path for path, mount in mounts.items() if mount.get("recursiveReadOnly") == "IfPossible"}
        assert whole == {"/host/dev", "/host/sys/bus", "/host/sys/class", "/host/sys/devices"}
        assert all(mounts[path]["readOnly"] for path in whole)


def test_the_network_policies_know_every_port_and_every_pod_of_the_services() -> None:
    [policy] = documents(PLACE / "components/network-policy/network-policy.yaml")
    [rule] = policy["spec"]["ingress"]
    ports = {each.container["ports"][0]["containerPort"] for each in deployed()}
    assert {port["port"] for port in rule["ports"]} == ports
    chosen = policy["spec"]["podSelector"]["matchLabels"].items()
    for each in deployed():
        assert chosen <= each.daemons["spec"]["template"]["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["egress"] == []


def test_only_the_pods_that_publish_through_the_api_server_may_connect_to_anybody() -> None:
    [policy] = documents(PLACE / "components/network-policy-api-server/network-policy.yaml")
    chosen = policy["spec"]["podSelector"]["matchLabels"].items()
    found = {
        each.name for each in deployed() if chosen <= each.daemons["spec"]["template"]["metadata"]["labels"].items()
    }
    assert found == {each.name for each in deployed() if each.pod["automountServiceAccountToken"]}
    assert "ingress" not in policy["spec"]
    assert policy["spec"]["policyTypes"] == ["Egress"]


def test_the_admission_policies_speak_of_the_names_that_the_discovery_uses() -> None:
    policies = {each["metadata"]["name"]: each for each in documents(ADMISSION) if "validations" in each["spec"]}
    [accounts] = {account["metadata"]["name"] for each in deployed() for account in each.of_kind("ServiceAccount")}
    for policy in policies.values():
        [condition] = policy["spec"]["matchConditions"]
        assert f'endsWith(":{accounts}")' in condition["expression"]
        assert policy["spec"]["failurePolicy"] == "Fail"
    nodes, features = (
        " ".join(each["expression"] for each in policies[f"{accounts}-{kind}"]["spec"]["validations"])
        for kind in ("nodes", "node-features")
    )
    assert f'key.startsWith("{PREFIX}")' in nodes
    assert f'key.startsWith("{PREFIX}")' in features
    assert f'"{object_name("")}" + node' in features
    assert f'"{NODE_NAME_LABEL}"' in features


def test_every_admission_policy_compares_what_is_written_with_the_node_of_the_token() -> None:
    for spec in [each["spec"] for each in documents(ADMISSION) if "validations" in each["spec"]]:
        [nodes] = [each["expression"] for each in spec["variables"] if each["name"] == "nodes"]
        assert 'request.userInfo.extra["authentication.kubernetes.io/node-name"]' in nodes
        assert "variables.nodes" in " ".join(each["expression"] for each in spec["validations"])


def test_every_admission_policy_is_bound_and_denies() -> None:
    objects = documents(ADMISSION)
    bound = {each["spec"]["policyName"]: each["spec"] for each in objects if "policyName" in each["spec"]}
    assert bound.keys() == {each["metadata"]["name"] for each in objects if "validations" in each["spec"]}
    assert all(each["validationActions"] == ["Deny"] for each in bound.values())


def test_the_page_about_hardening_has_every_component() -> None:
    page = (PLACE.parent / "docs/hardening.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"(?m)^\| \[([\w-]+)\]\(\.\./deployments/components/", page)) == list(COMPONENTS)
