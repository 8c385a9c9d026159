"""Introducing a resource to the kubelet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import grpc

from npu_core.arch import Arch
from npu_core.kubelet.channel import CHANNEL_OPTIONS, connecting_fails
from npu_device_plugin.allocation import resource_name
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as pb
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import DevicePluginStub, RegistrationStub
from npu_device_plugin.kubelet.servicer import API_VERSION, options
from npu_device_plugin.settings import MAX_SOCKET_PATH, Settings

KUBELET_SOCKET = "kubelet.sock"
_TIMEOUT = 15.0
"""Seconds. From 1.25 on the kubelet dials us before it answers, and gives that 10 s."""

_ANSWER_SECONDS = 1.0
_HELD = "device plugin already connected"


class RegistrationError(Exception):
    """The kubelet could not be reached, or refused; the message is its own."""


class HeldSocketError(RegistrationError):
    """The kubelet counts the plugin's socket as connected, whether or not a stream is open.

    After a kubelet (1.37 or later) has refused a socket whose stream was open, the kubelet does so until it ends.
    """


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

    def on_socket(self, number: int) -> "Registration":
        """The same registration on another socket; 0 is the socket of the configured name."""
        return replace(self, endpoint=f"{self.endpoint}-{number + 1}") if number else self

    @property
    def objection(self) -> str | None:
        """Why it cannot succeed, ever; None if it can. Settings are checked for the first family only."""
        if expected := resource_name.objection(self.resource):
            return f"the resource's name {self.resource}: expected {expected}"
        path = f"{self.plugin_dir}/{self.endpoint}"
        length = len(path.encode())
        if length > MAX_SOCKET_PATH:
            return f"the socket's path {path}: expected at most {MAX_SOCKET_PATH} bytes, not {length}"
        return None


def registration_of(settings: Settings, arch: Arch, resources: Mapping[Arch, str]) -> Registration:
    """What the kubelet is told of a family.

    Args:
        settings: what the operator wants.
        arch: the family.
        resources: the name of each family's resource. The family with the plain resource name has the plain socket
            name; where no family has it, the first one does that is not named as a second family.
    """
    base = settings.resource_names.base
    plain = [family for family, name in resources.items() if name == base]
    others = [family for family, name in resources.items() if name != f"{base}-{family}"]
    is_first = arch in (plain or others)[:1]
    socket_name = settings.socket_name if is_first else f"{settings.socket_name}-{arch}"
    return Registration(settings.plugin_dir, socket_name, resources[arch])


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
        HeldSocketError: if the kubelet counts the socket as connected already.
        RegistrationError: if the kubelet cannot be reached or refuses for another reason.
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
            path = f"{registration.plugin_dir}/{KUBELET_SOCKET}"
            text = connecting_fails(path, "--plugin-dir") or f"{error.code().name}: {error.details()}"
            # All refusals of a kubelet have the same code. Only the text distinguishes them.
            raise (HeldSocketError if _HELD in text else RegistrationError)(text) from error
