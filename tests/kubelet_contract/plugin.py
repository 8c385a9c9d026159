"""The plugin of the scenarios: scripted, in the test process."""

from collections.abc import Awaitable
from typing import Protocol

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.scripted_plugin import ScriptedPlugin, answer


class Advertise(Protocol):
    """The fixture ``advertise``."""

    def __call__(
        self,
        listed: list[api.Device] | None,
        *,
        socket: str = "plugin",
        options: api.DevicePluginOptions | None = None,
        register: bool = True,
    ) -> Awaitable[ScriptedPlugin]:
        """Serve a plugin.

        Args:
            listed: what the plugin lists; None lets the stream begin with silence.
            socket: the beginning of the name of its socket.
            options: what the plugin answers when the kubelet asks.
            register: whether to register, and to wait until the kubelet has the list.
        """


def tells_units(request: api.AllocateRequest) -> api.AllocateResponse:
    """An answer to Allocate that tells the container its units, and needs nothing of the host."""
    return answer(envs={"UNITS": ",".join(sorted(request.container_requests[0].devices_ids))})


def given(plugin: ScriptedPlugin) -> list[set[str]]:
    """What each call of Allocate asked for."""
    return [{each for one in call.container_requests for each in one.devices_ids} for call in plugin.allocations]
