"""The stand-in kubelet's PodResources service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from npu_core.kubelet._podresources import podresources_pb2 as api
from testkit.standins.kubelet import ContainerSpec, DraDevice, PodResourcesBehaviour, PodResourcesMode, StandInKubelet
from testkit.standins.scripted_plugin import RESOURCE, StartPlugin, device, devices
from testkit.waiting import PATIENCE

if TYPE_CHECKING:
    from npu_core.kubelet._podresources.podresources_pb2_grpc import PodResourcesListerAsyncStub


async def _list(client: PodResourcesListerAsyncStub) -> dict[str, list[tuple[str, list[str]]]]:
    """Per pod, (resource, ids) of every entry of all its containers."""
    response = await client.List(api.ListPodResourcesRequest(), timeout=PATIENCE)
    return {
        pod.name: [
            (entry.resource_name, list(entry.device_ids)) for container in pod.containers for entry in container.devices
        ]
        for pod in response.pod_resources
    }


async def test_pods_are_listed_with_one_entry_per_device(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub
) -> None:
    await advertise(kubelet, [device("npu0", numa=[1]), device("npu1")])
    await kubelet.run_pod("pod-a", {RESOURCE: 2}, namespace="team")
    await kubelet.run_pod("pod-b")

    response = await client.List(api.ListPodResourcesRequest(), timeout=PATIENCE)

    topology = api.TopologyInfo(nodes=[api.NUMANode(ID=1)])
    assert list(response.pod_resources) == [
        api.PodResources(
            name="pod-a",
            namespace="team",
            containers=[
                api.ContainerResources(
                    name="main",
                    devices=[
                        api.ContainerDevices(resource_name=RESOURCE, device_ids=["npu0"], topology=topology),
                        api.ContainerDevices(resource_name=RESOURCE, device_ids=["npu1"]),
                    ],
                )
            ],
        ),
        api.PodResources(name="pod-b", namespace="default", containers=[api.ContainerResources(name="main")]),
    ]


async def test_claimed_devices_are_dynamic_resources_and_no_devices(
    kubelet: StandInKubelet, client: PodResourcesListerAsyncStub
) -> None:
    first = DraDevice("npu.furiosa.ai", "node-a", "npu0", cdi=("furiosa.ai/npu=npu0",))
    second = DraDevice("npu.furiosa.ai", "node-a", "npu1", cdi=("furiosa.ai/npu=npu1",))
    other = DraDevice("other.example.com", "pool", "x0", claim="more")
    await kubelet.run_pod(
        "pod-a",
        containers=[
            ContainerSpec("init", init=True, claims=(first,)),
            ContainerSpec("sidecar", init=True, restartable=True, claims=(other,)),
            ContainerSpec("main", claims=(first, second, other)),
        ],
        namespace="team",
    )

    response = await client.List(api.ListPodResourcesRequest(), timeout=PATIENCE)

    cdi = [api.CDIDevice(name=f"furiosa.ai/npu={name}") for name in ("npu0", "npu1")]
    more = api.DynamicResource(
        claim_name="more",
        claim_namespace="team",
        claim_resources=[api.ClaimResource(driver_name="other.example.com", pool_name="pool", device_name="x0")],
    )
    # The kubelet shows the names of a driver's earlier devices at its later ones too.
    claim = api.DynamicResource(
        claim_name="claim",
        claim_namespace="team",
        claim_resources=[
            api.ClaimResource(
                cdi_devices=cdi[:count], driver_name="npu.furiosa.ai", pool_name="node-a", device_name=name
            )
            for count, name in ((1, "npu0"), (2, "npu1"))
        ],
    )
    assert list(response.pod_resources[0].containers) == [
        api.ContainerResources(name="sidecar", dynamic_resources=[more]),
        api.ContainerResources(name="main", dynamic_resources=[claim, more]),
    ]
    # Over the wire: number and type of each field, as the kubelet's own protocol has them.
    assert api.ContainerResources(dynamic_resources=[more]).SerializeToString().startswith(b"\x2a")
    assert more.SerializeToString() == (
        b"\x12\x04more\x1a\x04team\x22\x1d\x12\x11other.example.com\x1a\x04pool\x22\x02x0"
    )
    assert cdi[0].SerializeToString() == b"\x0a\x13furiosa.ai/npu=npu0"
    assert claim.claim_resources[0].SerializeToString().startswith(b"\x0a\x15")


async def test_allocatable_devices_are_the_healthy_ones_in_use_or_not(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub
) -> None:
    await advertise(kubelet, [device("npu1"), device("npu0", numa=[0]), device("npu2", "Unhealthy")])
    await kubelet.run_pod("pod-a", {RESOURCE: 1})

    response = await client.GetAllocatableResources(api.AllocatableResourcesRequest(), timeout=PATIENCE)

    topology = api.TopologyInfo(nodes=[api.NUMANode(ID=0)])
    assert list(response.devices) == [
        api.ContainerDevices(resource_name=RESOURCE, device_ids=["npu0"], topology=topology),
        api.ContainerDevices(resource_name=RESOURCE, device_ids=["npu1"]),
    ]


async def test_pods_that_are_over_are_listed_only_by_kubelets_that_do(
    kubelet: StandInKubelet, advertise: StartPlugin, client: PodResourcesListerAsyncStub
) -> None:
    await advertise(kubelet, devices("npu0"))
    await kubelet.run_pod("pod-a", {RESOURCE: 1})
    kubelet.finish_pod("pod-a")

    assert await _list(client) == {}
    await kubelet.set_pod_resources(PodResourcesBehaviour(terminal_pods=True))
    assert await _list(client) == {"pod-a": [(RESOURCE, ["npu0"])]}


@pytest.mark.parametrize(
    ("mode", "code", "text"),
    [
        (
            PodResourcesMode.UNIMPLEMENTED,
            grpc.StatusCode.UNIMPLEMENTED,
            "unknown service v1.PodResourcesLister",
        ),
        (
            PodResourcesMode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "rejected by rate limit",
        ),
    ],
)
async def test_the_service_can_refuse_every_call(
    kubelet: StandInKubelet,
    client: PodResourcesListerAsyncStub,
    mode: PodResourcesMode,
    code: grpc.StatusCode,
    text: str,
) -> None:
    await kubelet.set_pod_resources(PodResourcesBehaviour(mode))

    for call in (
        client.List(api.ListPodResourcesRequest(), timeout=PATIENCE),
        client.GetAllocatableResources(api.AllocatableResourcesRequest(), timeout=PATIENCE),
        client.Get(api.GetPodResourcesRequest(), timeout=PATIENCE),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert (caught.value.code(), caught.value.details()) == (code, text)


async def test_the_socket_can_be_absent_and_come_back(
    kubelet: StandInKubelet, client: PodResourcesListerAsyncStub
) -> None:
    assert kubelet.pod_resources_socket is not None

    await kubelet.set_pod_resources(PodResourcesBehaviour(PodResourcesMode.ABSENT))
    assert not kubelet.pod_resources_socket.exists()
    await kubelet.restart()
    assert not kubelet.pod_resources_socket.exists()
    await kubelet.set_pod_resources(PodResourcesBehaviour())

    assert await _list(client) == {}
