"""What is deployed: the manifests, and the overlays as kustomize renders them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import npu_device_plugin
import npu_feature_discovery
import npu_metrics_exporter
from testkit.deployments.monitoring import ROOT, Json, documents

PLACE = ROOT / "deployments"
GOLDEN = ROOT / "tests" / "deployments" / "golden"
MANIFESTS = tuple(PLACE / f"{name}.yaml" for name in ("device-plugin", "npu-feature-discovery", "npu-metrics-exporter"))
OVERLAYS = tuple(sorted(path.name for path in (PLACE / "overlays").iterdir()))
RENDERED = tuple(GOLDEN / f"{name}.yaml" for name in OVERLAYS)
EXAMPLE = PLACE / "pod-example.yaml"
COMPONENTS = tuple(sorted(path.name for path in (PLACE / "components").iterdir()))
POLICIES = tuple(PLACE / f"components/{name}/network-policy.yaml" for name in COMPONENTS if name.startswith("network-"))
ADMISSION = PLACE / "components/own-node-only/admission-policy.yaml"
"""What only newer releases know; see :data:`ADMISSION_SINCE`."""
ADMISSION_SINCE = 30
"""The minor release of Kubernetes with ValidatingAdmissionPolicies, and with the node's name in the tokens of pods."""
ALL = (*MANIFESTS, *RENDERED, *POLICIES, EXAMPLE)

VERSIONS = {
    "furiosa-device-plugin": npu_device_plugin.__version__,
    "furiosa-npu-feature-discovery": npu_feature_discovery.__version__,
    "furiosa-npu-metrics-exporter": npu_metrics_exporter.__version__,
}
"""By the name of the DaemonSet."""


@dataclass(frozen=True)
class Deployed:
    """A DaemonSet of one file.

    Attributes:
        file: where it is.
        name: its own.
        daemons: all of it.
        pod: what its pods are.
        container: their only container.
        beside: the other objects of the file.
    """

    file: Path
    name: str
    daemons: Json
    pod: Json
    container: Json
    beside: list[Json]

    def __str__(self) -> str:
        """For the names of tests."""
        return f"{self.file.stem}:{self.name}"

    @property
    def environment(self) -> dict[str, str]:
        """What its container has in the environment; the node is called ``node-1``."""
        fields = {"spec.nodeName": "node-1"}
        return {
            one["name"]: one["value"] if "value" in one else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
            for one in self.container["env"]
        }

    @property
    def command(self) -> list[str]:
        """What its container runs."""
        return [*self.container["command"], *self.container.get("args", [])]

    @property
    def options(self) -> dict[str, str]:
        """The options among that, without dashes."""
        arguments = self.container.get("args", [])
        return {name.removeprefix("--"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}

    @property
    def mounts(self) -> Mapping[str, Json]:
        """Its mounts by the path in the container, each with its volume."""
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        return {
            mount["mountPath"]: mount | {"volume": volumes[mount["name"]]} for mount in self.container["volumeMounts"]
        }

    @property
    def config(self) -> str:
        """The text of the plugin's configuration file."""
        (found,) = (each for each in self.beside if each["kind"] == "ConfigMap")
        text: str = found["data"]["config.yaml"]
        return text

    def of_kind(self, kind: str) -> list[Json]:
        """The other objects of this kind."""
        return [each for each in self.beside if each["kind"] == kind]


def deployed() -> list[Deployed]:
    """Every DaemonSet of every file."""
    return [_read(file, daemons) for file in (*MANIFESTS, *RENDERED) for daemons in _daemon_sets(file)]


def _daemon_sets(file: Path) -> list[Json]:
    return [each for each in documents(file) if each["kind"] == "DaemonSet"]


def _read(file: Path, daemons: Json) -> Deployed:
    pod = daemons["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    beside = [each for each in documents(file) if each != daemons]
    return Deployed(file, daemons["metadata"]["name"], daemons, pod, container, beside)


def the(stem: str, name: str) -> Deployed:
    """The DaemonSet of this name in the file of this name."""
    (found,) = (each for each in deployed() if (each.file.stem, each.name) == (stem, name))
    return found
