"""The stand-in kubelet's books: who is named in them, for how long, and when they are written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from npu_core.kubelet._podresources import podresources_pb2 as api
from standins.kubelet import (
    ContainerSpec,
    EventKind,
    PodResourcesBehaviour,
    StandInKubelet,
    TopologyPolicy,
    UnexpectedAdmissionError,
)
from standins.scripted_plugin import (
    FOUR,
    OTHER,
    PATIENCE,
    RESOURCE,
    ScriptedPlugin,
    StartKubelet,
    StartPlugin,
    devices,
)

if TYPE_CHECKING:
    from npu_core.kubelet._podresources.podresources_pb2_grpc import PodResourcesListerAsyncStub

End = Callable[[StandInKubelet, str], None]
ENDS = pytest.mark.parametrize("end", [StandInKubelet.delete_pod, StandInKubelet.finish_pod])


async def _names(client: PodResourcesListerAsyncStub) -> list[str]:
    response = await client.List(api.ListPodResourcesRequest(), timeout=PATIENCE)
    return [pod.name for pod in response.pod_resources]


async def _send(kubelet: StandInKubelet, plugin: ScriptedPlugin) -> None:
    """Have the plugin send its list once more, unchanged."""
    before = kubelet.view().messages(plugin.resource)
    assert plugin.listed is not None
    plugin.send(plugin.listed)
    await kubelet.until(lambda view: view.messages(plugin.resource) > before, within=PATIENCE)


def _on_file(kubelet: StandInKubelet) -> dict[tuple[str, str], set[str]]:
    """Per pod uid and container, the ids that the checkpoint names."""
    entries = json.loads(kubelet.checkpoint_path.read_text())["Data"]["PodDeviceEntries"]
    return {
        (entry["PodUID"], entry["ContainerName"]): {each for ids in entry["DeviceIDs"].values() for each in ids}
        for entry in entries
    }


# Init containers


async def test_what_an_init_container_had_stays_booked_for_the_pods_whole_life(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub
) -> None:
    plugin = await advertise(kubelet)
    pod = await kubelet.run_pod(
        "pod-a", containers=[ContainerSpec("init", {RESOURCE: 2}, init=True), ContainerSpec("main")]
    )

    assert await _names(client) == ["pod-a"]
    await _send(kubelet, plugin)

    assert _on_file(kubelet) == {(pod.uid, "init"): {"npu0", "npu1"}}
    view = kubelet.view()
    assert view.booked(RESOURCE) == view.in_use(RESOURCE) == view.held(RESOURCE) == {"npu0", "npu1"}
    with pytest.raises(UnexpectedAdmissionError, match=r"Requested: 1, Available: 0"):
        await kubelet.run_pod("pod-b", {RESOURCE: 1})


async def test_a_sidecar_keeps_what_it_took_over_and_passes_nothing_on(
    kubelet: StandInKubelet, advertise: StartPlugin
) -> None:
    await advertise(kubelet, devices(*FOUR))

    pod = await kubelet.run_pod(
        "pod-a",
        containers=[
            ContainerSpec("init", {RESOURCE: 2}, init=True),
            ContainerSpec("sidecar", {RESOURCE: 1}, init=True, restartable=True),
            ContainerSpec("main", {RESOURCE: 2}),
        ],
    )

    ids = {grant.container: set(grant.device_ids[RESOURCE]) for grant in pod.containers}
    assert ids["sidecar"] < ids["init"]
    assert ids["main"] > ids["init"] - ids["sidecar"]
    assert not ids["main"] & ids["sidecar"]
    assert pod.main.container == "main"


def test_only_an_init_container_is_a_restartable_one() -> None:
    with pytest.raises(ValueError, match=r"^only an init container can be a restartable one$"):
        ContainerSpec("main", restartable=True)


# When pods that are over are dropped


@ENDS
async def test_a_pod_that_is_over_stays_in_the_books_while_nothing_happens(
    kubelet: StandInKubelet, advertise: StartPlugin, end: End
) -> None:
    plugin = await advertise(kubelet, devices("npu0"))
    pod = await kubelet.run_pod("pod-a", {RESOURCE: 1})

    end(kubelet, "pod-a")
    # A list is written down, and drops nobody.
    await _send(kubelet, plugin)

    view = kubelet.view()
    assert view.booked(RESOURCE) == {"npu0"}
    # The next admission would drop the pod before it looks.
    assert view.in_use(RESOURCE) == view.held(RESOURCE) == frozenset()
    assert _on_file(kubelet) == {(pod.uid, "main"): {"npu0"}}
    assert view.count(EventKind.PODS_DROPPED) == 0


@ENDS
async def test_list_drops_pods_that_are_over_and_does_not_write_that_down(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub, end: End
) -> None:
    plugin = await advertise(kubelet, devices("npu0"))
    pod = await kubelet.run_pod("pod-a", {RESOURCE: 1})
    end(kubelet, "pod-a")
    writes = kubelet.view().checkpoint_writes

    assert await _names(client) == []
    assert await _names(client) == []

    assert kubelet.view().booked(RESOURCE) == frozenset()
    assert [event.ids for event in kubelet.events_of(EventKind.PODS_DROPPED)] == [(pod.uid,)]
    assert kubelet.view().checkpoint_writes == writes
    assert _on_file(kubelet) == {(pod.uid, "main"): {"npu0"}}
    # The plugin's next list has it written down, changed or not.
    await _send(kubelet, plugin)
    assert _on_file(kubelet) == {}


async def test_other_calls_of_the_service_drop_nobody(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub
) -> None:
    await advertise(kubelet, devices("npu0"))
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    await kubelet.run_pod("pod-b")
    kubelet.finish_pod("pod-a")

    await client.GetAllocatableResources(api.AllocatableResourcesRequest(), timeout=PATIENCE)
    await client.Get(api.GetPodResourcesRequest(pod_name="pod-b", pod_namespace="default"), timeout=PATIENCE)

    assert kubelet.view().booked(RESOURCE) == {"npu0"}


async def test_an_admission_drops_pods_that_are_over_and_is_written_down(
    kubelet: StandInKubelet, advertise: StartPlugin
) -> None:
    await advertise(kubelet)
    await advertise(kubelet, devices("x0"), resource=OTHER, socket="other.sock")
    await kubelet.run_pod("pod-a", {RESOURCE: 2})
    kubelet.delete_pod("pod-a")

    other = await kubelet.run_pod("pod-b", {OTHER: 1})

    assert kubelet.view().booked(RESOURCE) == frozenset()
    assert _on_file(kubelet) == {(other.uid, "main"): {"x0"}}


@pytest.mark.parametrize("policy", list(TopologyPolicy))
async def test_the_admission_of_a_pod_that_asks_for_nothing_drops_pods_only_for_the_sake_of_hints(
    start_kubelet: StartKubelet, advertise: StartPlugin, policy: TopologyPolicy
) -> None:
    kubelet = await start_kubelet(topology_policy=policy)
    await advertise(kubelet, devices("npu0"))
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    kubelet.delete_pod("pod-a")
    writes = kubelet.view().checkpoint_writes

    await kubelet.run_pod("pod-b")

    assert kubelet.view().booked(RESOURCE) == ({"npu0"} if policy is TopologyPolicy.NONE else set())
    assert kubelet.view().checkpoint_writes == writes


async def test_what_a_pod_that_is_not_admitted_got_before_stays_booked_until_it_is_dropped(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub
) -> None:
    await advertise(kubelet)

    with pytest.raises(UnexpectedAdmissionError):
        await kubelet.run_pod(
            "pod-a", containers=[ContainerSpec("one", {RESOURCE: 1}), ContainerSpec("two", {RESOURCE: 2})]
        )

    assert len(kubelet.view().booked(RESOURCE)) == 1
    assert kubelet.view().in_use(RESOURCE) == kubelet.view().held(RESOURCE) == frozenset()
    assert await _names(client) == []
    assert kubelet.view().booked(RESOURCE) == frozenset()


async def test_a_start_drops_nobody_either(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub
) -> None:
    await advertise(kubelet, devices("npu0"))
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    await kubelet.stop()
    kubelet.delete_pod("pod-a")

    await kubelet.start()

    assert kubelet.view().booked(RESOURCE) == {"npu0"}
    assert await _names(client) == []
    assert kubelet.view().booked(RESOURCE) == frozenset()


async def test_in_the_time_in_which_no_pods_are_listed_none_is_dropped(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub
) -> None:
    await advertise(kubelet, devices("npu0"))
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    await kubelet.run_pod("pod-b")
    await kubelet.set_pod_resources(PodResourcesBehaviour(pods_after=3600.0))
    await kubelet.restart()
    kubelet.finish_pod("pod-a")

    assert await _names(client) == []
    view = kubelet.view()
    assert view.booked(RESOURCE) == view.in_use(RESOURCE) == {"npu0"}
    await kubelet.set_pod_resources(PodResourcesBehaviour())

    assert await _names(client) == ["pod-b"]
    assert kubelet.view().booked(RESOURCE) == frozenset()


async def test_a_kubelet_that_lost_its_checkpoint_books_nothing_while_containers_hold_on(
    kubelet: StandInKubelet, advertise: StartPlugin
) -> None:
    await advertise(kubelet, devices("npu0"))
    await kubelet.run_pod("pod-a", {RESOURCE: 1})

    await kubelet.restart(keep_checkpoint=False)

    view = kubelet.view()
    assert view.booked(RESOURCE) == frozenset()
    assert view.held(RESOURCE) == {"npu0"}
    assert view.pod("pod-a").holds(RESOURCE) == {"npu0"}
    await kubelet.stop()
    assert kubelet.view().held(RESOURCE) == {"npu0"}
    kubelet.finish_pod("pod-a")
    assert kubelet.view().held(RESOURCE) == kubelet.view().pod("pod-a").holds(RESOURCE) == frozenset()
