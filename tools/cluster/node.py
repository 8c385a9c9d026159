"""What tests do to a real Kubernetes node, and see of it, whatever kind of node it is.

How a node is brought up is in :mod:`tools.cluster.namespaces` and :mod:`tools.cluster.kind`.
"""

import json
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import yaml
from prometheus_client.parser import text_string_to_metric_families

from testkit.waiting import PATIENCE, until
from tools.cluster import held, images
from tools.cluster.cards import Card, Cards
from tools.cluster.held import Held
from tools.cluster.pods import RESOURCE, Container, manifest
from tools.cluster.programs import ROOT, Programs

DEPLOYMENTS = ROOT / "deployments"
MANIFESTS = [
    DEPLOYMENTS / name for name in ("device-plugin.yaml", "npu-feature-discovery.yaml", "npu-metrics-exporter.yaml")
]
DAEMONS = ("furiosa-device-plugin", "furiosa-npu-feature-discovery", "furiosa-npu-metrics-exporter")
"""What the manifests call their DaemonSets."""
NFD_INTERVAL = "2s"
"""Interval of nfd-worker's looks at the host. The default of a minute would only make tests wait longer."""
SELECTOR = "feature.node.kubernetes.io/pci-1ed2.present"
_CHECKPOINT = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint"
_STATES = ("/var/lib/kubelet/cpu_manager_state", "/var/lib/kubelet/memory_manager_state")
_STATIC = "of-test-"
"""Prefix of the files of static pods that tests write."""


class NodeError(Exception):
    """The node did not come up. The message names the program, and has the end of its log."""


class Node(ABC):
    """One node with its cluster. Used as ``with NamespaceNode(warboys=4) as node:``.

    Attributes:
        name: of the Node object.
        programs: what it is made of.
        tell: gets a line for each step of the way.
    """

    name: str

    def __init__(self, programs: Programs, tell: Callable[[str], None]) -> None:
        """A node that is not up yet."""
        self.programs = programs
        self.tell = tell
        self._begun = time.monotonic()
        self._kubelet_log_begins = 0

    def _report(self, what: str) -> None:
        self.tell(f"{time.monotonic() - self._begun:5.1f} s  {what}")

    # -- what each kind of node does in its own way -----------------------------------------------------------------

    @abstractmethod
    def __enter__(self) -> Self:
        """Bring the node up; it is Ready after this."""

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Take everything down, and leave nothing."""

    @abstractmethod
    def reboot(self) -> None:
        """End all processes of the node at once, and bring it up again: the disk stays, /run is empty."""

    @property
    @abstractmethod
    def first(self) -> int:
        """The process id of the node's first process, as seen from outside; 0 while the node is not up."""

    @property
    @abstractmethod
    def group(self) -> str:
        """The control group of the node, below the machine's root group."""

    @property
    @abstractmethod
    def kubelet_settings(self) -> str:
        """The file with the kubelet's settings, as the node has it."""

    @property
    @abstractmethod
    def static_pods(self) -> str:
        """The folder of static pods, as the node has it."""

    @abstractmethod
    def stop_kubelet(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the kubelet; its pods run on."""

    @abstractmethod
    def start_kubelet(self) -> None:
        """Start the kubelet; see :meth:`await_kubelet`."""

    @abstractmethod
    def stop_api_server(self) -> None:
        """Take the API server away."""

    @abstractmethod
    def start_api_server(self) -> None:
        """Start the API server; it is ready after this."""

    @abstractmethod
    def stop_containerd(self) -> None:
        """End containerd; containers run on, and nobody reads what they say."""

    @abstractmethod
    def start_containerd(self) -> None:
        """Start containerd; it answers after this."""

    @abstractmethod
    def revive_programs(self) -> None:
        """Start whatever does not run."""

    @property
    @abstractmethod
    def kubelet_lives(self) -> bool:
        """Whether the kubelet's process is there."""

    @abstractmethod
    def log(self, name: str) -> str:
        """Everything that a program of the node said, ``kubelet`` for one; empty if there is no such log."""

    @abstractmethod
    def cards(self) -> Cards:
        """The cards of the host."""

    @abstractmethod
    def run(
        self, *command: str, stdin: str = "", check: bool = True, seconds: float = PATIENCE
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the node, ``kubectl`` as the cluster's administrator.

        Raises:
            AssertionError: if it fails and ``check`` is set; says what it said.
        """

    # -- its programs ---------------------------------------------------------------------------------------------

    def restart_containerd(self) -> None:
        """End containerd and start it again; containers run on."""
        self.stop_containerd()
        self.start_containerd()

    def restart_kubelet(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the kubelet and start it again."""
        self.stop_kubelet(number)
        self.start_kubelet()

    def await_kubelet(self) -> None:
        """Wait until the kubelet has the plugin's list, and has reported the node's status after that."""

        def has_list() -> bool:
            return "Processed device updates" in self.log("kubelet")[self._kubelet_log_begins :]

        def reported() -> str:
            conditions = self.node()["status"].get("conditions", [])
            return next((str(each["lastHeartbeatTime"]) for each in conditions if each["type"] == "Ready"), "")

        until(lambda: has_list() or not self.kubelet_lives, "the kubelet has the plugin's list")
        # Times of the API are in seconds, and sorted as texts.
        begun = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
        until(lambda: reported() > begun, f"the kubelet reports the node's status after {begun}")

    @contextmanager
    def reconfigured_kubelet(self, **changes: object) -> Iterator[None]:
        """Restart the kubelet with other settings, and restore the former settings at the end of the block.

        ``changes`` are settings of the kubelet by their own names. Both restarts remove the kubelet's state files of
        the CPU and memory managers, because a kubelet with another policy refuses the old files. So no container may
        have exclusive processors at that time. Before the second restart, all pods of the default namespace are
        deleted.
        """
        file = self.path(self.kubelet_settings)
        before = file.read_text(encoding="utf-8")
        self._change_kubelet(json.dumps({**yaml.safe_load(before), **changes}))
        try:
            yield
        finally:
            self.kubectl("delete", "pods", "--all", "--namespace=default")
            every = held.processors_of_machine()
            until(lambda: self.processors() <= {every}, "every container may run on every processor again")
            self._change_kubelet(before)

    def _change_kubelet(self, text: str) -> None:
        self.stop_kubelet()
        self.path(self.kubelet_settings).write_text(text, encoding="utf-8")
        for name in _STATES:
            self.path(name).unlink(missing_ok=True)
        self.start_kubelet()
        self.await_kubelet()

    def panics(self) -> int:
        """How often the kubelet's log says ``panic:``."""
        return self.log("kubelet").count("panic:")

    def log_end(self, name: str, lines: int = 30) -> str:
        """The last lines of a program's log."""
        return "\n".join(self.log(name).splitlines()[-lines:])

    # -- commands -------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """What kubectl says, as the cluster's administrator.

        Raises:
            AssertionError: if it fails and ``check`` is set.
        """
        return self.run("kubectl", *arguments, stdin=stdin, check=check).stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """What kubectl says with ``--output=json``."""
        return _object(self.kubectl(*arguments, "--output=json"))

    def apply(self, *paths: Path) -> None:
        """Apply manifests as they are."""
        self.kubectl("apply", *(f"--filename={path}" for path in paths))

    def apply_text(self, text: str) -> None:
        """Apply the text of a manifest."""
        self.kubectl("apply", "--filename=-", stdin=text)

    def apply_objects(self, *objects: Mapping[str, Any]) -> None:
        """Apply Kubernetes objects that are dictionaries, all in one call."""
        self.apply_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    # -- what is there --------------------------------------------------------------------------------------------

    def node(self) -> dict[str, Any]:
        """The Node object; one with nothing in it before the kubelet has made it."""
        text = self.kubectl("get", "node", self.name, "--output=json", check=False)
        return _object(text) if text else {"spec": {}, "status": {}, "metadata": {}}

    def condition(self, kind: str) -> str | None:
        """The status of one of the node's conditions."""
        conditions = self.node()["status"].get("conditions", [])
        return next((str(each["status"]) for each in conditions if each["type"] == kind), None)

    def labels(self) -> dict[str, str]:
        """The node's labels."""
        return dict(self.node()["metadata"].get("labels", {}))

    def allocatable(self, resource: str = RESOURCE) -> int:
        """How many units are allocatable, including units that pods hold."""
        return int(self.node()["status"].get("allocatable", {}).get(resource, 0))

    def capacity(self, resource: str = RESOURCE) -> int:
        """How many units the plugin lists, unhealthy ones included."""
        return int(self.node()["status"].get("capacity", {}).get(resource, 0))

    def await_units(self, allocatable: int, capacity: int, what: str = "") -> None:
        """Wait until the node's status has these numbers of units; ``allocatable`` includes units that pods hold."""

        def units() -> tuple[int, int]:
            status = self.node()["status"]
            return int(status["allocatable"].get(RESOURCE, 0)), int(status["capacity"].get(RESOURCE, 0))

        until(
            lambda: units() == (allocatable, capacity),
            f"{allocatable} allocatable units of {capacity} {what}",
            instead=units,
        )

    def pods(self, namespace: str = "default") -> dict[str, Any]:
        """The pods of a namespace, by name."""
        items = self.json("get", "pods", f"--namespace={namespace}")["items"]
        return {item["metadata"]["name"]: item for item in items}

    def phase(self, name: str) -> str:
        """``Running``, or what a pod's phase is; empty if there is no such pod."""
        return self.kubectl("get", "pod", name, "--output=jsonpath={.status.phase}", check=False)

    def card(self, index: int) -> Card:
        """A Warboy card of the host."""
        return self.cards().card(index)

    def path(self, inside: str) -> Path:
        """A file of the node, as it is found from outside."""
        return Path(f"/proc/{self.first}/root{inside}")

    def held(self) -> list[Held]:
        """The containers that run and hold cores, by the environment of their processes."""
        return held.held(self.group, self.path("/var/log/containers"))

    def units_of(self, pod: str, container: str = "main") -> str:
        """What a running container was told to use; empty if it does not run."""
        return next((each.units for each in self.held() if (each.pod, each.container) == (pod, container)), "")

    def processors(self) -> set[str]:
        """Which processors the containers that run may use, each set once and as the kernel writes it: ``0-1``."""
        return held.processors(self.group)

    def checkpoint(self) -> dict[str, Any]:
        """The kubelet's checkpoint of devices, as the file is."""
        return _object(self.path(_CHECKPOINT).read_text(encoding="utf-8"))

    # -- pods -----------------------------------------------------------------------------------------------------

    def run_pod(
        self, name: str, main: int = 0, *, init: int | None = None, sidecar: int | None = None, wait: bool = True
    ) -> str:
        """Start a pod whose containers ask for so many units and wait for :meth:`finish`; its name.

        Args:
            name: of the pod.
            main: units of its main container.
            init: units of its init container; none such if None.
            sidecar: units of its sidecar; none such if None.
            wait: until its first container runs that is no sidecar.
        """
        before, beside = (None if count is None else Container(count) for count in (init, sidecar))
        self.apply_objects(manifest(name, Container(main), init=before, sidecar=beside))
        if wait:
            self.await_running(name, "main" if init is None else "init")
        return name

    def run_static_pod(self, pod: Mapping[str, Any]) -> str:
        """Put a pod into the folder of static pods, and wait until it runs; its name in the API.

        The file is there until :meth:`remove_static_pods`.
        """
        name = pod["metadata"]["name"]
        # The kubelet leaves out files that begin with a dot.
        fresh = self.path(f"{self.static_pods}/.{_STATIC}{name}.json")
        fresh.write_text(json.dumps(pod), encoding="utf-8")
        fresh.rename(fresh.with_name(fresh.name.removeprefix(".")))
        self.await_running(f"{name}-{self.name}")
        return f"{name}-{self.name}"

    def remove_static_pods(self) -> None:
        """Remove the files of :meth:`run_static_pod`."""
        for file in self.path(self.static_pods).glob(f"*{_STATIC}*"):
            file.unlink()

    def await_running(self, pod: str, container: str = "main") -> None:
        """Wait until a container runs, and :meth:`held` names it if it asks for cards."""

        def runs() -> bool:
            found = self._pod(pod)
            if "running" not in _state(found, container):
                return False
            # The kubelet may report "running" before the process has its environment and the log file has its name.
            return not _asks_for_cards(found, container) or bool(self.units_of(pod, container))

        until(runs, f"{pod}'s {container} runs", instead=lambda: (_state(self._pod(pod), container), self.held()))

    def await_end(self, pod: str) -> dict[str, Any]:
        """Wait until a pod ran to its end or was refused; its status."""
        until(lambda: self.phase(pod) in {"Succeeded", "Failed"}, f"{pod} ends", instead=self.overview)
        return dict(self.pods()[pod]["status"])

    def _pod(self, name: str) -> dict[str, Any]:
        text = self.kubectl("get", "pod", name, "--output=json", check=False)
        return _object(text) if text else {"spec": {}, "status": {}}

    def finish(self, pod: str, container: str = "main") -> None:
        """Let a container of :meth:`run_pod` end well."""
        self.kubectl("exec", pod, f"--container={container}", "--", "sh", "-c", ": > /go")

    def delete(self, *names: str) -> None:
        """Delete pods, and wait until they are gone."""
        self.kubectl("delete", "pod", "--ignore-not-found", *names)

    def logs(self, pod: str, container: str = "", namespace: str = "default") -> str:
        """What a container said; the only one if it is not named."""
        chosen = [f"--container={container}"] if container else []
        return self.kubectl("logs", f"--namespace={namespace}", pod, *chosen)

    # -- the project's services -----------------------------------------------------------------------------------

    def install(self, *, nfd: bool = True) -> None:
        """Apply Node Feature Discovery and the three manifests as they are, and wait until all are ready.

        Args:
            nfd: let Node Feature Discovery make the label that the manifests select; else it is set by hand.
        """
        if nfd:
            self.install_nfd()
        else:
            self.kubectl("label", "node", self.name, f"{SELECTOR}=true", "--overwrite")
        self.apply(*MANIFESTS)
        for name in DAEMONS:
            self.await_daemon(name)
        until(self.allocatable, "the node offers units")
        self._report("the three services ready")

    def install_nfd(self) -> None:
        """Apply Node Feature Discovery, built from its module, and the rule for the label."""
        rendered = self.kubectl("kustomize", str(self.programs.nfd_folder / "deployment/overlays/default"))
        lines = [_as_here(line) for line in rendered.splitlines()]
        self.apply_text("\n".join(lines))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={PATIENCE:g}s")
        rule = DEPLOYMENTS / "nfd/node-feature-rule.yaml"
        until(
            lambda: self.run("kubectl", "apply", f"--filename={rule}", check=False).returncode == 0, "the rule is there"
        )
        self._report("Node Feature Discovery applied")

    def await_daemon(self, name: str) -> None:
        """Wait until a DaemonSet of kube-system has a ready pod, of its newest template."""
        until(
            lambda: self.json("get", "daemonset", "--namespace=kube-system", name)["status"].get("numberReady"),
            f"{name} is ready",
            instead=self.overview,
        )
        self.kubectl("rollout", "status", "--namespace=kube-system", f"daemonset/{name}", f"--timeout={PATIENCE:g}s")

    def overview(self) -> str:
        """Every pod, whether the node has the label that the manifests select, and the last events, for messages."""
        pods = self.kubectl("get", "pods", "--all-namespaces", check=False)
        events = self.kubectl("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp", check=False)
        end = "\n".join(events.splitlines()[-15:])
        return f"{SELECTOR}={self.labels().get(SELECTOR)}\n{pods}\n{end}"

    def restart_plugin(self) -> None:
        """Let the device plugin's pod be made anew, and wait until it is ready."""
        self.kubectl("rollout", "restart", "--namespace=kube-system", f"daemonset/{DAEMONS[0]}")
        self.await_daemon(DAEMONS[0])

    def configure(self, **changes: object) -> None:
        """Write the device plugin's ConfigMap. Settings that are not given are those of the manifest."""
        text = json.dumps({"defaultPe": "Fusion", "interval": 10, "disabledDevices": [], **changes})
        self.edit_configuration(json.dumps({"data": {"config.yaml": text}}))

    def edit_configuration(self, patch: str) -> None:
        """Change the device plugin's ConfigMap by a patch, which is JSON or YAML."""
        self.kubectl("patch", "configmap", "--namespace=kube-system", "npu-device-plugin", f"--patch={patch}")

    def plugin_pod(self) -> str:
        """The name of the device plugin's pod; empty while none runs."""
        return self.kubectl(
            *("get", "pods", "--namespace=kube-system", f"--selector=app.kubernetes.io/name={DAEMONS[0]}"),
            *("--field-selector=status.phase=Running", "--output=jsonpath={.items[*].metadata.name}"),
        )

    def plugin_metric(self, name: str) -> float | None:
        """The sum of a metric of the device plugin over all labels; None if the plugin has no such metric."""
        place = f"/api/v1/namespaces/kube-system/pods/{self.plugin_pod()}:6255/proxy/metrics"
        families = text_string_to_metric_families(self.kubectl("get", "--raw", place))
        found = [each.value for family in families for each in family.samples if each.name == name]
        return sum(found) if found else None

    def plugin_log(self) -> str:
        """What the device plugin said since its start."""
        return self.logs(self.plugin_pod(), namespace="kube-system")

    def metrics(self) -> str:
        """The exporter's page, through its Service and the API server."""
        place = "/api/v1/namespaces/kube-system/services/furiosa-npu-metrics-exporter:http-metrics/proxy/metrics"
        return self.kubectl("get", "--raw", place, check=False)


def _object(text: str) -> dict[str, Any]:
    """A JSON object."""
    read: dict[str, Any] = json.loads(text)
    return read


def _state(pod: Mapping[str, Any], container: str) -> str:
    """The state of one of a pod's containers, or all that the pod's status says if the container has none yet."""
    status = pod["status"]
    states = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    return next((str(each["state"]) for each in states if each["name"] == container), str(status)[:500])


def _asks_for_cards(pod: Mapping[str, Any], container: str) -> bool:
    spec = pod["spec"]
    containers = [*spec.get("containers", []), *spec.get("initContainers", [])]
    limits = [each.get("resources", {}).get("limits", {}) for each in containers if each["name"] == container]
    return any(name.startswith(RESOURCE) for each in limits for name in each)


def _as_here(line: str) -> str:
    """A line of Node Feature Discovery's manifests, with the image of the test node and the interval of tests."""
    key, colon, _ = line.partition(":")
    match key.strip():
        case "image" | "- image":
            return f"{key}{colon} {images.NFD}"
        case "imagePullPolicy":
            return f"{key}{colon} IfNotPresent"
        case "#core":
            return f"{key.replace('#', '')}{colon}"
        case "#  sleepInterval":
            return f"{key.replace('#', '')}{colon} {NFD_INTERVAL}"
    return line
