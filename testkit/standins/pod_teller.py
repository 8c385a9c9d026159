"""The kubelet's PodResources service alone, which tells whatever a test wants: also what no kubelet should.

The real service behind a real socket, as :class:`testkit.standins.kubelet.StandInKubelet` has it, but without a plugin
and an admission that would have to be talked into a thousand pods, or two on one device.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from testkit.standins.kubelet import PodResourcesBehaviour
from testkit.standins.kubelet.podresources import (
    PodResources,
    Report,
    ReportedContainer,
    ReportedDevice,
    ReportedPod,
)
from testkit.standins.kubelet.servers import UnixServer

RESOURCE = "beta.furiosa.ai/npu"


def pod(
    name: str, *ids: str, resource: str = RESOURCE, namespace: str = "default", container: str = "main"
) -> ReportedPod:
    """A pod of one container that holds these devices."""
    devices = tuple(ReportedDevice(resource, each) for each in ids)
    return ReportedPod(name, namespace, (ReportedContainer(container, devices),))


class PodTeller:
    """Used as ``async with PodTeller(directory / "kubelet.sock") as kubelet:``, or started and stopped by hand.

    Attributes:
        behaviour: how it answers.
        socket: where.
    """

    def __init__(self, socket: Path, *pods: ReportedPod) -> None:
        """Not started; tells of ``pods``."""
        self.behaviour = PodResourcesBehaviour()
        self.socket = socket
        self._pods = pods
        self._asked = 0
        self._service = PodResources(self._report, lambda: self.behaviour)
        self._server = UnixServer(socket, self._service.add_to)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def asked(self) -> int:
        """How often pods were told."""
        return self._asked

    def tell(self, pods: Iterable[ReportedPod]) -> None:
        """These are the pods from now on."""
        self._pods = tuple(pods)

    async def start(self) -> None:
        """Serve."""
        await self._server.start(make_directory=True)

    async def stop(self, *, leave_socket: bool = False) -> None:
        """Stop at once; a kubelet that is killed leaves its socket's file."""
        await self._server.stop(leave_socket=leave_socket)

    def _report(self) -> Report:
        self._asked += 1
        return Report(self._pods)
