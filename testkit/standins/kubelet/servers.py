"""What the kubelet serves: unix sockets, and the Registration service on one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import (
    RegistrationServicer,
    add_RegistrationServicer_to_server,
)
from testkit.standins.kubelet.errors import RegistrationError


class UnixServer:
    """A gRPC server on a unix socket whose file is the owner's to remove.

    gRPC removes the file of a socket it stops serving, whoever's it is by then. A process that dies leaves
    it. So the socket is bound under another name and moved to its place.
    """

    def __init__(self, path: Path, add_services: Callable[[grpc.aio.Server], None]) -> None:
        self._path = path
        self._add_services = add_services
        self._server: grpc.aio.Server | None = None

    @property
    def running(self) -> bool:
        """Whether somebody is served."""
        return self._server is not None

    async def start(self, *, make_directory: bool = False) -> None:
        """Serve."""
        hidden = self._path.with_name(".bind")
        if make_directory:
            hidden.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._server = grpc.aio.server()
        self._add_services(self._server)
        self._server.add_insecure_port(f"unix:{hidden}")
        await self._server.start()
        hidden.rename(self._path)

    async def stop(self, *, leave_socket: bool = False) -> None:
        """Stop at once; calls in flight are cancelled."""
        server, self._server = self._server, None
        if server is None:
            return
        await server.stop(None)
        if not leave_socket:
            self._path.unlink(missing_ok=True)


class Registration(RegistrationServicer):
    """Register, answered by a function."""

    def __init__(self, register: Callable[[api.RegisterRequest], Awaitable[None]]) -> None:
        self._register = register

    async def Register(  # noqa: N802 - the service's name for it
        self,
        request: api.RegisterRequest,
        context: grpc.aio.ServicerContext[api.RegisterRequest, api.Empty],
    ) -> api.Empty:
        """Refusals reach the plugin as UNKNOWN, as errors of handlers written in Go do."""
        try:
            await self._register(request)
        except RegistrationError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return api.Empty()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it there."""
        add_RegistrationServicer_to_server(self, server)
