from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from npu_core.kubelet._podresources.podresources_pb2_grpc import PodResourcesListerStub
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.kubelet import KubeletSettings, StandInKubelet
from testkit.standins.scripted_plugin import (
    CHANNEL_OPTIONS,
    RESOURCE,
    ScriptedPlugin,
    StartKubelet,
    StartPlugin,
    devices,
)
from testkit.waiting import PATIENCE

if TYPE_CHECKING:
    from npu_core.kubelet._podresources.podresources_pb2_grpc import PodResourcesListerAsyncStub


@pytest.fixture
def plugin_dir() -> Iterator[Path]:
    """A directory with a name short enough for sockets in it, which tmp_path's is not."""
    path = Path(tempfile.mkdtemp(prefix="k-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Another one, for PodResources."""
    path = Path(tempfile.mkdtemp(prefix="p-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start_kubelet(plugin_dir: Path, stack: AsyncExitStack) -> StartKubelet:
    """Starts a kubelet with the settings given."""

    async def start(**settings: object) -> StandInKubelet:
        chosen = replace(KubeletSettings(plugin_dir), **settings)  # type: ignore[arg-type]  # any
        return await stack.enter_async_context(StandInKubelet(chosen))

    return start


@pytest.fixture
async def kubelet(start_kubelet: StartKubelet, directory: Path) -> StandInKubelet:
    """A kubelet that serves PodResources."""
    return await start_kubelet(pod_resources_dir=directory / "pods")


@pytest.fixture
async def client(directory: Path) -> AsyncIterator[PodResourcesListerAsyncStub]:
    """A client of that kubelet's PodResources."""
    target = f"unix:{directory}/pods/kubelet.sock"
    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        yield PodResourcesListerStub(channel)


@pytest.fixture
def start_plugin(plugin_dir: Path, stack: AsyncExitStack) -> StartPlugin:
    """Serves a plugin, not registered yet."""

    async def start(resource: str = RESOURCE, socket: str = "plugin.sock") -> ScriptedPlugin:
        plugin = ScriptedPlugin(plugin_dir, resource, socket)
        await plugin.start()
        stack.push_async_callback(plugin.stop)
        return plugin

    return start


@pytest.fixture
def advertise(start_plugin: StartPlugin) -> StartPlugin:
    """Serves a plugin, registers it and waits until the kubelet knows its devices."""

    async def advertise(
        kubelet: StandInKubelet,
        listed: list[api.Device] | None = None,
        options: api.DevicePluginOptions | None = None,
        **where: str,
    ) -> ScriptedPlugin:
        plugin = await start_plugin(**where)
        plugin.listed = devices("npu0", "npu1") if listed is None else listed
        plugin.options = options or api.DevicePluginOptions()
        before = kubelet.view().messages(plugin.resource)
        await plugin.register(options=options)
        await kubelet.until(lambda view: view.messages(plugin.resource) > before, within=PATIENCE)
        return plugin

    return advertise
