"""The stand-in kubelet's books: who is named in them, for how long, and when they are written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from npu_core.kubelet._podresources import podresources_pb2 as api
from testkit.standins.kubelet import (
    ContainerSpec,
    PodResourcesBehaviour,
    StandInKubelet,
    TopologyPolicy,
    UnexpectedAdmissionError,
)
from testkit.standins.scripted_plugin import FOUR, RESOURCE, StartKubelet, StartPlugin, devices
from testkit.waiting import PATIENCE

if TYPE_CHECKING:
    from npu_core.kubelet._podresources.podresources_pb2_grpc import PodResourcesListerAsyncStub


async def _names(client: PodResourcesListerAsyncStub) -> list[str]:
    response = await client.List(api.ListPodResourcesRequest(), timeout=PATIENCE)
    return [pod.name for pod in response.pod_resources]


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
