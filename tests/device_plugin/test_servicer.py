"""The kubelet's questions over a real socket, and the answers to them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.health import HEALTHY, HealthReport, HealthStatus
from npu_core.partition import FUSION, SINGLE, Partitioning
from npu_device_plugin.allocation.grants import DeviceInjection
from npu_device_plugin.allocation.inventory import SETTLE_FILES, Fleet
from npu_device_plugin.allocation.resource_state import KEPT, KeptId, Offer, offers
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import DevicePluginStub, add_DevicePluginServicer_to_server
from npu_device_plugin.kubelet.listeners import Listeners, Streams
from npu_device_plugin.kubelet.servicer import MAX_CONTAINERS, MAX_SHOWN_ID, MAX_STREAMS, OfferServicer
from testkit.logged import logged
from testkit.waiting import PATIENCE, eventually
from tests.device_plugin.cards import rngd_card, warboy_card

RESOURCE = "beta.furiosa.ai/npu"
DEAD = HealthReport(HealthStatus.UNHEALTHY, ("the driver reports the card as dead",))

if TYPE_CHECKING:
    from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import DevicePluginAsyncStub as Stub

    Stream = grpc.aio.UnaryStreamCall[api.Empty, api.ListAndWatchResponse]


def offer_of(devices: Iterable[Device], policy: Partitioning = FUSION, *, dead: Iterable[int] = ()) -> Offer:
    """The offer of these cards, some of them dead; no driver makes device files any more."""
    found = tuple(devices)
    fleet = Fleet().with_devices(found).with_devices(found, now=SETTLE_FILES)
    for card in fleet.cards:
        fleet = fleet.with_look(card.device.key, DEAD if card.device.index in set(dead) else HEALTHY, 0.0)
    (offer,) = offers(fleet, policy)
    return offer


def servicer_of(*devices: Device, policy: Partitioning = FUSION, dead: Iterable[int] = ()) -> OfferServicer:
    return OfferServicer(RESOURCE, offer_of(devices, policy, dead=dead))


@asynccontextmanager
async def calls_to(servicer: OfferServicer, directory: Path) -> AsyncIterator["Stub"]:
    """A client of the servicer, over a socket."""
    server = grpc.aio.server()
    add_DevicePluginServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{directory}/plugin")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{directory}/plugin") as channel:
            yield DevicePluginStub(channel)
    finally:
        await server.stop(None)


async def read(stream: "Stream") -> list[tuple[str, str]]:
    """The next list of a stream: id and health of every unit."""
    message = await asyncio.wait_for(stream.read(), PATIENCE)
    assert isinstance(message, api.ListAndWatchResponse)
    return [(device.ID, device.health) for device in message.devices]


async def allocate(stub: "Stub", *containers: Iterable[str]) -> list[api.ContainerAllocateResponse]:
    requests = [api.ContainerAllocateRequest(devices_ids=ids) for ids in containers]
    response = await stub.Allocate(api.AllocateRequest(container_requests=requests))
    return list(response.container_responses)


async def refusal(stub: "Stub", *containers: Iterable[str]) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await allocate(stub, *containers)
    return caught.value.code(), caught.value.details()


# -- ListAndWatch -----------------------------------------------------------------------------------------------------


async def test_a_stream_begins_with_every_unit_and_its_health(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0), warboy_card(1), policy=SINGLE, dead=[1])
    async with calls_to(servicer, socket_dir) as stub:
        assert await read(stub.ListAndWatch(api.Empty())) == [
            ("npu0pe0", "Healthy"),
            ("npu0pe1", "Healthy"),
            ("npu1pe0", "Unhealthy"),
            ("npu1pe1", "Unhealthy"),
        ]


async def test_a_unit_has_the_numa_node_of_its_card_and_none_where_it_is_unknown(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0, numa_node=0), warboy_card(1, numa_node=None), warboy_card(2, numa_node=1))
    async with calls_to(servicer, socket_dir) as stub:
        message = await stub.ListAndWatch(api.Empty()).read()
        assert isinstance(message, api.ListAndWatchResponse)
    assert [device.HasField("topology") for device in message.devices] == [True, False, True]
    assert [[node.ID for node in device.topology.nodes] for device in message.devices] == [[0], [], [1]]


async def test_what_the_kubelet_would_not_see_is_not_told(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0))
    async with calls_to(servicer, socket_dir) as stub:
        stream = stub.ListAndWatch(api.Empty())
        await read(stream)
        assert not servicer.publish(offer_of([warboy_card(0)]))
        assert not servicer.publish(offer_of([warboy_card(0, uuid="0" * 36, without=("ch0",))]))
        servicer.publish(offer_of([warboy_card(0), warboy_card(1)]))
        assert await read(stream) == [("npu0pe0-1", "Healthy"), ("npu1pe0-1", "Healthy")]


async def test_a_change_that_is_taken_back_at_once_is_not_told(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0))
    async with calls_to(servicer, socket_dir) as stub:
        stream = stub.ListAndWatch(api.Empty())
        await read(stream)
        servicer.publish(offer_of([warboy_card(0)], dead=[0]))
        servicer.publish(offer_of([warboy_card(0)]))
        for _ in range(100):
            await asyncio.sleep(0)
        servicer.publish(offer_of([warboy_card(1)]))
        assert await read(stream) == [("npu1pe0-1", "Healthy")]


async def test_a_slow_reader_gets_the_latest_list_and_not_every_one_that_was(socket_dir: Path) -> None:
    cards = [rngd_card(index) for index in range(32)]
    versions = [offer_of(cards, SINGLE, dead=[index]) for index in range(2)] * 100
    last = offer_of(cards, SINGLE, dead=range(32))
    latest = [(unit.id, "Unhealthy") for unit in last.listing]
    servicer = OfferServicer(RESOURCE, offer_of(cards, SINGLE))
    async with calls_to(servicer, socket_dir) as stub:
        stream = stub.ListAndWatch(api.Empty())
        await read(stream)
        for version in (*versions, last):
            servicer.publish(version)
            await asyncio.sleep(0)
        messages = 1
        while await read(stream) != latest:
            messages += 1
        assert messages < len(versions)


async def test_every_stream_begins_anew_and_hears_of_changes(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0))
    async with calls_to(servicer, socket_dir) as stub:
        streams = [stub.ListAndWatch(api.Empty()) for _ in range(2)]
        assert [await read(stream) for stream in streams] == [[("npu0pe0-1", "Healthy")]] * 2
        servicer.publish(offer_of([warboy_card(1)]))
        assert [await read(stream) for stream in streams] == [[("npu1pe0-1", "Healthy")]] * 2
        assert servicer.streams.opened == 2


# -- for the supervisor -----------------------------------------------------------------------------------------------


async def test_a_stream_is_waited_for_beside_those_that_there_are(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0))
    async with calls_to(servicer, socket_dir) as stub:
        first = stub.ListAndWatch(api.Empty())
        await asyncio.wait_for(servicer.wait_for_streams(Streams()), PATIENCE)
        waiting = asyncio.ensure_future(servicer.wait_for_streams(Streams(1, frozenset({1}))))
        await asyncio.sleep(0)
        assert not waiting.done()
        second = stub.ListAndWatch(api.Empty())
        await asyncio.wait_for(waiting, PATIENCE)
        assert servicer.streams == Streams(2, frozenset({1, 2}))
        first.cancel()
        second.cancel()


async def test_a_stream_too_many_ends_the_oldest_one_that_cannot_be_the_kubelets(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0))
    async with calls_to(servicer, socket_dir) as stub:
        for number in range(MAX_STREAMS):
            await read(stub.ListAndWatch(api.Empty()))
            # The second stream may be the kubelet's, and the third.
            servicer.listeners = Listeners(since=1, until=3)
            assert len(servicer.streams.open) == number + 1
        await read(stub.ListAndWatch(api.Empty()))
        await read(stub.ListAndWatch(api.Empty()))
        assert servicer.streams.open == {2, 3, *range(5, MAX_STREAMS + 3)}


async def test_a_stream_too_many_is_refused_while_each_may_be_the_kubelets(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0))
    async with calls_to(servicer, socket_dir) as stub:
        for _ in range(MAX_STREAMS):
            await read(stub.ListAndWatch(api.Empty()))
        assert await stub.ListAndWatch(api.Empty()).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(servicer.streams.open) == MAX_STREAMS


# -- Allocate ---------------------------------------------------------------------------------------------------------


async def test_a_container_gets_device_files_and_variables(socket_dir: Path) -> None:
    async with calls_to(servicer_of(warboy_card(0), policy=SINGLE), socket_dir) as stub:
        (answer,) = await allocate(stub, ["npu0pe1"])
    assert dict(answer.envs) == {
        "NPU_DEVNAME": "npu0pe1",
        "FURIOSA_DEVICES": "npu:0:1",
        "NPU_NPUNAME": "npu0",
        "NPU_PENAME": "pe1",
    }
    names = ("npu0_mgmt", "npu0ch0", "npu0ch1", "npu0ch2", "npu0ch3", "npu0pe1")
    assert [(spec.container_path, spec.host_path, spec.permissions) for spec in answer.devices] == [
        (f"/dev/{name}", f"/dev/{name}", "rw") for name in names
    ]
    assert not answer.mounts
    assert not answer.annotations


async def test_every_container_of_a_request_has_one_answer_in_its_place(socket_dir: Path) -> None:
    async with calls_to(servicer_of(warboy_card(0), warboy_card(1)), socket_dir) as stub:
        answers = await allocate(stub, ["npu1pe0-1"], ["npu0pe0-1"], ["npu0pe0-1", "npu1pe0-1"])
        assert await allocate(stub) == []
    assert [answer.envs["NPU_DEVNAME"] for answer in answers] == ["npu1pe0-1", "npu0pe0-1", "npu0pe0-1,npu1pe0-1"]


@pytest.mark.parametrize("unit_id", ["npu9pe0-1", "npu0pe0", "", "엔피유", "x" * 100_000])
async def test_an_unknown_unit_is_not_found(socket_dir: Path, unit_id: str) -> None:
    async with calls_to(servicer_of(warboy_card(0)), socket_dir) as stub:
        code, text = await refusal(stub, ["npu0pe0-1"], [unit_id])
    assert code is grpc.StatusCode.NOT_FOUND
    assert repr(unit_id)[:80] in (text or "")
    assert len(text or "") < 1000


async def test_a_request_of_too_many_containers_is_refused(socket_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with calls_to(servicer_of(warboy_card(0)), socket_dir) as stub:
        code, _ = await refusal(stub, *[["npu0pe0-1"]] * (MAX_CONTAINERS + 1))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        container = api.ContainerPreferredAllocationRequest(available_deviceIDs=["npu0pe0-1"], allocation_size=1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetPreferredAllocation(
                api.PreferredAllocationRequest(container_requests=[container] * (MAX_CONTAINERS + 1))
            )
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caplog.messages.count("units allocated") == 0


@pytest.mark.parametrize(
    "method", ["GetDevicePluginOptions", "Allocate", "GetPreferredAllocation", "PreStartContainer"]
)
async def test_a_request_that_is_no_message_is_refused_without_a_line_in_the_log(
    socket_dir: Path, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    target = f"unix:{socket_dir}/plugin"
    async with calls_to(servicer_of(warboy_card(0)), socket_dir), grpc.aio.insecure_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(f"/v1beta1.DevicePlugin/{method}")(b"\xff\xff")  # type: ignore[arg-type]
    assert caplog.records == []


async def test_an_unhealthy_unit_is_refused_with_the_reason(socket_dir: Path) -> None:
    async with calls_to(servicer_of(warboy_card(0), dead=[0]), socket_dir) as stub:
        assert await refusal(stub, ["npu0pe0-1"]) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "unit npu0pe0-1 is unhealthy: the driver reports the card as dead",
        )


async def test_units_are_given_from_the_latest_offer(socket_dir: Path) -> None:
    servicer = servicer_of(warboy_card(0))
    async with calls_to(servicer, socket_dir) as stub:
        # The kubelet sees no difference, a container does.
        servicer.publish(offer_of([warboy_card(0, without=("ch3",))]))
        (answer,) = await allocate(stub, ["npu0pe0-1"])
    assert "/dev/npu0ch3" not in {spec.host_path for spec in answer.devices}


async def test_every_unit_that_is_given_out_is_recorded_and_every_answer_is_counted(socket_dir: Path) -> None:
    recorded: list[tuple[Arch, list[str]]] = []
    telemetry = Counters()
    servicer = OfferServicer(
        RESOURCE,
        offer_of([warboy_card(0), warboy_card(1)], SINGLE),
        telemetry,
        on_grant=lambda arch, units: recorded.append((arch, [unit.id for unit in units])),
    )
    async with calls_to(servicer, socket_dir) as stub:
        await allocate(stub, ["npu0pe1", "npu1pe0"])
        assert recorded == [(Arch.WARBOY, ["npu0pe1", "npu1pe0"])]
        await refusal(stub, ["npu0pe0", "npu9pe0"])
        assert len(recorded) == 1
        stream = stub.ListAndWatch(api.Empty())
        await read(stream)
        servicer.resend()
        await read(stream)
    assert telemetry.allocations == {(RESOURCE, "granted"): 1, (RESOURCE, "refused"): 1}
    assert (telemetry.streams[RESOURCE], telemetry.sends[RESOURCE]) == (1, 2)
    assert sum(telemetry.latency_of(RESOURCE).buckets) == 1


@pytest.mark.parametrize(
    ("injection", "names", "has_files"),
    [
        (DeviceInjection.FILES, [], True),
        (DeviceInjection.CDI, ["furiosa.ai/warboy=npu0pe0-1"], False),
        (DeviceInjection.BOTH, ["furiosa.ai/warboy=npu0pe0-1"], True),
    ],
)
async def test_a_container_gets_files_or_names_for_its_runtime_or_both(
    socket_dir: Path, injection: DeviceInjection, names: list[str], *, has_files: bool
) -> None:
    async with calls_to(OfferServicer(RESOURCE, offer_of([warboy_card(0)]), injection=injection), socket_dir) as stub:
        (answer,) = await allocate(stub, ["npu0pe0-1"])
    assert [device.name for device in answer.cdi_devices] == names
    assert bool(answer.devices) is has_files
    assert answer.envs["NPU_DEVNAME"] == "npu0pe0-1"


async def test_an_id_that_is_only_kept_in_the_list_is_refused_with_the_reason(socket_dir: Path) -> None:
    offer = replace(offer_of([warboy_card(0)]), kept=(KeptId("npu7pe0-1", 1),))
    async with calls_to(OfferServicer(RESOURCE, offer), socket_dir) as stub:
        assert await refusal(stub, ["npu7pe0-1"]) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            f"unit npu7pe0-1 is unhealthy: {KEPT}",
        )


# -- the other questions ----------------------------------------------------------------------------------------------


async def test_the_plugin_has_preferences_and_need_not_be_asked_before_a_start(socket_dir: Path) -> None:
    async with calls_to(servicer_of(warboy_card(0)), socket_dir) as stub:
        options = await stub.GetDevicePluginOptions(api.Empty())
    assert (options.pre_start_required, options.get_preferred_allocation_available) == (False, True)


async def test_a_preference_has_one_answer_for_each_container_also_of_units_that_are_dead_by_now(
    socket_dir: Path,
) -> None:
    def request(*available: str, size: int) -> api.ContainerPreferredAllocationRequest:
        return api.ContainerPreferredAllocationRequest(available_deviceIDs=available, allocation_size=size)

    servicer = servicer_of(warboy_card(0), warboy_card(1), policy=SINGLE, dead=[1])
    containers = [
        request("npu0pe0", "npu1pe0", "npu1pe1", size=2),
        request("nonsense", size=-(1 << 31)),
        request("npu0pe1", size=1),
    ]
    async with calls_to(servicer, socket_dir) as stub:
        response = await stub.GetPreferredAllocation(api.PreferredAllocationRequest(container_requests=containers))
    assert [list(each.deviceIDs) for each in response.container_responses] == [["npu1pe0", "npu1pe1"], [], ["npu0pe1"]]


async def test_a_question_before_a_start_is_answered_all_the_same(socket_dir: Path) -> None:
    async with calls_to(servicer_of(warboy_card(0)), socket_dir) as stub:
        answer = await stub.PreStartContainer(api.PreStartContainerRequest(devices_ids=["npu0pe0-1", "nonsense"]))
    assert answer == api.PreStartContainerResponse()


# -- what is counted and told -----------------------------------------------------------------------------------------


async def test_streams_lists_and_answers_are_counted_and_told(
    socket_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="npu_device_plugin")
    telemetry, begun = Counters(), time.perf_counter()
    servicer = OfferServicer(RESOURCE, offer_of([warboy_card(0), warboy_card(1)]), telemetry)
    async with calls_to(servicer, socket_dir) as stub:
        first = stub.ListAndWatch(api.Empty())
        await read(first)
        assert logged(caplog) == [(Event.KUBELET_LISTENS, {"resource": RESOURCE, "units": 2})]
        second = stub.ListAndWatch(api.Empty())
        await read(second)
        assert logged(caplog) == [(Event.ANOTHER_CLIENT, {"resource": RESOURCE})]
        servicer.publish(offer_of([warboy_card(0), warboy_card(1)]))
        servicer.resend()
        await asyncio.gather(read(first), read(second))
        await allocate(stub, ["npu0pe0-1", "npu1pe0-1"], ["npu1pe0-1"])
        assert logged(caplog) == [
            (Event.UNITS_ALLOCATED, {"resource": RESOURCE, "units": "npu0pe0-1,npu1pe0-1"}),
            (Event.UNITS_ALLOCATED, {"resource": RESOURCE, "units": "npu1pe0-1"}),
        ]
        await refusal(stub, ["npu7pe0-1"])
        assert logged(caplog) == []
    assert telemetry.streams == {RESOURCE: 2}
    assert telemetry.sends == {RESOURCE: 4}
    assert telemetry.allocations == {(RESOURCE, "granted"): 2, (RESOURCE, "refused"): 1}
    latency = telemetry.latency_of(RESOURCE)
    assert sum(latency.buckets) == 1
    assert 0 < latency.total <= time.perf_counter() - begun


@pytest.mark.parametrize(
    ("injection", "names", "has_files"),
    [
        (DeviceInjection.FILES, [], True),
        (DeviceInjection.CDI, ["furiosa.ai/warboy=npu0pe0-1"], False),
        (DeviceInjection.BOTH, ["furiosa.ai/warboy=npu0pe0-1"], True),
    ],
)
async def test_a_container_gets_its_devices_in_the_way_that_was_set(
    socket_dir: Path, injection: DeviceInjection, names: list[str], *, has_files: bool
) -> None:
    servicer = OfferServicer(RESOURCE, offer_of([warboy_card(0)]), injection=injection)
    async with calls_to(servicer, socket_dir) as stub:
        (answer,) = await allocate(stub, ["npu0pe0-1"])
    assert ([device.name for device in answer.cdi_devices], bool(answer.devices)) == (names, has_files)
    assert answer.envs["NPU_DEVNAME"] == "npu0pe0-1"


async def test_an_unknown_id_is_repeated_up_to_a_length_and_a_request_may_have_so_many_containers(
    socket_dir: Path,
) -> None:
    async with calls_to(servicer_of(warboy_card(0)), socket_dir) as stub:
        for length, shown in [(MAX_SHOWN_ID, MAX_SHOWN_ID), (MAX_SHOWN_ID + 1, MAX_SHOWN_ID)]:
            _, text = await refusal(stub, ["x" * length])
            assert ((text or "").count("x"), str(length) in (text or "")) == (shown, length > shown)
        assert len(await allocate(stub, *[["npu0pe0-1"]] * MAX_CONTAINERS)) == MAX_CONTAINERS


async def test_a_stream_that_has_ended_leaves_nothing_waiting(socket_dir: Path) -> None:
    def waiting() -> int:
        coroutines = (task.get_coro() for task in asyncio.all_tasks())
        return sum(getattr(each, "__qualname__", "") == "Event.wait" for each in coroutines)

    servicer = servicer_of(warboy_card(0))
    async with calls_to(servicer, socket_dir) as stub:
        stream = stub.ListAndWatch(api.Empty())
        await read(stream)
        await eventually(lambda: waiting() == 2, "the stream waits for a change and for its end")
        servicer.resend()
        await read(stream)
        servicer.end_streams()
        assert await asyncio.wait_for(stream.read(), PATIENCE) is grpc.aio.EOF
        await eventually(lambda: waiting() == 0, "nothing waits any more")
