"""As much of a kubelet as is needed to time a plugin: when it registered, what it lists and when, and calls on it.

In threads, so that a time is taken when something happens, whatever else this process does. What a kubelet would make
of it is not the question here: the stand-in kubelet of the tests knows that.
"""

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

import grpc

from npu_core.checkpoint import CHECKPOINT
from npu_core.kubelet._podresources import podresources_pb2
from npu_core.kubelet._podresources.podresources_pb2_grpc import (
    PodResourcesListerServicer,
    add_PodResourcesListerServicer_to_server,
)
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as pb
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import (
    DevicePluginStub,
    RegistrationServicer,
    add_RegistrationServicer_to_server,
)

_PATIENCE = 30.0
_OPTIONS = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True, slots=True)
class Listing:
    """One message of ListAndWatch.

    Attributes:
        at: when it came (monotonic).
        health: of every unit.
    """

    at: float
    health: dict[str, str]

    @property
    def healthy(self) -> frozenset[str]:
        """The units that are."""
        return frozenset(unit for unit, health in self.health.items() if health == "Healthy")


@dataclass(slots=True)
class Heard:
    """What one registration led to.

    Attributes:
        at: when it came (monotonic).
        socket: the plugin's.
        listings: its messages, in order.
    """

    at: float
    socket: Path
    listings: "queue.SimpleQueue[Listing]" = field(default_factory=queue.SimpleQueue)

    def listing(self) -> Listing:
        """The next message.

        Raises:
            queue.Empty: if none comes in time.
        """
        return self.listings.get(timeout=_PATIENCE)


class _Registrations(RegistrationServicer):
    def __init__(self, directory: Path, heard: "queue.SimpleQueue[Heard]") -> None:
        self._directory = directory
        self._heard = heard

    def Register(self, request: pb.RegisterRequest, context: Any) -> pb.Empty:  # noqa: ANN401, N802
        """Take the time, and listen to it from now on."""
        del context
        heard = Heard(time.monotonic(), self._directory / request.endpoint)
        threading.Thread(target=_listen, args=(heard,), daemon=True).start()
        self._heard.put(heard)
        return pb.Empty()


class _NobodyHoldsAnything(PodResourcesListerServicer):
    def List(self, request: Any, context: Any) -> podresources_pb2.ListPodResourcesResponse:  # noqa: ANN401, N802
        """No pods."""
        del request, context
        return podresources_pb2.ListPodResourcesResponse()

    def Get(self, request: Any, context: Any) -> NoReturn:  # noqa: ANN401, N802
        """Not what is asked."""
        del request
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
        raise AssertionError

    GetAllocatableResources = Get


def _listen(heard: Heard) -> None:
    with grpc.insecure_channel(f"unix:{heard.socket}", options=_OPTIONS) as channel:
        try:
            for message in DevicePluginStub(channel).ListAndWatch(pb.Empty()):
                health = {device.ID: device.health for device in message.devices}
                heard.listings.put(Listing(time.monotonic(), health))
                _write_checkpoint(Path(heard.socket).parent)
        except grpc.RpcError:
            return  # the plugin has ended, as it does at the end of every measurement


def _write_checkpoint(directory: Path) -> None:
    """As a kubelet does at every list message: a plugin that finds no file afterwards has to wonder why."""
    scratch = directory / ".checkpoint"
    scratch.write_text('{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":0}')
    scratch.replace(directory / CHECKPOINT)


class Kubelet:
    """Used as ``with Kubelet(home) as kubelet:``. Its sockets are in ``home/p`` and ``home/r``."""

    def __init__(self, home: Path) -> None:
        """A kubelet that is not started yet."""
        self._plugins, self._pods = home / "p", home / "r"
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._pod_server = _server()
        add_PodResourcesListerServicer_to_server(_NobodyHoldsAnything(), self._pod_server)
        self._registrar: grpc.Server | None = None

    def __enter__(self) -> Self:
        for directory in (self._plugins, self._pods):
            directory.mkdir(exist_ok=True)
        self._pod_server.add_insecure_port(f"unix:{self._pods / 'kubelet.sock'}")
        self._pod_server.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._pod_server.stop(None).wait()

    def start(self) -> float:
        """Serve kubelet.sock; returns when it was there (monotonic)."""
        self._registrar = _server()
        add_RegistrationServicer_to_server(_Registrations(self._plugins, self._heard), self._registrar)
        self._registrar.add_insecure_port(f"unix:{self._plugins / 'kubelet.sock'}")
        self._registrar.start()
        return time.monotonic()

    def stop(self) -> None:
        """Serve it no more; the file goes, as when a kubelet starts anew and cleans up."""
        assert self._registrar is not None
        self._registrar.stop(None).wait()
        (self._plugins / "kubelet.sock").unlink(missing_ok=True)

    def heard(self) -> Heard:
        """The next registration.

        Raises:
            queue.Empty: if none comes in time.
        """
        return self._heard.get(timeout=_PATIENCE)


def _server() -> grpc.Server:
    return grpc.server(ThreadPoolExecutor(4))


class Calls:
    """Calls of a kubelet on a plugin. Used as ``with Calls(socket) as calls:``."""

    def __init__(self, socket: Path) -> None:
        """Calls on the plugin at this socket."""
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        self._stub = DevicePluginStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def allocate(self, unit: str) -> float:
        """Allocate one unit; returns the seconds it took."""
        request = pb.AllocateRequest(container_requests=[pb.ContainerAllocateRequest(devices_ids=[unit])])
        begun = time.perf_counter()
        self._stub.Allocate(request, timeout=_PATIENCE)
        return time.perf_counter() - begun

    def prefer(self, units: list[str], size: int) -> float:
        """Ask which of the units to take; returns the seconds it took."""
        each = pb.ContainerPreferredAllocationRequest(available_deviceIDs=units, allocation_size=size)
        request = pb.PreferredAllocationRequest(container_requests=[each])
        begun = time.perf_counter()
        self._stub.GetPreferredAllocation(request, timeout=_PATIENCE)
        return time.perf_counter() - begun
