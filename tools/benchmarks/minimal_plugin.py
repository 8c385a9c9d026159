"""The least that a device plugin in Python can be: what gRPC alone costs.

``python minimal_plugin.py PLUGIN_DIR CARD...``: registers once, lists its cards once, answers every Allocate with the
same bytes that ours answers, and looks at nothing. Run by the interpreter of the plugin's environment.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as pb
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)

_ENDPOINT = "minimal"
_OPTIONS = pb.DevicePluginOptions(get_preferred_allocation_available=True)


class Minimal(DevicePluginServicer):
    """Answers without looking."""

    def __init__(self, cards: list[str]) -> None:
        self._cards = cards

    async def GetDevicePluginOptions(self, request: pb.Empty, context: Any) -> pb.DevicePluginOptions:  # noqa: ANN401, N802
        """What it can do."""
        del request, context
        return _OPTIONS

    async def ListAndWatch(self, request: pb.Empty, context: Any) -> AsyncIterator[pb.ListAndWatchResponse]:  # noqa: ANN401, N802
        """Its cards, once."""
        del request, context
        devices = [pb.Device(ID=f"{card}pe0-1", health="Healthy") for card in self._cards]
        yield pb.ListAndWatchResponse(devices=devices)
        await asyncio.Event().wait()

    async def Allocate(self, request: pb.AllocateRequest, context: Any) -> pb.AllocateResponse:  # noqa: ANN401, N802
        """Device files and environment of whole cards."""
        del context
        return pb.AllocateResponse(container_responses=[_answer(each) for each in request.container_requests])

    async def GetPreferredAllocation(  # noqa: N802
        self,
        request: pb.PreferredAllocationRequest,
        context: Any,  # noqa: ANN401
    ) -> pb.PreferredAllocationResponse:
        """The first ones."""
        del context
        return pb.PreferredAllocationResponse(
            container_responses=[
                pb.ContainerPreferredAllocationResponse(deviceIDs=each.available_deviceIDs[: each.allocation_size])
                for each in request.container_requests
            ]
        )

    async def PreStartContainer(  # noqa: N802
        self,
        request: pb.PreStartContainerRequest,
        context: Any,  # noqa: ANN401
    ) -> pb.PreStartContainerResponse:
        """Nothing."""
        del request, context
        return pb.PreStartContainerResponse()


def _answer(request: pb.ContainerAllocateRequest) -> pb.ContainerAllocateResponse:
    cards = [unit.removesuffix("pe0-1") for unit in request.devices_ids]
    suffixes = ("_mgmt", "pe0", "pe0-1", "pe1", "ch0", "ch1", "ch2", "ch3")
    paths = [f"/dev/{card}{suffix}" for card in cards for suffix in suffixes]
    names = ",".join(request.devices_ids)
    return pb.ContainerAllocateResponse(
        envs={
            "NPU_DEVNAME": names,
            "NPU_NPUNAME": ",".join(cards),
            "NPU_PENAME": names,
            "FURIOSA_DEVICES": ",".join(f"npu:{card.removeprefix('npu')}:0-1" for card in cards),
        },
        devices=[pb.DeviceSpec(container_path=path, host_path=path, permissions="rw") for path in paths],
    )


async def _serve(directory: str, cards: list[str]) -> None:
    server = grpc.aio.server()
    add_DevicePluginServicer_to_server(Minimal(cards), server)
    server.add_insecure_port(f"unix:{directory}/{_ENDPOINT}")
    await server.start()
    options = [("grpc.default_authority", "localhost")]
    async with grpc.aio.insecure_channel(f"unix:{directory}/kubelet.sock", options=options) as channel:
        request = pb.RegisterRequest(
            version="v1beta1", endpoint=_ENDPOINT, resource_name="example.com/minimal", options=_OPTIONS
        )
        await RegistrationStub(channel).Register(request)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2:]))
