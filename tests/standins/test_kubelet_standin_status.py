"""The stand-in kubelet's node status: published at once, or in turn."""

from __future__ import annotations

from testkit.standins.kubelet import EventKind
from testkit.standins.scripted_plugin import RESOURCE, StartKubelet, StartPlugin, allocatable, device, devices
from testkit.waiting import PATIENCE

NEVER = 3600.0


async def test_a_change_is_known_to_the_device_manager_before_its_turn_to_be_published(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(status_interval=NEVER)

    await advertise(kubelet)

    view = kubelet.view()
    assert view.healthy(RESOURCE) == {"npu0", "npu1"}
    assert (view.advertised(RESOURCE), view.capacity(RESOURCE), view.allocatable(RESOURCE)) == (False, 0, 0)


async def test_each_change_is_published_once_in_its_turn(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet(status_interval=0.01)
    plugin = await advertise(kubelet)
    await allocatable(kubelet, 2)
    plugin.send([device("npu0", "Unhealthy"), *devices("npu1")])
    await allocatable(kubelet, 1)

    assert kubelet.view().advertised(RESOURCE)
    assert len(kubelet.events_of(EventKind.STATUS_PUBLISHED)) == 2


async def test_without_the_api_server_nothing_is_published(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet(status_interval=0.01)
    await advertise(kubelet)
    await allocatable(kubelet, 2)
    kubelet.stop_api_server()

    await kubelet.restart()
    await advertise(kubelet, devices("npu7"), socket="second.sock")
    assert kubelet.view().allocatable(RESOURCE) == 2
    await kubelet.start_api_server()

    await allocatable(kubelet, 1)


async def test_a_restart_publishes_what_the_new_process_knows_at_once(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet(status_interval=0.01)
    await advertise(kubelet)
    await allocatable(kubelet, 2)

    await kubelet.restart()

    await kubelet.until(lambda view: (view.capacity(RESOURCE), view.allocatable(RESOURCE)) == (0, 0), within=PATIENCE)


async def test_by_default_every_change_is_there_at_once(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()

    await advertise(kubelet)

    assert kubelet.view().allocatable(RESOURCE) == 2
    assert kubelet.events_of(EventKind.STATUS_PUBLISHED) == ()
