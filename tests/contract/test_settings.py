"""The plugin as operators start it: by options, environment or file, on either event loop."""

import json
from pathlib import Path

import pytest

from npu_core.testing import warboy
from npu_device_plugin.events import Event
from testkit.services.node import RESOURCE, MakeNode
from testkit.services.plugin import PluginProcess
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
defaultPe: Single
interval: 1
disabledDevices:
  - devName: npu1
    nodeName: this-node
  - devName: npu0
    nodeName: another-node
pluginDir: {plugin_dir}
socketName: npu.sock
resourceName: example.com/pe
"""


def _has_loaded(plugin: PluginProcess, library: str) -> bool:
    return library in Path(f"/proc/{plugin.pid}/maps").read_text(encoding="utf-8")


async def test_a_configuration_file_says_everything_and_disables_the_devices_of_this_node(make_node: MakeNode) -> None:
    node = await make_node(warboy(0), warboy(1))
    config = node.home / "config.yaml"
    config.write_text(CONFIG.format(plugin_dir=node.plugin_dir))
    await node.kubelet.start()

    await node.run_plugin(PluginProcess.configured(node.host, config, {"NODE_NAME": "this-node"}))

    await node.offers("npu0pe0", "npu0pe1", resource="example.com/pe")
    assert (node.plugin_dir / "npu.sock").is_socket()
    assert set(node.kubelet.view().resources) == {"example.com/pe"}


async def test_a_configuration_file_that_is_wrong_ends_it_with_everything_that_is_wrong(make_node: MakeNode) -> None:
    node = await make_node(warboy(0))
    config = node.home / "config.yaml"
    config.write_text("defaultPe: Triple\ninterval: never\nsocket: here\n")

    plugin = await node.run_plugin(PluginProcess.configured(node.host, config))

    assert await plugin.wait() == 2
    assert [line.split(" ")[:2] for line in plugin.log] == [
        [f"{config}:1:", "defaultPe"],
        [f"{config}:2:", "interval"],
        [f"{config}:3:", "socket"],
    ]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_it_works_the_same_on_either_event_loop(make_node: MakeNode, loop: str) -> None:
    node = await make_node(warboy(0))
    await node.up("--event-loop", loop)

    assert _has_loaded(node.plugin, "uvloop") == (loop == "uvloop")
    await node.heals(node.kubelet.restart)
    assert (await node.kubelet.run_pod("pod", {RESOURCE: 1})).device_ids == ("npu0pe0-1",)


async def test_its_log_can_be_lines_of_json(make_node: MakeNode) -> None:
    node = await make_node(warboy(0))
    await node.kubelet.start()
    await node.start_plugin("--disabled-devices", "npu9", environment={"NPU_LOG_FORMAT": "json"})
    await node.plugin.until_logged(Event.REGISTERED, PATIENCE)
    assert await node.plugin.stop() == 0

    lines = [json.loads(line) for line in node.plugin.log]
    assert all(line.keys() >= {"time", "level", "event", "logger"} for line in lines)
    found = next(line for line in lines if line["event"] == "card found")
    assert (found["level"], found["card"], found["family"]) == ("info", "npu0", "warboy")
    assert lines[-1]["event"] == "stopped"
