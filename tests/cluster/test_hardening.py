"""What the services' containers cannot do on a real node, and the components of deployments/components on it."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from testkit.waiting import until
from tools.cluster.node import DAEMONS, DEPLOYMENTS, MANIFESTS, Node
from tools.cluster.services import NAMESPACE, page, processes, renew, service, services

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

DISCOVERY = DAEMONS[1]
COMPONENTS = DEPLOYMENTS / "components"
OTHER = "other-node"
PREFIX = "beta.furiosa.ai/"
UNUSUAL = "/dev/hugepages-1G"
"""A file system below /dev that the manifests do not know."""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the node sees too. The node has a /dev of its own, and tmp_path may be in /dev/shm."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


def _mounts(process: int, below: str) -> dict[str, set[str]]:
    """The flags of every mount below a directory, by mount point, as a process has them."""
    rows = [line.split(" ") for line in Path(f"/proc/{process}/mountinfo").read_text(encoding="utf-8").splitlines()]
    return {row[4]: set(row[5].split(",")) for row in rows if row[4].startswith(f"{below}/")}


def _process(node: Node, daemon: str) -> int:
    """The first process of a service's container."""
    found = until(lambda: processes(node, service(node, daemon)), f"a process of {daemon}")
    return min(found)


def _writable(process: int) -> set[str]:
    """The mounts of the host's files in a container that are not read-only."""
    return {place for place, flags in _mounts(process, "/host").items() if "ro" not in flags}


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_container_can_write_to_no_file_system_below_dev_and_has_no_terminal_of_the_host(
    node: Node, daemon: str
) -> None:
    assert {"/dev/shm", "/dev/pts", "/dev/mqueue"} <= _mounts(node.first, "/dev").keys()  # noqa: S108  # the node's own
    process = _process(node, daemon)
    assert _writable(process) == set()
    inside = Path(f"/proc/{process}/root/host/dev")
    assert (inside / "npu0").exists()
    for name in ("shm", "pts", "mqueue", "hugepages"):
        with pytest.raises(OSError, match="Read-only") as caught:
            (inside / name / "planted").write_bytes(b"")
        assert caught.value.errno == errno.EROFS
    assert list((inside / "pts").iterdir()) == list((inside / "shm").iterdir()) == []


def test_with_recursive_read_only_mounts_nothing_else_below_dev_is_writable_either(node: Node, directory: Path) -> None:
    if int(node.programs.kubernetes.partition(".")[2].partition(".")[0]) < 31:
        pytest.skip("the field recursiveReadOnly is of Kubernetes 1.31")
    bases = [f"base/{path.name}" for path in (DEPLOYMENTS / "base").iterdir()]
    _kustomization(directory, bases, "recursive-read-only")
    rendered = node.kubectl("kustomize", str(directory))
    node.run("mkdir", "-p", UNUSUAL)
    node.run("mount", "-t", "tmpfs", "none", UNUSUAL)
    try:
        renew(node)
        assert _writable(_process(node, DAEMONS[0])) == {f"/host{UNUSUAL}"}
        node.apply_text(rendered)
        for daemon in DAEMONS:
            node.await_daemon(daemon)
            assert _writable(_process(node, daemon)) == (set() if _knows_recursive(node) else {f"/host{UNUSUAL}"})
    finally:
        node.run("umount", UNUSUAL)
        node.run("rmdir", UNUSUAL)
        node.apply(*MANIFESTS)
        for daemon in DAEMONS:
            node.await_daemon(daemon)


def _knows_recursive(node: Node) -> bool:
    """Whether the container runtime makes mounts read-only as a whole: containerd 2 does, containerd 1.6 does not."""
    handlers = node.node()["status"].get("runtimeHandlers", [])
    return any(each.get("features", {}).get("recursiveReadOnlyMounts") for each in handlers)


def _kustomization(directory: Path, resources: list[str], component: str) -> None:
    content = {
        # With a namespace, kustomize gives one to the admission policies too, which have none: that has to be harmless.
        "namespace": NAMESPACE,
        "resources": [os.path.relpath(DEPLOYMENTS / each, directory) for each in resources],
        "components": [os.path.relpath(COMPONENTS / component, directory)],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def test_new_pods_are_probed_and_scraped_under_the_network_policies(node: Node) -> None:
    """The node's network plugin enforces no policy: what is shown is that they are admitted and select the pods."""
    files = [COMPONENTS / name / "network-policy.yaml" for name in ("network-policy", "network-policy-api-server")]
    node.apply(*files)
    try:
        renew(node)
        for each in services(node):
            assert "# TYPE" in until(lambda each=each: page(node, each, "/metrics"), "a scrape")  # type: ignore[misc]
        chosen = {
            each["metadata"]["name"]: _pods(node, each["spec"]["podSelector"]["matchLabels"])
            for each in node.json("get", "networkpolicies", f"--namespace={NAMESPACE}")["items"]
        }
        assert chosen == {
            "furiosa-npu": set(DAEMONS),
            "furiosa-npu-feature-discovery-api-server": {DISCOVERY},
        }
    finally:
        for file in files:
            node.kubectl("delete", f"--filename={file}")


def _pods(node: Node, labels: dict[str, str]) -> set[str]:
    """The services whose pods have these labels."""
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    items = node.json("get", "pods", f"--namespace={NAMESPACE}", f"--selector={selector}")["items"]
    return {item["metadata"]["labels"]["app.kubernetes.io/name"] for item in items}


def test_a_pod_that_asks_for_apparmor_is_refused_where_the_kernel_has_none(node: Node) -> None:
    """So the manifests name no profile: with AppArmor, the runtime's own is in force anyhow."""
    if Path("/sys/kernel/security/apparmor").exists():
        pytest.skip("this kernel has AppArmor")
    container = {
        "name": "main",
        "image": service(node, DAEMONS[0]).status["image"],
        "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asks"}, "spec": {"containers": [container]}}
    node.apply_objects(pod)
    assert "AppArmor is not enabled" in node.await_end("asks")["message"]


# -- the token of a pod may change its own node alone -----------------------------------------------------------------


@contextmanager
def _publishing(node: Node, overlay: str, directory: Path) -> Iterator[None]:
    """The feature discovery as this overlay, with the component own-node-only."""
    _kustomization(directory, [f"overlays/{overlay}"], "own-node-only")
    node.kubectl("delete", f"--filename={MANIFESTS[1]}", "--ignore-not-found")
    try:
        node.kubectl("apply", f"--kustomize={directory}")
        node.await_daemon(DISCOVERY)
        yield
    finally:
        # Whatever failed, the tests after this one find the discovery.
        node.kubectl("delete", f"--kustomize={directory}", "--ignore-not-found", check=False)
        node.apply(MANIFESTS[1])
        node.await_daemon(DISCOVERY)


@pytest.fixture
def other(node: Node) -> Iterator[str]:
    """Another node, which is an object alone."""
    node.apply_objects({"apiVersion": "v1", "kind": "Node", "metadata": {"name": OTHER}})
    yield OTHER
    node.kubectl("delete", "node", OTHER, "--ignore-not-found")


def _token(node: Node) -> str:
    """The token in the feature discovery's pod."""
    place = Path(f"/proc/{_process(node, DISCOVERY)}/root/var/run/secrets/kubernetes.io/serviceaccount/token")
    return place.read_text(encoding="ascii")


def _refused(node: Node, token: str, *command: str, stdin: str = "") -> str:
    """What the API server says to the holder of a token; empty if it does what is asked."""
    done = node.run("kubectl", f"--token={token}", *command, stdin=stdin, check=False)
    return "" if done.returncode == 0 else done.stderr


def _patch(node: Node, token: str, name: str, patch: Mapping[str, object]) -> str:
    return _refused(node, token, "patch", "node", name, "--type=merge", f"--patch={json.dumps(patch)}")


def test_a_token_changes_the_labels_of_its_own_node_alone(node: Node, other: str, directory: Path) -> None:
    with _publishing(node, "node-labels", directory):
        until(lambda: node.labels().get(f"{PREFIX}npu.count") == "4", "the labels are on the node")
        token, mine, ours = _token(node), node.name, {"metadata": {"labels": {f"{PREFIX}npu.count": "5"}}}
        bare = node.kubectl("create", "token", DISCOVERY, f"--namespace={NAMESPACE}").strip()
        # The API server takes a new policy into force some time after it has stored it.
        until(lambda: "the token is of a pod on" in _patch(node, token, other, ours), "the policy is in force")
        assert "the request changes the node" in _patch(node, bare, mine, ours)
        others: list[dict[str, object]] = [
            {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}},
            {"metadata": {"labels": {"kubernetes.io/os": None}}},
            {"metadata": {"labels": {f"{PREFIX}x": "y", "kubernetes.io/arch": "s390x"}}},
        ]
        for patch in others:
            assert "and no others" in _patch(node, token, mine, patch), patch
        more: list[dict[str, object]] = [
            {"metadata": {"annotations": {"a": "b"}}},
            {"metadata": {"finalizers": ["example.com/stay"]}},
            {"spec": {"unschedulable": True}},
            {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}},
        ]
        for patch in more:
            assert "nothing but labels" in _patch(node, token, mine, patch), patch
        assert _patch(node, token, mine, ours) == ""
        assert _patch(node, token, mine, {"metadata": {"labels": {f"{PREFIX}npu.count": None}}}) == ""
        # Everybody else is as free as before.
        node.kubectl("label", "node", other, "a=b")
    until(lambda: not [each for each in node.labels() if "control-plane" in each], "no label of the test")
    _take_labels_away(node)


def _take_labels_away(node: Node) -> None:
    """A discovery that was deleted without its clean-up leaves its labels."""
    names = [f"{each}-" for each in node.labels() if each.startswith(PREFIX)]
    if names:
        node.kubectl("label", "node", node.name, *names)


def test_a_token_writes_the_node_feature_of_its_own_node_alone(node: Node, directory: Path) -> None:
    with _publishing(node, "node-feature", directory):
        own = f"furiosa-npu-features-for-{node.name}"
        get = ("get", "nodefeature", f"--namespace={NAMESPACE}", own)
        until(lambda: node.kubectl(*get, "--ignore-not-found"), "the NodeFeature is there")
        token, found = _token(node), node.json(*get)

        def replaced(name: str, of: str, label: str) -> str:
            metadata = {"name": name, "namespace": NAMESPACE, "labels": {"nfd.node.kubernetes.io/node-name": of}}
            if name == own:
                metadata["resourceVersion"] = node.json(*get)["metadata"]["resourceVersion"]
            made = {**found, "metadata": metadata, "spec": {**found["spec"], "labels": {label: "1"}}}
            verb = "replace" if name == own else "create"
            return _refused(node, token, verb, "--filename=-", stdin=json.dumps(made))

        until(
            lambda: "the NodeFeature is" in replaced(f"{own}-2", node.name, f"{PREFIX}a"),
            "the policy is in force",
        )
        assert "is not the node of the token" in replaced(own, OTHER, f"{PREFIX}a")
        assert "and no others" in replaced(own, node.name, "example.com/a")
        assert replaced(own, node.name, f"{PREFIX}a") == ""
        assert _refused(node, token, "delete", *get[1:]) == ""
