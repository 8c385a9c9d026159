"""The kubelet of a real node as the subject of a scenario."""

import asyncio
import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testkit.waiting import until
from tests.kubelet_contract.subject import PodState, Units
from tools.cluster.namespaces import NamespaceNode
from tools.cluster.pods import Container, manifest
from tools.cluster.settings import NODE


class Real:
    """The kubelet of a node on which nothing of the project runs."""

    def __init__(self, node: NamespaceNode, resource: str) -> None:
        """The kubelet of a node that is up."""
        self.minor = int(node.programs.kubernetes.partition(".")[2])
        self.resource = resource
        self.plugin_dir = node.folder / "kubelet/device-plugins"
        self.pod_resources = node.folder / "kubelet/pod-resources/kubelet.sock"
        self._node = node
        self._policy = "none"
        self._panics = node.panics()

    @property
    def registers_at(self) -> Path:
        return Path("/var/lib/kubelet/device-plugins")

    async def clean(self) -> None:
        """Leave a node without pods, whose kubelet never heard of a plugin."""
        await asyncio.to_thread(self._clean)

    def _clean(self) -> None:
        if not self._node.api_server_lives:
            self._node.start_api_server()
        if not self._node.kubelet_lives:
            self._start("none")
        self._node.kubectl("delete", "pods", "--all", "--namespace=default")
        self._node.stop_kubelet()
        (self.plugin_dir / "kubelet_internal_checkpoint").unlink(missing_ok=True)
        self._start("none")

    async def run(
        self, name: str, main: int, *, init: int | None = None, sidecar: int | None = None, restarts: bool = False
    ) -> PodState:
        before, beside = (None if count is None else Container(count) for count in (init, sidecar))
        pod = manifest(name, Container(main), init=before, sidecar=beside, resource=self.resource)
        pod["spec"] |= {"nodeName": NODE, "restartPolicy": "Always" if restarts else "Never"}
        await asyncio.to_thread(self._node.apply_text, json.dumps(pod))
        return await self._running(name, "main" if init is None else "init")

    async def finish(self, name: str, container: str) -> None:
        await asyncio.to_thread(self._node.finish, name, container)
        if container == "init":
            await self._running(name, "main")
        else:
            await self._await(lambda: self._node.phase(name) == "Succeeded", f"{name} is over")

    async def start_again(self, name: str) -> PodState:
        starts = await asyncio.to_thread(self._starts, name)
        await asyncio.to_thread(self._node.finish, name, "main")
        await self._await(lambda: self._starts(name) > starts or self._pod(name).phase == "Failed", f"{name} starts")
        return await self._running(name, "main")

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._node.delete, name)

    async def pod(self, name: str) -> PodState:
        return await asyncio.to_thread(self._pod, name)

    async def uid(self, name: str) -> str:
        return str((await asyncio.to_thread(self._json, name))["metadata"]["uid"])

    async def units_variable(self, name: str) -> str:
        echo = ["exec", name, "--container=main", "--", "sh", "-c", 'echo "$UNITS"']
        return (await asyncio.to_thread(self._node.kubectl, *echo)).strip()

    async def units(self) -> Units:
        status = (await asyncio.to_thread(self._node.node))["status"]
        allocatable, capacity = (status.get(name, {}).get(self.resource) for name in ("allocatable", "capacity"))
        return Units(int(allocatable or 0), int(capacity or 0), capacity is not None)

    async def stop(self) -> None:
        await asyncio.to_thread(self._node.stop_kubelet)

    async def kill(self) -> None:
        await asyncio.to_thread(self._node.stop_kubelet, signal.SIGKILL)

    async def start(self, policy: str = "none") -> None:
        await asyncio.to_thread(self._start, policy)

    def _start(self, policy: str) -> None:
        self._node.set_kubelet(topologyManagerPolicy=policy)
        self._node.start_kubelet()
        until(lambda: self._answers() or not self._node.kubelet_lives, "kubelet.sock answers")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as caller:
            try:
                caller.connect(str(self.plugin_dir / "kubelet.sock"))
            except OSError:
                return False
        return True

    async def stop_api_server(self) -> None:
        await asyncio.to_thread(self._node.stop_api_server)

    async def start_api_server(self) -> None:
        await asyncio.to_thread(self._node.start_api_server)

    async def lives(self) -> bool:
        return self._node.kubelet_lives

    async def panics(self) -> int:
        return self._node.panics() - self._panics

    async def _running(self, name: str, container: str) -> PodState:
        """Wait until a container runs or the pod is refused."""

        def decided() -> PodState | None:
            pod = self._json(name)
            state = _state(pod)
            return state if state.phase == "Failed" or "running" in _container(pod, container)["state"] else None

        seen = await asyncio.to_thread(
            until, decided, f"{name}'s {container} runs, or is refused", instead=lambda: self._json(name).get("status")
        )
        assert seen is not None
        return seen

    async def _await(self, look: Callable[[], bool], what: str) -> None:
        await asyncio.to_thread(until, look, what)

    def _json(self, name: str) -> dict[str, Any]:
        text = self._node.kubectl("get", "pod", name, "--output=json", check=False)
        return dict(json.loads(text)) if text else {}

    def _pod(self, name: str) -> PodState:
        return _state(self._json(name))

    def _starts(self, name: str) -> int:
        return int(_container(self._json(name), "main").get("restartCount", 0))


def _state(pod: dict[str, Any]) -> PodState:
    status = pod.get("status", {})
    return PodState(status.get("phase", ""), status.get("reason", ""), status.get("message", ""))


def _container(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """The status of a container, with no state if the pod has no such container yet."""
    status = pod.get("status", {})
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return next((dict(each) for each in every if each["name"] == name), {"state": {}})
