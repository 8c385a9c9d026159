"""Starting containers: PreStartContainer, then the runtime, which needs the device files to be there."""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath

from testkit.standins.kubelet.admission import Desk, demands
from testkit.standins.kubelet.choice import Demand
from testkit.standins.kubelet.errors import (
    CreateContainerConfigError,
    CreateContainerError,
    RefusedError,
    RpcError,
)
from testkit.standins.kubelet.journal import Event, EventKind
from testkit.standins.kubelet.pods import ContainerSpec, Pod

_DEV = PurePosixPath("/dev")


class Starter:
    """Starts the containers of admitted pods."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def start(self, pod: Pod) -> None:
        """Start every container that does not run yet, init containers first.

        Raises:
            CreateContainerConfigError: PreStartContainer failed.
            CreateContainerError: A device file is not there.
        """
        for spec in pod.containers:
            if spec.name not in pod.started:
                await self._start(pod, spec)

    async def _start(self, pod: Pod, spec: ContainerSpec) -> None:
        for demand in demands(pod, spec):
            await self._pre_start(pod, demand)
        assert pod.admitted is not None
        for node in pod.admitted.container(spec.name).devices:
            self._check_device_file(pod, node.host_path)
        pod.started.add(spec.name)
        pod.starts += 1
        self._desk.journal.record(Event(EventKind.CONTAINER_STARTED, pod=pod.name, container=spec.name))

    def _check_device_file(self, pod: Pod, host_path: str) -> None:
        if not exists(host_path, self._desk.settings.devfs):
            raise CreateContainerError(
                pod.name,
                f'error gathering device information while adding custom device "{host_path}": '
                "no such file or directory",
            )

    async def _pre_start(self, pod: Pod, demand: Demand) -> None:
        endpoint = self._desk.manager.endpoint(demand.resource)
        held = self._desk.holdings.get(demand.pod_uid, demand.container, demand.resource)
        if endpoint is None or held is None or not endpoint.options.pre_start_required:
            return
        ids = tuple(self._desk.in_any_order(held.ids))
        began = time.monotonic()
        try:
            await self._call_pre_start(demand.resource, ids)
        except (RpcError, RefusedError) as error:
            text = f"device plugin PreStartContainer rpc failed with err: {error}"
            self._record(pod, demand, ids, began, text)
            raise CreateContainerConfigError(pod.name, text) from error
        self._record(pod, demand, ids, began)

    async def _call_pre_start(self, resource: str, ids: tuple[str, ...]) -> None:
        connection = self._desk.plugins.connection(self._desk.manager.serving(resource))
        await connection.pre_start(ids, self._desk.settings.pre_start_deadline)

    def _record(self, pod: Pod, demand: Demand, ids: tuple[str, ...], began: float, text: str = "") -> None:
        self._desk.journal.record(
            Event(
                EventKind.PRE_START,
                demand.resource,
                pod=pod.name,
                container=demand.container,
                ids=ids,
                text=text,
                seconds=time.monotonic() - began,
            )
        )


def exists(host_path: str, devfs: Path | None) -> bool:
    """Whether a file of the host is there; without a devfs nobody looks."""
    if devfs is None:
        return True
    path = PurePosixPath(host_path)
    return (devfs / path.relative_to(_DEV) if path.is_relative_to(_DEV) else Path(path)).exists()
