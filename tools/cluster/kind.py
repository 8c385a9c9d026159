"""A node that kind makes in a container of Docker, on a simulated host. Its programs are those of kind's image."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from testkit.waiting import PATIENCE, until
from tools.cluster import images
from tools.cluster.cards import Cards
from tools.cluster.init import host_mounts
from tools.cluster.keeper import hierarchies
from tools.cluster.node import Node
from tools.cluster.programs import MissingError, Programs, found

_CLUSTER = "furiosa-npu-e2e"
_SIMULATED = "/simulated"
"""Where the node's container has the simulated host."""
_API_SERVER = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_AWAY = "/etc/kubernetes/kube-apiserver.yaml"
_KUBELET = {"topologyManagerPolicy": "best-effort", "nodeStatusUpdateFrequency": "2s", "syncFrequency": "2s"}
_START_SECONDS = 600.0
_NOT_RUN = 77


def missing_for_kind() -> str | None:
    """Why kind cannot make a node here; None if it can."""
    for name in ("docker", "kind", "kubectl"):
        if shutil.which(name) is None:
            return f"there is no {name}"
    done = subprocess.run([shutil.which("docker") or "docker", "info"], capture_output=True, timeout=60, check=False)
    return None if done.returncode == 0 else "no Docker engine answers"


class KindNode(Node):
    """The only node of a cluster of kind. The environment variable KIND_IMAGE chooses another release."""

    name = f"{_CLUSTER}-control-plane"

    def __init__(
        self, *, warboys: int = 4, rngds: int = 0, programs: Programs | None = None, tell: Callable[[str], None] = print
    ) -> None:
        """A node that is not up yet.

        Args:
            warboys: Warboy cards of the host.
            rngds: RNGD cards of the host.
            programs: where Node Feature Discovery and the images of pods are from; chosen by the environment if None.
            tell: gets a line for each step of the way.

        Raises:
            MissingError: if Docker, kind or kubectl is not there.
        """
        if (reason := missing_for_kind()) is not None:
            raise MissingError(reason)
        super().__init__(programs or found(), tell)
        self._folder = Path(tempfile.mkdtemp(prefix="furiosa-npu-kind-"))
        self._cards = Cards(self._folder / "host", warboys, rngds)
        self._first = 0

    @property
    def first(self) -> int:
        return self._first

    @property
    def group(self) -> str:
        # The line of a hierarchy is "4:memory:/docker/...", and of the second version "0::/system.slice/docker-...".
        lines = Path(f"/proc/{self._first}/cgroup").read_text(encoding="ascii").splitlines()
        groups = [line.split(":", 2)[2].removesuffix("/init.scope").strip("/") for line in lines]
        return next(group for group in groups if group and any((root / group).is_dir() for root in hierarchies()))

    @property
    def kubelet_settings(self) -> str:
        return "/var/lib/kubelet/config.yaml"

    @property
    def static_pods(self) -> str:
        return str(Path(_API_SERVER).parent)

    # -- up and down ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        try:
            self._cards.start()
            self._create()
            self._begin()
            for archive in [*images.of_pods(), *images.of_services(self.programs)]:
                self._outside("kind", "load", "image-archive", str(archive), "--name", _CLUSTER)
            self._report("images imported")
            until(lambda: self.condition("Ready") == "True", "the node is Ready")
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        self._cards.end()
        self._outside("kind", "delete", "cluster", "--name", _CLUSTER, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def reboot(self) -> None:
        self._outside("docker", "restart", "--time", "0", self.name)
        self._begin()
        until(lambda: self.condition("Ready") == "True", "the node is Ready", _START_SECONDS)

    def _create(self) -> None:
        kubelet = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **_KUBELET}
        node = {
            "role": "control-plane",
            "extraMounts": [{"hostPath": str(self._folder / "host"), "containerPath": _SIMULATED}],
            "kubeadmConfigPatches": [json.dumps(kubelet)],
        }
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]}
        (self._folder / "kind.yaml").write_text(json.dumps(config), encoding="utf-8")
        chosen = [f"--image={os.environ['KIND_IMAGE']}"] if os.environ.get("KIND_IMAGE") else []
        create = ["kind", "create", "cluster", "--name", _CLUSTER, f"--config={self._folder / 'kind.yaml'}", *chosen]
        self._outside(*create, "--wait=300s", seconds=_START_SECONDS)
        self._report("kind has made the cluster")

    def _begin(self) -> None:
        """Mount the simulated host over the node's own files, because the mounts are lost when the container ends."""
        self._first = int(self._outside("docker", "inspect", "--format={{.State.Pid}}", self.name).stdout)
        for command in host_mounts(_SIMULATED):
            self.run(*command)

    # -- its programs ---------------------------------------------------------------------------------------------

    def stop_kubelet(self, number: signal.Signals = signal.SIGTERM) -> None:
        if number != signal.SIGTERM:
            self.run("systemctl", "kill", f"--signal={number.name}", "kubelet")
        self.run("systemctl", "stop", "kubelet")

    def start_kubelet(self) -> None:
        self._kubelet_log_begins = len(self.log("kubelet"))
        self.run("systemctl", "start", "kubelet")

    def stop_api_server(self) -> None:
        self.run("mv", _API_SERVER, _AWAY)
        until(lambda: self.kubectl("get", "--raw", "/readyz", check=False) != "ok", "the API server is away")

    def start_api_server(self) -> None:
        self.run("sh", "-c", f"[ ! -e {_AWAY} ] || mv {_AWAY} {_API_SERVER}")
        until(lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok", "the API server is ready")

    def stop_containerd(self) -> None:
        self.run("systemctl", "stop", "containerd")

    def start_containerd(self) -> None:
        self.run("systemctl", "start", "containerd")
        until(lambda: self.run("ctr", "version", check=False).returncode == 0, "containerd answers")

    def revive_programs(self) -> None:
        self.run("systemctl", "start", "containerd", "kubelet")
        self.start_api_server()

    @property
    def kubelet_lives(self) -> bool:
        return self.run("systemctl", "is-active", "kubelet", check=False).stdout.strip() == "active"

    def log(self, name: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={name}", check=False).stdout

    def cards(self) -> Cards:
        return self._cards

    def run(
        self, *command: str, stdin: str = "", check: bool = True, seconds: float = PATIENCE
    ) -> "subprocess.CompletedProcess[str]":
        # kubectl runs outside of the container, where the manifests are, with the kubeconfig that kind has written.
        enter = [] if command[0] == "kubectl" else ["docker", "exec", "--interactive", self.name]
        return self._outside(*enter, *command, stdin=stdin, check=check, seconds=seconds)

    def _outside(
        self, *command: str, stdin: str = "", check: bool = True, seconds: float = PATIENCE
    ) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "KUBECONFIG": str(self._folder / "kubeconfig")}
        done = subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stderr}{done.stdout}"
        return done


if __name__ == "__main__":
    if (absent := missing_for_kind()) is not None:
        sys.stderr.write(f"e2e: NOTHING WAS TESTED on a node of kind: {absent}\n")
        sys.exit(_NOT_RUN)
