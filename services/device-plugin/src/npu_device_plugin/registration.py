"""Introducing a resource to the kubelet."""

from dataclasses import dataclass

import grpc

from npu_core.kubelet import CHANNEL_OPTIONS
from npu_device_plugin._kubelet import deviceplugin_pb2 as pb
from npu_device_plugin._kubelet.deviceplugin_pb2_grpc import DevicePluginStub, RegistrationStub
from npu_device_plugin.servicer import API_VERSION, options

KUBELET_SOCKET = "kubelet.sock"
_TIMEOUT = 15.0
"""Seconds. From 1.25 on the kubelet dials us before it answers, and gives that 10 s."""

_ANSWER_SECONDS = 1.0


class RegistrationError(Exception):
    """The kubelet could not be reached, or refused; the message is its own."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What the kubelet is told.

    Attributes:
        plugin_dir: the directory of its socket and ours.
        endpoint: file name of our socket in there.
        resource: the resource's name.
    """

    plugin_dir: str
    endpoint: str
    resource: str


async def answers(socket: str) -> bool:
    """Whether a device plugin, of whatever resource, is at work behind a socket."""
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS) as channel:
        try:
            await DevicePluginStub(channel).GetDevicePluginOptions(pb.Empty(), timeout=_ANSWER_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return True


async def register(registration: Registration) -> None:
    """Introduce a resource. That the kubelet agrees is no proof that it will listen.

    Raises:
        RegistrationError: if it could not be reached or did not agree.
    """
    request = pb.RegisterRequest(
        version=API_VERSION,
        endpoint=registration.endpoint,
        resource_name=registration.resource,
        options=options(),
    )
    target = f"unix:{registration.plugin_dir}/{KUBELET_SOCKET}"
    # A channel of its own for each attempt: a kept one wakes up for nothing, and waits out gRPC's own back-off.
    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        try:
            await RegistrationStub(channel).Register(request, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise RegistrationError(f"{error.code().name}: {error.details()}") from error
