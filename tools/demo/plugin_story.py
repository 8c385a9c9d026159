"""The device plugin: registers, hands a card out, follows a card's death and a kubelet's restart."""

import time

from npu_core import Arch
from testkit.standins.kubelet import Admitted, NodeView, UnexpectedAdmissionError
from tools.demo.node import RESOURCE, Node
from tools.demo.screen import Screen

PLUGIN = "npu_device_plugin"
_CARDS = 2


async def tell(node: Node, screen: Screen) -> None:
    """The story, step by step."""
    kubelet = node.kubelet
    screen.step("The device plugin starts, beside a stand-in kubelet of generation B")
    started = time.monotonic()
    plugin = await node.start(
        PLUGIN,
        *("--plugin-dir", str(node.plugin_dir), "--interval", "2", "--listen-address", "off"),
        *("--pod-resources-socket", str(node.pod_resources_dir / "kubelet.sock")),
    )
    view = await kubelet.until(lambda view: view.allocatable(RESOURCE) == _CARDS, within=15)
    screen.fact("registered", f"{time.monotonic() - started:.1f} s after its start, as {RESOURCE}", "green")
    _show_capacity(screen, view)

    screen.step("A pod asks for one NPU")
    _show_pod(screen, await kubelet.run_pod("inference-1", {RESOURCE: 1}))

    screen.step("Card npu1 dies")
    await _let_a_card_die(node, screen)

    screen.step("Card npu1 comes back")
    moment = time.monotonic()
    node.host.card(Arch.WARBOY, 1).revive()
    await kubelet.until(lambda view: view.allocatable(RESOURCE) == _CARDS, within=10)
    healthy = f"npu1pe0-1 is Healthy after two good looks, {time.monotonic() - moment:.1f} s"
    screen.fact("kubelet hears", healthy, "green")
    _show_pod(screen, await kubelet.run_pod("inference-3", {RESOURCE: 1}))

    screen.step("The kubelet restarts and wipes the plugin's socket")
    moment = time.monotonic()
    await kubelet.restart()
    view = await kubelet.until(lambda view: view.allocatable(RESOURCE) == _CARDS, within=10)
    anew = f"{time.monotonic() - moment:.1f} s later, by the same process {plugin.pid}"
    screen.fact("registered anew", anew, "green")
    _show_capacity(screen, view)


async def _let_a_card_die(node: Node, screen: Screen) -> None:
    moment = time.monotonic()
    node.host.card(Arch.WARBOY, 1).die()
    view = await node.kubelet.until(lambda view: view.allocatable(RESOURCE) == 1, within=10)
    screen.fact("kubelet hears", f"npu1pe0-1 is Unhealthy, {time.monotonic() - moment:.1f} s later", "red")
    _show_capacity(screen, view)
    try:
        await node.kubelet.run_pod("inference-2", {RESOURCE: 1})
    except UnexpectedAdmissionError as error:
        screen.fact("pod", f"inference-2: refused by the kubelet: {error}", "yellow")


async def end(node: Node, screen: Screen) -> int:
    """End the plugin; returns its exit status."""
    screen.step("The device plugin is asked to end")
    status, seconds = await node.end(PLUGIN)
    socket = "still there" if (node.plugin_dir / "furiosa-npu").exists() else "gone"
    screen.fact("ended", f"{seconds:.1f} s later, exit status {status}, its socket is {socket}", "green")
    return status


def _show_capacity(screen: Screen, view: NodeView) -> None:
    """The node as the scheduler sees it."""
    capacity, allocatable = view.capacity(RESOURCE), view.allocatable(RESOURCE)
    colour = "green" if capacity == allocatable else "yellow"
    screen.fact("node status", f"{RESOURCE}: capacity {capacity}, allocatable {allocatable}", colour)


def _show_pod(screen: Screen, admitted: Admitted) -> None:
    """What a pod's container was given."""
    screen.fact("pod", f"{admitted.pod}: admitted, given {', '.join(admitted.device_ids)}", "green")
    for name, value in sorted(admitted.env.items()):
        screen.fact("  environment", f"{name}={value}")
    screen.facts("  device files", (device.container_path for device in admitted.devices))
