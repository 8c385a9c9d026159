"""Which units a pod gets, what the plugin is asked, and why a pod is refused."""

import asyncio

import grpc
import pytest

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.standins.scripted_plugin import PREFERS, Failure, device, devices
from tests.kubelet_contract.plugin import Advertise, given, tells_units
from tests.kubelet_contract.seen import pods_listed
from tests.kubelet_contract.subject import Kubelet, until_units

FOUR = ("u0", "u1", "u2", "u3")
_REFUSED = "UnexpectedAdmissionError"


def _because(cause: str) -> str:
    """The message of a pod that was refused for this cause."""
    return f"Pod was rejected: Allocate failed due to {cause}, which is unexpected"


async def test_each_container_is_one_call_for_exactly_its_units(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices(*FOUR))

    await kubelet.run("pod", 2, sidecar=1)

    assert [len(call.container_requests) for call in plugin.allocations] == [1, 1]
    sidecar, main = given(plugin)
    assert (len(sidecar), len(main)) == (1, 2)
    assert sidecar.isdisjoint(main)
    assert await kubelet.units_variable("pod") == ",".join(sorted(main))


async def test_a_pod_that_asks_for_nothing_is_no_call(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))

    await kubelet.run("pod", 0)

    assert given(plugin) == []


async def test_the_preference_is_asked_for_only_if_offered(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices(*FOUR))

    await kubelet.run("pod", 1)

    assert plugin.preferences == []


async def test_the_preference_is_asked_for_over_all_that_is_free_and_followed(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise([*devices(*FOUR), device("u4", "Unhealthy")], options=PREFERS)
    plugin.on_prefer = lambda asked: ["u2", "u0"][: asked.allocation_size]
    await kubelet.run("first", 2)
    plugin.on_prefer = lambda _: ["u3"]

    await kubelet.run("second", 1)

    asked = plugin.preferences[1]
    assert set(asked.available_deviceIDs) == {"u1", "u3"}
    assert (list(asked.must_include_deviceIDs), asked.allocation_size) == ([], 1)
    assert given(plugin) == [{"u0", "u2"}, {"u3"}]


async def test_a_preference_that_names_too_few_or_foreign_units_is_filled_up(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices(*FOUR), options=PREFERS)
    plugin.on_prefer = lambda _: ["foreign", "u3", "u3"]

    await kubelet.run("pod", 2)

    [units] = given(plugin)
    assert "u3" in units
    assert len(units) == 2
    assert units < set(FOUR)


async def test_what_the_init_container_had_must_be_in_the_preference(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices(*FOUR), options=PREFERS)
    plugin.on_prefer = lambda _: ["u1"]

    await kubelet.run("pod", 2, init=1)

    asked = plugin.preferences[1]
    assert set(asked.available_deviceIDs) == set(FOUR)
    assert (list(asked.must_include_deviceIDs), asked.allocation_size) == (["u1"], 2)
    init, main = given(plugin)
    assert init == {"u1"} < main


async def test_the_units_of_an_init_container_are_enough_for_main(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1"), options=PREFERS)

    await kubelet.run("pod", 1, init=2)
    await kubelet.finish("pod", "init")

    init, main = given(plugin)
    assert main < init
    assert len(plugin.preferences) == 1
    assert await kubelet.units_variable("pod") == "".join(main)


async def test_the_units_of_a_sidecar_are_not_given_to_main(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))

    state = await kubelet.run("pod", 1, sidecar=1)

    assert state.message == _because(
        f"requested number of devices unavailable for {kubelet.resource}. Requested: 1, Available: 0"
    )
    assert len(given(plugin)) == 1


async def test_a_pod_that_asks_for_more_than_is_free_is_refused(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise([*devices(*FOUR), device("u4", "Unhealthy")])
    await kubelet.run("first", 2)

    state = await kubelet.run("second", 3)

    assert (state.phase, state.reason) == ("Failed", _REFUSED)
    assert state.message == _because(
        f"requested number of devices unavailable for {kubelet.resource}. Requested: 3, Available: 2"
    )
    assert len(given(plugin)) == 1


async def test_a_pod_is_refused_while_no_unit_is_healthy(kubelet: Kubelet, advertise: Advertise) -> None:
    await advertise([device("u0", "Unhealthy")])

    state = await kubelet.run("pod", 1)

    assert state.reason == _REFUSED
    assert state.message == _because(
        f"no healthy devices present; cannot allocate unhealthy devices {kubelet.resource}"
    )


async def test_a_pod_that_asks_for_a_resource_that_the_kubelet_never_heard_of_runs_without(kubelet: Kubelet) -> None:
    state = await kubelet.run("pod", 1)

    assert state.phase == "Running"
    assert await kubelet.units_variable("pod") == ""
    assert (await pods_listed(kubelet))["pod"] == {"main": set()}


async def test_a_pod_is_refused_when_allocate_fails_and_the_units_are_free_again(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0", "u1"))
    plugin.on_allocate = lambda _: Failure(grpc.StatusCode.NOT_FOUND, "no such unit")

    state = await kubelet.run("first", 1)

    assert state.reason == _REFUSED
    assert state.message == _because("rpc error: code = NotFound desc = no such unit")
    assert len(given(plugin)) == 1
    plugin.on_allocate = tells_units
    assert (await kubelet.run("second", 2)).phase == "Running"


async def test_a_pod_is_refused_when_the_preference_fails(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1"), options=PREFERS)
    plugin.on_prefer = lambda _: Failure(grpc.StatusCode.INTERNAL, "cannot think")

    state = await kubelet.run("pod", 1)

    assert state.reason == _REFUSED
    assert state.message == _because(
        "device plugin GetPreferredAllocation rpc failed with err: rpc error: code = Internal desc = cannot think"
    )
    assert given(plugin) == []


async def test_units_of_an_answer_without_containers_stay_in_use_until_the_next_failure(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0", "u1"))
    plugin.on_allocate = lambda _: api.AllocateResponse()

    state = await kubelet.run("first", 1)

    assert state.reason == _REFUSED
    assert state.message == _because("no containers return in allocation response ")
    plugin.on_allocate = tells_units
    assert (await kubelet.run("second", 2)).message == _because(
        f"requested number of devices unavailable for {kubelet.resource}. Requested: 2, Available: 1"
    )


async def test_what_the_first_container_got_is_free_when_the_second_is_refused(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    await advertise(devices("u0", "u1"))

    assert (await kubelet.run("first", 2, sidecar=1)).reason == _REFUSED

    assert (await kubelet.run("second", 2)).phase == "Running"


async def test_a_pod_waits_for_a_slow_allocate_and_so_does_the_next_pod(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1"))
    plugin.hangs = True
    first = asyncio.create_task(kubelet.run("first", 1))
    await asyncio.wait_for(plugin.asked_to_allocate.wait(), 60)
    second = asyncio.create_task(kubelet.run("second", 1))

    # PodResources answers meanwhile, and does not know yet who gets the unit.
    assert not any((await pods_listed(kubelet)).get("first", {}).values())
    plugin.send([*devices("u0", "u1"), device("u2", "Unhealthy")])
    await until_units(kubelet, 2, 3)
    assert len(given(plugin)) == 1
    plugin.hangs = False
    plugin.go_on.set()

    assert [(await pod).phase for pod in (first, second)] == ["Running", "Running"]
    one, other = given(plugin)
    assert one.isdisjoint(other)


async def test_a_container_that_starts_again_gets_the_old_answer_without_a_call(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0", "u1"))
    await kubelet.run("pod", 1, restarts=True)
    units = await kubelet.units_variable("pod")
    plugin.on_allocate = lambda _: Failure(grpc.StatusCode.INTERNAL, "not again")

    assert (await kubelet.start_again("pod")).phase == "Running"

    assert units
    assert await kubelet.units_variable("pod") == units
    assert len(given(plugin)) == 1


@pytest.mark.parametrize("listed", [[device("u0", "Unhealthy")], []], ids=["unhealthy", "not listed"])
async def test_a_container_starts_again_whatever_became_of_its_unit(
    kubelet: Kubelet, advertise: Advertise, listed: list[api.Device]
) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.run("pod", 1, restarts=True)
    plugin.send(listed)
    await until_units(kubelet, 0, len(listed))

    assert (await kubelet.start_again("pod")).phase == "Running"

    assert await kubelet.units_variable("pod") == "u0"


async def test_a_container_starts_again_while_no_plugin_serves(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.run("pod", 1, restarts=True)
    await plugin.stop()
    await until_units(kubelet, 0, 1)

    assert (await kubelet.start_again("pod")).phase == "Running"

    assert await kubelet.units_variable("pod") == "u0"
