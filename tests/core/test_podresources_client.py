"""Asking kubelets, of every mood, which containers hold which devices."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from socket import AF_UNIX
from socket import socket as any_socket

import grpc
import grpc.aio
import pytest

from npu_core.claims import Container
from npu_core.kubelet import Holding, PodListing, PodResourcesError, holdings, list_holdings
from npu_core.kubelet._podresources import podresources_pb2 as pb
from testkit.standins.kubelet import (
    ContainerSpec,
    KubeletSettings,
    PodResourcesBehaviour,
    PodResourcesMode,
    StandInKubelet,
)
from testkit.standins.scripted_plugin import OTHER, RESOURCE, ScriptedPlugin, devices
from testkit.waiting import PATIENCE


@pytest.fixture
def socket(socket_dir: Path) -> str:
    return str(socket_dir / "pods" / "kubelet.sock")


@pytest.fixture
async def kubelet(socket_dir: Path) -> AsyncIterator[StandInKubelet]:
    """A kubelet with four devices of one resource and one of another."""
    settings = KubeletSettings(socket_dir / "plugins", pod_resources_dir=socket_dir / "pods")
    async with StandInKubelet(settings) as kubelet:
        first = await _plugin(kubelet, RESOURCE, "npu0", "npu1", "npu2", "npu3")
        second = await _plugin(kubelet, OTHER, "other0")
        yield kubelet
        await first.stop()
        await second.stop()


async def _plugin(kubelet: StandInKubelet, resource: str, *names: str) -> ScriptedPlugin:
    plugin = ScriptedPlugin(kubelet.settings.plugin_dir, resource, f"{resource.rpartition('/')[2]}.sock")
    plugin.listed = devices(*names)
    await plugin.start()
    await plugin.register()
    await kubelet.until(lambda view: view.allocatable(resource) == len(names), PATIENCE)
    return plugin


async def _failure(socket: str, deadline: float = PATIENCE) -> PodResourcesError:
    with pytest.raises(PodResourcesError) as caught:
        await list_holdings(socket, deadline)
    return caught.value


@pytest.mark.usefixtures("kubelet")
async def test_where_nothing_runs_nothing_is_held(socket: str) -> None:
    assert await list_holdings(socket, PATIENCE) == ()


async def test_every_device_of_every_container_is_told_with_whom_it_is(kubelet: StandInKubelet, socket: str) -> None:
    await kubelet.run_pod(
        "pod-a",
        containers=[ContainerSpec("one", {RESOURCE: 2, OTHER: 1}), ContainerSpec("two", {RESOURCE: 1})],
        namespace="team",
    )
    await kubelet.run_pod("pod-b", {RESOURCE: 1})
    await kubelet.run_pod("pod-c")

    held = await list_holdings(socket, PATIENCE)

    assert {(each.namespace, each.pod, each.container, each.resource) for each in held} == {
        ("team", "pod-a", "one", RESOURCE),
        ("team", "pod-a", "one", OTHER),
        ("team", "pod-a", "two", RESOURCE),
        ("default", "pod-b", "main", RESOURCE),
    }
    ids = [device for each in held if each.resource == RESOURCE for device in each.device_ids]
    assert sorted(ids) == ["npu0", "npu1", "npu2", "npu3"]


async def test_a_pod_that_is_over_counts_only_where_the_kubelet_lists_it(kubelet: StandInKubelet, socket: str) -> None:
    admitted = await kubelet.run_pod("pod", {RESOURCE: 1})
    kubelet.finish_pod("pod")
    assert await list_holdings(socket, PATIENCE) == ()

    await kubelet.set_pod_resources(PodResourcesBehaviour(terminal_pods=True))
    assert await list_holdings(socket, PATIENCE) == (Holding("default", "pod", "main", RESOURCE, admitted.device_ids),)


@pytest.mark.parametrize("mode", [PodResourcesMode.UNIMPLEMENTED, PodResourcesMode.RESOURCE_EXHAUSTED])
async def test_a_refusal_is_an_error_with_its_code(
    kubelet: StandInKubelet, socket: str, mode: PodResourcesMode
) -> None:
    await kubelet.set_pod_resources(PodResourcesBehaviour(mode))
    assert (await _failure(socket)).code == mode.name


async def test_a_socket_that_is_not_there_is_known_at_once_and_found_when_it_is(
    kubelet: StandInKubelet, socket: str
) -> None:
    await kubelet.set_pod_resources(PodResourcesBehaviour(PodResourcesMode.ABSENT))
    assert (await _failure(socket)).code == "UNAVAILABLE"  # and not that the deadline has passed
    await kubelet.set_pod_resources(PodResourcesBehaviour())
    assert await list_holdings(socket, PATIENCE) == ()


async def test_a_kubelet_that_takes_too_long_is_given_up(kubelet: StandInKubelet, socket: str) -> None:
    await kubelet.set_pod_resources(PodResourcesBehaviour(delay=3600.0))
    assert (await _failure(socket, 0.2)).code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("answer", [b"\xff" * 9, b"\x0a\x03\x0a\x01\xff"], ids=["junk", "a name that is no UTF-8"])
async def test_an_answer_that_cannot_be_decoded_is_an_error(
    socket: str, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    class Kubelet(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
            return grpc.unary_unary_rpc_method_handler(self.list)

        async def list(self, *_: object) -> bytes:
            return answer

    Path(socket).parent.mkdir()
    server = grpc.aio.server(handlers=[Kubelet()])
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    assert (await _failure(socket)).code == "INTERNAL"
    await server.stop(None)
    assert "Exception deserializing message" not in caplog.text


async def test_a_kubelet_that_restarts_is_asked_again_without_further_ado(kubelet: StandInKubelet, socket: str) -> None:
    admitted = await kubelet.run_pod("pod", {RESOURCE: 2})
    await kubelet.restart()
    held = await list_holdings(socket, PATIENCE)
    assert {device for each in held for device in each.device_ids} == set(admitted.device_ids)


@pytest.mark.parametrize(("nodes", "node"), [([], None), ([-1], None), ([-1, 1], 1), ([0], 0)])
def test_a_node_below_zero_is_none(nodes: list[int], node: int | None) -> None:
    """As kubelets 1.20 and 1.21 tell it of a device without a node."""
    topology = pb.TopologyInfo(nodes=[pb.NUMANode(ID=each) for each in nodes])
    devices = pb.ContainerDevices(resource_name=RESOURCE, device_ids=["npu0"], topology=topology)
    (claim,) = holdings._claims(Container("team", "pod", "main"), pb.ContainerResources(devices=[devices]))
    assert claim.numa_node == node


@pytest.mark.parametrize(
    ("pods", "node_name", "knows"),
    [
        ((), "node1", False),
        (("kube-proxy-node1",), "node1", False),
        (("kube-proxy-node1", "plugin-x7f2p"), "node1", True),
        (("kube-proxy-node1",), None, True),
        ((), None, False),
    ],
)
def test_a_kubelet_that_lists_its_static_pods_alone_does_not_know_its_pods(
    pods: tuple[str, ...], node_name: str | None, *, knows: bool
) -> None:
    assert PodListing(pods=frozenset(("kube-system", pod) for pod in pods)).knows_pods(node_name) is knows


# -- why nobody answers, for an operator -------------------------------------------------------------------------------


async def test_a_socket_behind_which_nobody_is_is_named_with_its_option(socket: str) -> None:
    error = await _failure(socket)
    assert error.code == "UNAVAILABLE"
    assert f"{socket} (--pod-resources-socket): ENOENT (" in str(error)
    Path(socket).parent.mkdir()
    with any_socket(AF_UNIX) as left_behind:
        left_behind.bind(socket)
    error = await _failure(socket)
    assert f"{socket} (--pod-resources-socket): ECONNREFUSED (" in str(error)


def test_a_process_without_threads_for_grpc_is_not_ended_by_it(socket: str) -> None:
    """In a process of its own: here gRPC has its threads already."""
    program = f"""
import asyncio, sys
from npu_core.kubelet import PodResourcesError, list_pods
from testkit.refused_threads import no_more_threads
with no_more_threads():
    try:
        asyncio.run(list_pods({socket!r}))
    except PodResourcesError as error:
        print(error.code)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stdout) == (0, "NO_THREAD\n")


@pytest.mark.parametrize("is_started", [False, True], ids=["before gRPC starts", "while gRPC runs"])
@pytest.mark.parametrize("left", range(8))
def test_a_process_without_descriptors_is_told_so_and_goes_on(socket: str, left: int, *, is_started: bool) -> None:
    """In a process of its own: gRPC's core ends one that has some of the descriptors it needs to start, but not all."""
    program = f"""
import asyncio, os, resource
import grpc
from npu_core.kubelet import PodResourcesError, list_pods

async def ask():
    kept = grpc.aio.insecure_channel("unix:/nowhere") if {is_started} else None
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.dup(1))
    except OSError:
        pass
    for descriptor in taken[:{left}]:
        os.close(descriptor)
    try:
        await list_pods({socket!r})
    except PodResourcesError as error:
        print(error.code)

asyncio.run(ask())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stdout) == (0, "UNAVAILABLE\n"), ended.stderr
