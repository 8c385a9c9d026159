"""The manifests, and the overlays as rendered: valid, named as specified, given no more rights than they need."""

import copy
from functools import cache

import kubernetes_validate  # type: ignore[import-untyped]  # it has none
import pytest
from kubernetes_validate.utils import all_versions, major_minor  # type: ignore[import-untyped]  # it has none

from testkit.deployments.kustomize import needs_kubectl, rendered_text
from testkit.deployments.manifests import (
    ADMISSION,
    ADMISSION_SINCE,
    ALL,
    GOLDEN,
    MANIFESTS,
    OVERLAYS,
    PLACE,
    RENDERED,
    VERSIONS,
    Deployed,
    deployed,
)
from testkit.deployments.monitoring import Json, document, documents

RELEASES = sorted({major_minor(version) for version in all_versions()}, key=lambda text: int(text.partition(".")[2]))
SELECTOR = {"feature.node.kubernetes.io/pci-1ed2.present": "true"}
PUBLISHING = ("node-labels", "node-feature")
WRITABLE = {
    "/var/lib/kubelet/device-plugins",
    "/var/run/cdi",
    "/etc/kubernetes/node-feature-discovery/features.d",
}
each_daemon_set = pytest.mark.parametrize("daemons", deployed(), ids=str)


@cache
def _objects() -> list[Json]:
    """Every object that is anywhere, once."""
    found: list[Json] = []
    for path in ALL:
        found.extend(each for each in documents(path) if each not in found)
    return found


# -- valid ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_every_object_is_valid_and_has_no_unknown_field(release: str) -> None:
    for each in _objects():
        assert kubernetes_validate.validate(each, release, strict=True) == release


@pytest.mark.parametrize("release", [each for each in RELEASES if int(each.partition(".")[2]) >= ADMISSION_SINCE])
def test_the_admission_policies_are_valid_where_the_api_has_them(release: str) -> None:
    for each in documents(ADMISSION):
        assert kubernetes_validate.validate(each, release, strict=True) == release


def test_an_unknown_field_would_be_noticed() -> None:
    wrong = copy.deepcopy(next(each for each in _objects() if each["kind"] == "DaemonSet"))
    wrong["spec"]["template"]["spec"]["containers"][0]["securityContexts"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[0], strict=True)


# -- overlays -------------------------------------------------------------------------------------------------------


def test_the_bases_of_overlays_are_copies_of_the_manifests() -> None:
    """`make manifests` renews them."""
    copies = {
        path.name: path.read_bytes() for path in (PLACE / "base").glob("*/*.yaml") if path.stem != "kustomization"
    }
    assert copies == {path.name: path.read_bytes() for path in MANIFESTS}


def test_every_overlay_is_rendered_and_nothing_else() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.yaml")) == list(OVERLAYS)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_rendered_as_committed(overlay: str) -> None:
    """`make manifests` renews what is committed."""
    assert rendered_text(PLACE / "overlays" / overlay) == (GOLDEN / f"{overlay}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("overlay", "daemon_sets", "selector"),
    [
        ("all-nodes", {"furiosa-device-plugin", "furiosa-npu-metrics-exporter"}, None),
        ("labelled-nodes", {"furiosa-device-plugin", "furiosa-npu-metrics-exporter"}, {"furiosa": "true"}),
        ("node-labels", {"furiosa-npu-feature-discovery"}, None),
        ("node-feature", {"furiosa-npu-feature-discovery"}, SELECTOR),
        ("cdi", {"furiosa-device-plugin"}, SELECTOR),
        ("exporter-unprivileged", {"furiosa-npu-metrics-exporter"}, SELECTOR),
    ],
)
def test_an_overlay_has_the_services_it_is_for_on_the_nodes_it_is_for(
    overlay: str, daemon_sets: set[str], selector: Json | None
) -> None:
    found = [each for each in deployed() if each.file.stem == overlay and each.file in RENDERED]
    assert {each.name for each in found} == daemon_sets
    assert [each.pod.get("nodeSelector") for each in found] == [selector] * len(found)


def test_a_service_without_nfd_is_otherwise_what_its_manifest_says() -> None:
    """So nothing was lost when the selector went."""
    plain = {each.name: each for each in deployed() if each.file in MANIFESTS}
    for each in deployed():
        if each.file.stem in {"all-nodes", "labelled-nodes"}:
            assert _without_selector(each) == _without_selector(plain[each.name])


def _without_selector(each: Deployed) -> Json:
    taken = copy.deepcopy(each.daemons)
    taken["spec"]["template"]["spec"].pop("nodeSelector", None)
    return taken


# -- named as specified ---------------------------------------------------------------------------------------------


def test_the_manifests_have_the_objects_of_the_specification() -> None:
    found = {(each["kind"], each["metadata"]["name"]) for path in MANIFESTS for each in documents(path)}
    assert found == {
        ("ConfigMap", "npu-device-plugin"),
        ("DaemonSet", "furiosa-device-plugin"),
        ("DaemonSet", "furiosa-npu-feature-discovery"),
        ("DaemonSet", "furiosa-npu-metrics-exporter"),
        ("Service", "furiosa-npu-metrics-exporter"),
    }


def test_every_object_of_ours_is_in_kube_system_unless_it_is_the_clusters() -> None:
    for each in _objects():
        expected = None if each["kind"] in {"Pod", "ClusterRole", "ClusterRoleBinding"} else "kube-system"
        assert each["metadata"].get("namespace") == expected, each["metadata"]["name"]


def test_the_manifests_select_the_nodes_that_nfd_labels() -> None:
    found = [each.pod["nodeSelector"] for each in deployed() if each.file in MANIFESTS]
    assert found == [SELECTOR] * 3


def chooses(pod: Json, labels: dict[str, str]) -> bool:
    """Whether the scheduler lets the pod onto a node with these labels, by node selector and required affinity."""
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    selected = all(labels.get(key) == value for key, value in (pod.get("nodeSelector") or {}).items())
    return selected and any(all(_holds(each, labels) for each in term["matchExpressions"]) for term in terms)


def _holds(expression: Json, labels: dict[str, str]) -> bool:
    is_among = labels.get(expression["key"]) in expression["values"]
    assert expression["operator"] in {"In", "NotIn"}
    return bool(is_among == (expression["operator"] == "In"))


@each_daemon_set
def test_a_daemon_set_runs_on_machines_that_its_images_are_for_and_on_no_other_node(daemons: Deployed) -> None:
    selected = daemons.pod.get("nodeSelector") or {}
    linux = {**selected, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    assert chooses(daemons.pod, linux)
    assert chooses(daemons.pod, linux | {"kubernetes.io/arch": "arm64", "type": "gpu-node"})
    for other in (
        {"kubernetes.io/os": "windows"},
        {"kubernetes.io/arch": "s390x"},
        {"kubernetes.io/arch": "arm"},
        {"type": "virtual-kubelet"},
        {"eks.amazonaws.com/compute-type": "fargate"},
    ):
        assert not chooses(daemons.pod, linux | other), other


@each_daemon_set
def test_a_daemon_set_selects_its_own_pods(daemons: Deployed) -> None:
    selected = daemons.daemons["spec"]["selector"]["matchLabels"]
    assert selected == {"app.kubernetes.io/name": daemons.name}
    assert selected.items() <= daemons.daemons["spec"]["template"]["metadata"]["labels"].items()
    for service in daemons.of_kind("Service"):
        if service["metadata"]["name"] == daemons.name:
            assert service["spec"]["selector"] == selected


@each_daemon_set
def test_an_image_is_of_the_packages_version(daemons: Deployed) -> None:
    program = daemons.command[0].removeprefix("/usr/bin/")
    assert daemons.container["image"] == f"ghcr.io/furiosa-ai/{program}:{VERSIONS[daemons.name]}"


def test_the_exporters_service_tells_prometheus_where_to_scrape() -> None:
    (service,) = (each for each in documents(MANIFESTS[2]) if each["kind"] == "Service")
    assert service["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "6254",
        "prometheus.io/path": "/metrics",
    }
    assert service["spec"]["ports"] == [{"name": "http-metrics", "port": 6254, "targetPort": "http-metrics"}]


def test_nfd_worker_is_configured_as_the_specification_says() -> None:
    pci = document(PLACE / "nfd/nfd-worker.conf")["sources"]["pci"]
    assert pci["deviceLabelFields"] == ["vendor"]
    assert pci["deviceClassWhitelist"] == ["02", "0200", "0207", "0300", "0302", "12"]


def test_the_rule_for_nfd_gives_the_label_that_is_selected() -> None:
    (rule,) = document(PLACE / "nfd/node-feature-rule.yaml")["spec"]["rules"]
    assert rule["labels"] == SELECTOR
    (matched,) = rule["matchFeatures"]
    assert matched["feature"] == "pci.device"
    assert {name: one["value"] for name, one in matched["matchExpressions"].items()} == {
        "vendor": ["1ed2"],
        "class": ["1200"],
    }


def test_the_example_asks_for_as_many_npus_as_it_may_have() -> None:
    (container,) = document(PLACE / "pod-example.yaml")["spec"]["containers"]
    assert container["resources"]["limits"]["beta.furiosa.ai/npu"] == "1"
    assert container["resources"]["requests"] == container["resources"]["limits"]


# -- rights ---------------------------------------------------------------------------------------------------------


@each_daemon_set
def test_a_container_has_no_right_beyond_its_user(daemons: Deployed) -> None:
    context = daemons.container["securityContext"]
    assert context["privileged"] is False
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert daemons.pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & daemons.pod.keys()


@each_daemon_set
def test_root_is_only_who_has_something_of_roots_to_use(daemons: Deployed) -> None:
    roots = WRITABLE | {"/var/lib/kubelet/pod-resources"}
    context = daemons.container["securityContext"]
    if roots & daemons.mounts.keys():
        assert (context["runAsUser"], context["runAsGroup"]) == (0, 0)
    else:
        assert (context["runAsUser"], context["runAsGroup"], context["runAsNonRoot"]) == (65532, 65532, True)


@each_daemon_set
def test_mounts_are_read_only_but_for_what_is_written(daemons: Deployed) -> None:
    written = {path for path, mount in daemons.mounts.items() if not mount.get("readOnly", False)}
    # The exporter reads the checkpoint in a directory that the plugin has its socket in.
    may_write = set() if daemons.name == "furiosa-npu-metrics-exporter" else WRITABLE
    assert written == may_write & daemons.mounts.keys()


SYSTEMS_BELOW_DEV = {"/host/dev/shm", "/host/dev/pts", "/host/dev/mqueue", "/host/dev/hugepages"}
"""Where hosts have file systems below /dev, which a read-only mount of /dev takes along with their own flags."""


@each_daemon_set
def test_no_file_system_below_dev_is_writable_and_none_with_device_files_or_memory_is_shown(daemons: Deployed) -> None:
    below = {path: mount for path, mount in daemons.mounts.items() if path.startswith("/host/dev/")}
    assert below.keys() == (SYSTEMS_BELOW_DEV if "/host/dev" in daemons.mounts else set())
    assert all(mount["readOnly"] for mount in below.values())
    # A read-only mount does not keep a terminal from being written to, so what has device files is not there at all.
    covered = {path for path, mount in below.items() if "emptyDir" in mount["volume"]}
    assert covered == below.keys() & {"/host/dev/shm", "/host/dev/pts"}
    # Nothing can be mounted where there is no directory, and not every host has these.
    assert {mount["volume"]["hostPath"]["type"] for path, mount in below.items() if path not in covered} <= {
        "DirectoryOrCreate"
    }


@each_daemon_set
def test_a_volume_is_a_directory_that_is_mounted(daemons: Deployed) -> None:
    assert {mount["name"] for mount in daemons.mounts.values()} == {volume["name"] for volume in daemons.pod["volumes"]}
    for mount in daemons.mounts.values():
        assert "subPath" not in mount, "a file mounted by subPath never changes"
        if "hostPath" in mount["volume"]:
            assert mount["volume"]["hostPath"]["type"] in {"Directory", "DirectoryOrCreate"}


@each_daemon_set
def test_a_token_is_mounted_only_where_labels_go_through_the_api_server(daemons: Deployed) -> None:
    publishes = daemons.file.stem in PUBLISHING
    assert daemons.pod["automountServiceAccountToken"] is publishes
    assert daemons.pod.get("serviceAccountName") == ("furiosa-npu-feature-discovery" if publishes else None)
    assert [each["metadata"]["name"] for each in daemons.of_kind("ServiceAccount")] == (
        ["furiosa-npu-feature-discovery"] if publishes else []
    )


@pytest.mark.parametrize("overlay", PUBLISHING)
def test_a_role_is_bound_to_the_service_account_that_is_used(overlay: str) -> None:
    objects = documents(GOLDEN / f"{overlay}.yaml")
    (role,) = (each for each in objects if each["kind"] in {"Role", "ClusterRole"})
    (binding,) = (each for each in objects if each["kind"] == f"{role['kind']}Binding")
    assert binding["roleRef"]["kind"] == role["kind"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (account,) = (each for each in objects if each["kind"] == "ServiceAccount")
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "kube-system"}
    ]


# -- life -----------------------------------------------------------------------------------------------------------


@each_daemon_set
def test_an_old_pod_ends_before_a_new_one_starts(daemons: Deployed) -> None:
    strategy = daemons.daemons["spec"]["updateStrategy"]
    assert strategy["type"] == "RollingUpdate"
    assert strategy["rollingUpdate"].get("maxSurge", 0) == 0
    assert strategy["rollingUpdate"]["maxUnavailable"] == "10%"  # a node that is away must not stall a large cluster


@each_daemon_set
def test_a_container_has_memory_set_aside_and_bounded_and_its_cpu_unbounded(daemons: Deployed) -> None:
    resources = daemons.container["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert resources["limits"].keys() == {"memory"}


@each_daemon_set
def test_a_pod_goes_to_tainted_nodes_and_is_not_the_first_to_be_evicted(daemons: Deployed) -> None:
    assert daemons.pod["tolerations"] == [{"operator": "Exists"}]
    assert daemons.pod["priorityClassName"] in {"system-node-critical", "system-cluster-critical"}
