"""How a plugin becomes known to the kubelet, and what becomes of a second one."""

import asyncio

import grpc
import grpc.aio
import pytest

from testkit.standins.scripted_plugin import Failure, ScriptedPlugin, devices
from tests.kubelet_contract.plugin import Advertise, given
from tests.kubelet_contract.seen import registered
from tests.kubelet_contract.subject import Kubelet, until_units


async def _refusal(plugin: ScriptedPlugin, **request: str) -> tuple[grpc.StatusCode, str]:
    """Why Register is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await plugin.register(**request)  # type: ignore[arg-type]  # version or resource
    return caught.value.code(), str(caught.value.details())


async def test_the_kubelet_asks_for_the_options_and_opens_one_stream(advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1"))

    assert plugin.options_calls == 1
    assert len(plugin.streams) == 1
    assert not plugin.streams[0].closed.is_set()


async def test_an_unknown_version_is_refused(advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"), register=False)

    assert await _refusal(plugin, version="v2") == (
        grpc.StatusCode.UNKNOWN,
        'requested API version "v2" is not supported by kubelet. Supported version is ["v1beta1"]',
    )
    assert plugin.options_calls == 0


@pytest.mark.parametrize("name", ["unit", "example.kubernetes.io/unit", "requests.example.com/unit", "a.test/unit!"])
async def test_a_name_that_is_no_extended_resource_is_refused(advertise: Advertise, name: str) -> None:
    plugin = await advertise(devices("u0"), register=False)

    assert await _refusal(plugin, resource=name) == (
        grpc.StatusCode.UNKNOWN,
        f'the ResourceName "{name}" is invalid',
    )
    assert plugin.options_calls == 0


async def test_a_plugin_that_serves_nothing_is_refused(advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"), register=False)
    await plugin.stop()

    code, text = await _refusal(plugin)

    assert code is grpc.StatusCode.UNKNOWN
    assert text.startswith("failed to dial device plugin: ")


async def test_a_plugin_that_fails_to_tell_its_options_is_refused(advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"), register=False)
    plugin.options = Failure(grpc.StatusCode.INTERNAL, "not yet")

    assert await _refusal(plugin) == (
        grpc.StatusCode.UNKNOWN,
        "failed to get device plugin options: rpc error: code = Internal desc = not yet",
    )
    assert plugin.streams == []


async def test_a_registration_without_a_list_makes_no_resource(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(None)
    await plugin.opened(1)

    assert not (await kubelet.units()).named
    assert registered(kubelet) is None


async def test_the_plugin_that_registered_last_gets_the_calls(kubelet: Kubelet, advertise: Advertise) -> None:
    first = await advertise(devices("u0", "u1"), socket="first")
    second = await advertise(devices("u0", "u1"), socket="second")

    await kubelet.run("pod", 1)

    assert (len(given(first)), len(given(second))) == (0, 1)
    assert len(first.open_streams) == len(second.open_streams) == 1


@pytest.mark.releases(since=37)
async def test_when_the_first_of_two_plugins_ends_the_second_goes_on(kubelet: Kubelet, advertise: Advertise) -> None:
    first = await advertise(devices("u0", "u1"), socket="first")
    second = await advertise(devices("u0", "u1"), socket="second")

    await first.stop()

    await kubelet.run("pod", 1)
    assert len(given(second)) == 1
    await until_units(kubelet, 2, 2)
    assert len(second.open_streams) == 1


@pytest.mark.releases(until=36)
async def test_when_the_first_of_two_plugins_ends_the_second_loses_its_stream(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    first = await advertise(devices("u0", "u1"), socket="first")
    second = await advertise(devices("u0", "u1"), socket="second")

    await first.stop()

    await asyncio.wait_for(second.streams[0].closed.wait(), 60)
    await until_units(kubelet, 0, 2)
    await second.register()
    await until_units(kubelet, 2, 2)


@pytest.mark.releases(since=37)
async def test_a_socket_that_is_registered_is_refused(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))

    assert await _refusal(plugin) == (
        grpc.StatusCode.UNKNOWN,
        f"device plugin already connected: {kubelet.registers_at / plugin.socket}",
    )
    assert (plugin.options_calls, len(plugin.streams), len(plugin.open_streams)) == (2, 1, 1)


async def _refused_and_ended(kubelet: Kubelet, advertise: Advertise) -> ScriptedPlugin:
    """A plugin that registered twice, was refused the second time, and whose only stream has ended since."""
    plugin = await advertise(devices("u0"))
    await until_units(kubelet, 1, 1)
    await _refusal(plugin)
    plugin.end(plugin.streams[0])
    await plugin.streams[0].closed.wait()
    return plugin


async def _nothing_changes(kubelet: Kubelet, allocatable: int, capacity: int) -> None:
    """See for some seconds, in which the node's status is written more than once, that it stays as it is."""
    for _ in range(6):
        seen = await kubelet.units()
        assert (seen.allocatable, seen.capacity) == (allocatable, capacity)
        await asyncio.sleep(0.5)


@pytest.mark.releases(since=37)
async def test_after_a_refusal_the_kubelet_does_not_notice_the_end_of_the_stream(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await _refused_and_ended(kubelet, advertise)

    await _nothing_changes(kubelet, 1, 1)

    # So the socket counts as connected, until the kubelet restarts.
    assert (await _refusal(plugin))[1].startswith("device plugin already connected: ")
    await kubelet.stop()
    await kubelet.start()
    await plugin.stop()
    await plugin.start()
    await plugin.register()
    await until_units(kubelet, 1, 1)


@pytest.mark.releases(since=37)
async def test_after_a_refusal_another_socket_serves_the_resource(kubelet: Kubelet, advertise: Advertise) -> None:
    await _refused_and_ended(kubelet, advertise)
    await _nothing_changes(kubelet, 1, 1)

    other = await advertise(devices("u0", "u1"), socket="other")
    await kubelet.run("pod", 2)

    assert len(given(other)) == 1
    await until_units(kubelet, 2, 2)
    await other.stop()
    # The first one, which the kubelet still counts as a plugin, keeps the units healthy.
    await _nothing_changes(kubelet, 2, 2)


async def test_after_a_registration_that_failed_the_kubelet_does_not_notice_the_end_of_the_stream_before(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0"))
    await until_units(kubelet, 1, 1)
    plugin.options = Failure(grpc.StatusCode.INTERNAL, "not now")
    assert "not now" in (await _refusal(plugin))[1]

    plugin.end(plugin.streams[0])
    await plugin.streams[0].closed.wait()

    await _nothing_changes(kubelet, 1, 1)
    # The connection is not closed: whoever serves the socket gets calls.
    assert (await kubelet.run("pod", 1)).phase == "Running"
    assert given(plugin) == [{"u0"}]


@pytest.mark.releases(until=36)
async def test_a_socket_that_is_registered_is_taken_anew(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))

    await plugin.register()
    await plugin.opened(2)

    await until_units(kubelet, 1, 1)


async def test_a_plugin_may_register_again_when_its_stream_ended(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    plugin.end(plugin.streams[0])
    await until_units(kubelet, 0, 1)

    await plugin.register()

    await until_units(kubelet, 1, 1)
    assert len(plugin.streams) == 2


async def test_the_kubelet_never_calls_a_plugin_back_by_itself(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    await plugin.stop()
    await until_units(kubelet, 0, 1)

    await plugin.start()
    state = await kubelet.run("pod", 1)

    assert state.refused
    assert len(plugin.streams) == 1
    assert given(plugin) == []


async def test_another_plugin_serves_another_resource(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    other = ScriptedPlugin(kubelet.plugin_dir, f"{kubelet.resource}-b", f"b-{plugin.socket}")
    other.listed = devices("u0", "u1")
    await other.start()
    await other.register()

    await other.opened(1)
    await other.stop()

    await until_units(kubelet, 1, 1)
    assert len(plugin.open_streams) == 1
