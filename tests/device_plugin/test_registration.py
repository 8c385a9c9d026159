"""Introducing a resource to the kubelet: what it is told, and what is told of its refusal."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from npu_core.arch import Arch
from npu_core.claims import Claim
from npu_device_plugin.allocation.resource_name import ResourceNames
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import (
    RegistrationServicer,
    add_RegistrationServicer_to_server,
)
from npu_device_plugin.kubelet.registration import Registration, RegistrationError, register, registration_of
from npu_device_plugin.settings import Settings

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[api.RegisterRequest, api.Empty]


class Registry(RegistrationServicer):
    """The kubelet's side: agrees, or refuses with a text as the kubelet does, always with the code UNKNOWN."""

    def __init__(self, refusal: str | None = None) -> None:
        """A registry that has been told nothing yet."""
        self.requests: list[api.RegisterRequest] = []
        self._refusal = refusal

    async def Register(  # noqa: N802  # the protocol's name
        self, request: api.RegisterRequest, context: "Context"
    ) -> api.Empty:
        """Take down the request, then agree or refuse."""
        self.requests.append(request)
        if self._refusal is not None:
            await context.abort(grpc.StatusCode.UNKNOWN, self._refusal)
        return api.Empty()


@asynccontextmanager
async def serving(registry: Registry, directory: Path) -> AsyncIterator[None]:
    """The registry on kubelet.sock."""
    server = grpc.aio.server()
    add_RegistrationServicer_to_server(registry, server)
    server.add_insecure_port(f"unix:{directory}/kubelet.sock")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def registration(directory: Path) -> Registration:
    return Registration(str(directory), "furiosa-npu", "beta.furiosa.ai/npu")


async def test_the_kubelet_is_told_version_endpoint_name_and_what_the_plugin_can_do(socket_dir: Path) -> None:
    registry = Registry()
    async with serving(registry, socket_dir):
        await register(registration(socket_dir))
    assert registry.requests == [
        api.RegisterRequest(
            version="v1beta1",
            endpoint="furiosa-npu",
            resource_name="beta.furiosa.ai/npu",
            options=api.DevicePluginOptions(pre_start_required=False, get_preferred_allocation_available=True),
        )
    ]


async def test_a_refusal_is_told_in_the_kubelets_own_words(socket_dir: Path) -> None:
    refusal = 'requested API version "v1beta1" is not supported by kubelet. Supported version is ["v1alpha"]'
    async with serving(Registry(refusal), socket_dir):
        with pytest.raises(RegistrationError, match=re.escape(refusal)):
            await register(registration(socket_dir))


async def test_a_kubelet_that_is_not_there_is_an_error_and_is_found_at_the_first_attempt_when_it_is(
    socket_dir: Path,
) -> None:
    """An attempt in vain leaves nothing behind, such as a connection that is not tried again for a second."""
    registry = Registry()
    with pytest.raises(RegistrationError, match=f"{socket_dir}/kubelet.sock .*ENOENT"):
        await register(registration(socket_dir))
    async with serving(registry, socket_dir):
        await register(registration(socket_dir))
    assert len(registry.requests) == 1


# -- what can never be registered -------------------------------------------------------------------------------------


def test_the_first_family_has_the_sockets_name_and_the_second_one_of_its_own() -> None:
    settings = Settings(plugin_dir="/p", socket_name="s")
    names = {Arch.RENEGADE: "a.ai/npu", Arch.WARBOY: "a.ai/npu-warboy"}
    assert registration_of(settings, Arch.RENEGADE, names) == Registration("/p", "s", "a.ai/npu")
    assert registration_of(settings, Arch.WARBOY, names) == Registration("/p", "s-warboy", "a.ai/npu-warboy")


def test_the_family_with_the_plain_resource_has_the_plain_socket_in_whatever_order_families_are_named() -> None:
    settings = Settings(plugin_dir="/p", socket_name="s", resource_names=ResourceNames("a.ai/npu"))
    held = [Claim("a.ai/npu", "npu0pe4-7")]  # which only RNGD can have
    names = settings.resource_names.of_families(list(Arch), held)
    assert registration_of(settings, Arch.RENEGADE, names) == Registration("/p", "s", "a.ai/npu")
    assert registration_of(settings, Arch.WARBOY, names) == Registration("/p", "s-warboy", "a.ai/npu-warboy")


def test_a_family_that_has_its_second_name_alone_leaves_the_plain_socket_to_the_first_family() -> None:
    settings = Settings(plugin_dir="/p", socket_name="s", resource_names=ResourceNames("a.ai/npu"))
    alone = {Arch.RENEGADE: "a.ai/npu-renegade"}
    assert registration_of(settings, Arch.RENEGADE, alone) == Registration("/p", "s-renegade", "a.ai/npu-renegade")
    both = {**alone, Arch.WARBOY: "a.ai/npu"}
    assert registration_of(settings, Arch.WARBOY, both) == Registration("/p", "s", "a.ai/npu")


@pytest.mark.parametrize(
    ("socket", "name", "is_right"),
    [("s", "n" * 63, True), ("s", "n" * 64, False), ("s" * 104, "npu", True), ("s" * 105, "npu", False)],
)
def test_a_name_or_a_path_that_is_too_long_can_never_be_registered(socket: str, name: str, *, is_right: bool) -> None:
    assert (Registration("/p", socket, f"a.ai/{name}").objection is None) is is_right
