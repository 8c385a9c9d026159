"""The stand-in kubelet without the API server: what it goes on knowing, and what it never hears of."""

from __future__ import annotations

from pathlib import Path

import pytest

from npu_core.kubelet import list_holdings
from testkit.standins.kubelet import (
    CreateContainerError,
    Phase,
    StandInKubelet,
)
from testkit.standins.scripted_plugin import (
    RESOURCE,
    ScriptedPlugin,
    StartKubelet,
    StartPlugin,
    back,
    devices,
)
from testkit.waiting import PATIENCE


async def _listed(kubelet: StandInKubelet) -> list[str]:
    """The pods that PodResources names with devices."""
    return [holding.pod for holding in await list_holdings(str(kubelet.pod_resources_socket), PATIENCE)]


async def _restarted_without(kubelet: StandInKubelet, plugin: ScriptedPlugin) -> None:
    """The API server goes away, then the kubelet starts anew and the plugin registers."""
    kubelet.stop_api_server()
    await kubelet.restart()
    await back(kubelet, plugin)


async def test_without_it_no_pod_comes_or_goes(kubelet: StandInKubelet, advertise: StartPlugin) -> None:
    await advertise(kubelet)
    await kubelet.run_pod("pod-a", {RESOURCE: 1})

    kubelet.stop_api_server()

    with pytest.raises(RuntimeError, match=r"^the API server is not running$"):
        await kubelet.run_pod("pod-b", {RESOURCE: 1})
    with pytest.raises(RuntimeError, match=r"^the API server is not running$"):
        kubelet.delete_pod("pod-a")
    assert set(kubelet.view().pods) == {"pod-a"}


async def test_a_kubelet_that_knows_no_pods_starts_no_container(
    kubelet: StandInKubelet, advertise: StartPlugin
) -> None:
    plugin = await advertise(kubelet)
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    await _restarted_without(kubelet, plugin)

    with pytest.raises(RuntimeError, match=r"^the kubelet was started without the API server and knows no pods$"):
        await kubelet.restart_container("pod-a")
    await kubelet.start_api_server()

    await kubelet.restart_container("pod-a")


async def test_a_waiting_container_is_tried_again_once_the_pods_are_known(
    start_kubelet: StartKubelet, advertise: StartPlugin, tmp_path: Path
) -> None:
    kubelet = await start_kubelet(devfs=tmp_path, container_back_off=0.01)
    plugin = await advertise(kubelet, devices("npu0"))
    with pytest.raises(CreateContainerError):
        await kubelet.run_pod("pod-a", {RESOURCE: 1})
    await _restarted_without(kubelet, plugin)
    (tmp_path / "npu0").symlink_to("/dev/null")
    assert kubelet.view().pod("pod-a").phase is Phase.WAITING

    await kubelet.start_api_server()

    await kubelet.until(lambda view: view.pod("pod-a").running, within=PATIENCE)


async def test_after_a_reboot_without_it_pods_are_admitted_when_it_is_back(
    kubelet: StandInKubelet, advertise: StartPlugin
) -> None:
    plugin = await advertise(kubelet)
    first = await kubelet.run_pod("pod-a", {RESOURCE: 1})
    kubelet.stop_api_server()

    assert await kubelet.reboot() == {}
    await back(kubelet, plugin)
    assert await kubelet.readmit_pods() == {}
    assert kubelet.view().pod("pod-a").phase is Phase.PENDING
    assert kubelet.view().held(RESOURCE) == frozenset()

    assert await kubelet.start_api_server() == {"pod-a": first}
