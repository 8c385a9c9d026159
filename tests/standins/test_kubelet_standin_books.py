"""The stand-in kubelet's books: who is named in them, for how long, and when they are written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from npu_core.kubelet._podresources import podresources_pb2 as api
from testkit.standins.kubelet import (
    ContainerSpec,
    StandInKubelet,
    TopologyPolicy,
    UnexpectedAdmissionError,
)
from testkit.standins.scripted_plugin import RESOURCE, StartKubelet, StartPlugin, devices
from testkit.waiting import PATIENCE

if TYPE_CHECKING:
    from npu_core.kubelet._podresources.podresources_pb2_grpc import PodResourcesListerAsyncStub


async def _names(client: PodResourcesListerAsyncStub) -> list[str]:
    response = await client.List(api.ListPodResourcesRequest(), timeout=PATIENCE)
    return [pod.name for pod in response.pod_resources]


def test_only_an_init_container_is_a_restartable_one() -> None:
    with pytest.raises(ValueError, match=r"^only an init container can be a restartable one$"):
        ContainerSpec("main", restartable=True)


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
