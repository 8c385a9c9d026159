"""The stand-in kubelet as the subject of a scenario."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Self

from testkit.standins.kubelet import (
    ContainerSpec,
    EventKind,
    Generation,
    KubeletPanickedError,
    KubeletSettings,
    Phase,
    PodError,
    StandInKubelet,
    TopologyPolicy,
)
from tests.kubelet_contract.subject import PodState, Units

GENERATIONS = {36: Generation.B, 37: Generation.C}
"""By the last release that behaves so."""


class StandIn:
    """Used as ``async with StandIn(37, directory, resource) as kubelet:``."""

    def __init__(self, minor: int, directory: Path, resource: str) -> None:
        """A stand-in that does not run yet; ``directory`` needs a short path."""
        self.minor = minor
        self.resource = resource
        self.plugin_dir = directory / "device-plugins"
        self.pod_resources = directory / "pod-resources/kubelet.sock"
        self._kubelet = StandInKubelet(
            KubeletSettings(
                self.plugin_dir,
                generation=GENERATIONS[minor],
                pod_resources_dir=self.pod_resources.parent,
                dial_deadline=0.5,
            )
        )

    async def __aenter__(self) -> Self:
        """Start."""
        await self._kubelet.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Clean up."""
        await self._kubelet.aclose()

    @property
    def registers_at(self) -> Path:
        return self.plugin_dir

    async def run(
        self, name: str, main: int, *, init: int | None = None, sidecar: int | None = None, restarts: bool = False
    ) -> PodState:
        del restarts  # as the test says
        containers = [ContainerSpec("main", {self.resource: main})]
        if sidecar is not None:
            containers.append(ContainerSpec("sidecar", {self.resource: sidecar}, init=True, restartable=True))
        if init is not None:
            containers.append(ContainerSpec("init", {self.resource: init}, init=True))
        # What went wrong is in the pod's state.
        with contextlib.suppress(PodError, KubeletPanickedError):
            await self._kubelet.run_pod(name, containers=containers)
        return await self.pod(name)

    async def finish(self, name: str, container: str) -> None:
        if container == "main":
            self._kubelet.finish_pod(name)

    async def start_again(self, name: str) -> PodState:
        with contextlib.suppress(PodError):
            await self._kubelet.restart_container(name)
        return await self.pod(name)

    async def delete(self, name: str) -> None:
        self._kubelet.delete_pod(name)

    async def pod(self, name: str) -> PodState:
        pods = self._kubelet.view().pods
        if name not in pods:
            return PodState("")
        pod = pods[name]
        phase = Phase.PENDING if pod.phase is Phase.WAITING else pod.phase
        return PodState(phase.value, pod.reason, pod.message)

    async def uid(self, name: str) -> str:
        return self._kubelet.view().pod(name).uid

    async def units_variable(self, name: str) -> str:
        admitted = self._kubelet.view().pod(name).admitted
        return admitted.env.get("UNITS", "") if admitted else ""

    async def units(self) -> Units:
        view = self._kubelet.view()
        named = view.advertised(self.resource)
        return Units(view.allocatable(self.resource), view.capacity(self.resource), named)

    async def stop(self) -> None:
        await self._kubelet.stop()

    async def kill(self) -> None:
        await self._kubelet.kill()

    async def start(self, policy: str = "none") -> None:
        self._kubelet.configure(replace(self._kubelet.settings, topology_policy=TopologyPolicy(policy)))
        await self._kubelet.start()

    async def stop_api_server(self) -> None:
        self._kubelet.stop_api_server()

    async def start_api_server(self) -> None:
        await self._kubelet.start_api_server()

    async def lives(self) -> bool:
        return self._kubelet.running

    async def panics(self) -> int:
        return len(self._kubelet.events_of(EventKind.PANICKED))
