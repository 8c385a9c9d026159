"""Every scenario on the stand-in kubelet of two generations, and on the kubelet of one real node."""

import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.scripted_plugin import ScriptedPlugin
from tests.kubelet_contract.plugin import Advertise, tells_units
from tests.kubelet_contract.real import Real
from tests.kubelet_contract.seen import until_written, written
from tests.kubelet_contract.standin import GENERATIONS, StandIn
from tests.kubelet_contract.subject import Kubelet
from tools.cluster.namespaces import NamespaceNode
from tools.cluster.skipping import check

_numbers = itertools.count(1)
_REAL = pytest.param(None, id="real", marks=[pytest.mark.cluster(services=False), pytest.mark.timeout(600)])


def pytest_runtest_setup(item: pytest.Item) -> None:
    check(item)


@pytest.fixture(scope="package")
def bare_node() -> Iterator[NamespaceNode]:
    """A node on which nothing of the project runs."""
    with NamespaceNode(warboys=0, services=False, topologyManagerPolicy="none", nodeStatusUpdateFrequency="1s") as node:
        yield node


@pytest.fixture(params=[*(pytest.param(minor, id=f"stand-in-1.{minor}") for minor in GENERATIONS), _REAL])
async def kubelet(request: pytest.FixtureRequest) -> AsyncIterator[Kubelet]:
    """A kubelet that has no pods and never heard of a plugin."""
    resource = f"contract.test/unit-{next(_numbers)}"
    if request.param is None:
        real = Real(request.getfixturevalue("bare_node"), resource)
        _check_release(request, real)
        yield real
        await real.clean()
        return
    with tempfile.TemporaryDirectory(prefix="k-") as directory:
        async with StandIn(request.param, Path(directory), resource) as standin:
            _check_release(request, standin)
            yield standin


def _check_release(request: pytest.FixtureRequest, kubelet: Kubelet) -> None:
    marker = request.node.get_closest_marker("releases")
    if marker and not marker.kwargs.get("since", 0) <= kubelet.minor <= marker.kwargs.get("until", 99):
        pytest.skip(f"not of release 1.{kubelet.minor}")


@pytest.fixture
async def advertise(kubelet: Kubelet) -> AsyncIterator[Advertise]:
    """Serves a plugin, registers the plugin, and waits until the kubelet has its list."""
    async with AsyncExitStack() as stack:

        async def advertise(
            listed: list[api.Device] | None,
            *,
            socket: str = "plugin",
            options: api.DevicePluginOptions | None = None,
            register: bool = True,
        ) -> ScriptedPlugin:
            name = f"{socket}-{kubelet.resource.rpartition('-')[2]}.sock"
            plugin = ScriptedPlugin(kubelet.plugin_dir, kubelet.resource, name)
            plugin.listed = listed
            plugin.on_allocate = tells_units
            plugin.options = options or api.DevicePluginOptions()
            await plugin.start()
            stack.push_async_callback(plugin.stop)
            before = written(kubelet)
            if register:
                await plugin.register()
            if register and listed is not None:
                await until_written(kubelet, before)
            return plugin

        yield advertise
