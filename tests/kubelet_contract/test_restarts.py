"""What a restart of the kubelet changes, with and without an API server."""

import asyncio
import socket

import pytest

from testkit.standins.scripted_plugin import ScriptedPlugin, device, devices
from tests.kubelet_contract.plugin import Advertise, given
from tests.kubelet_contract.seen import pods_listed, recorded, until_written, written
from tests.kubelet_contract.subject import Kubelet, until, until_units


async def _back(kubelet: Kubelet, plugin: ScriptedPlugin) -> None:
    """Let the plugin whose socket a starting kubelet removed serve again, and be listed."""
    await plugin.stop()
    await plugin.start()
    before = written(kubelet)
    await plugin.register()
    await until_written(kubelet, before)


async def _restart(kubelet: Kubelet, policy: str = "none") -> None:
    await kubelet.stop()
    await kubelet.start(policy)


async def test_a_start_removes_sockets_and_nothing_else(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.stop()
    (kubelet.plugin_dir / "a-file").touch()
    (kubelet.plugin_dir / "a-folder").mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(kubelet.plugin_dir / "stale"))

    await kubelet.start()

    left = {path.name for path in kubelet.plugin_dir.iterdir()}
    assert {"a-file", "a-folder", "kubelet.sock", "kubelet_internal_checkpoint"} <= left
    assert left.isdisjoint({"stale", plugin.socket})


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_kubelet_that_has_ended_leaves_sockets_that_refuse(kubelet: Kubelet, end: str) -> None:
    await getattr(kubelet, end)()

    for path in (kubelet.plugin_dir / "kubelet.sock", kubelet.pod_resources):
        with socket.socket(socket.AF_UNIX) as caller, pytest.raises(ConnectionRefusedError):
            caller.connect(str(path))


async def test_a_restart_ends_the_stream_and_nobody_calls_the_plugin_again(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0"))

    await _restart(kubelet)

    await asyncio.wait_for(plugin.streams[0].closed.wait(), 60)
    await until_units(kubelet, 0, 0)
    assert (await kubelet.units()).named
    assert len(plugin.streams) == plugin.options_calls == 1


async def test_after_a_restart_a_pod_runs_on_and_keeps_its_units(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1"))
    await kubelet.run("pod", 1)
    [units] = given(plugin)

    await _restart(kubelet)

    await until_listed(kubelet, "pod", units)
    await _back(kubelet, plugin)
    await until_units(kubelet, 2, 2)
    assert (await kubelet.pod("pod")).phase == "Running"
    assert (await kubelet.run("other", 2)).refused
    assert (await kubelet.run("another", 1)).phase == "Running"
    assert given(plugin)[1].isdisjoint(units)


async def until_listed(kubelet: Kubelet, pod: str, units: set[str]) -> None:
    """Wait until PodResources has the pod, with these units in its main container."""

    async def listed() -> bool:
        return (await pods_listed(kubelet)).get(pod) == {"main": units}

    await until(listed, f"{pod} is listed with {units}")


async def test_after_a_restart_a_pod_is_refused_until_the_plugin_is_back(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0"))
    await _restart(kubelet)

    state = await kubelet.run("early", 1)

    assert state.reason == "UnexpectedAdmissionError"
    assert "no healthy devices present" in state.message
    await _back(kubelet, plugin)
    await until_units(kubelet, 1, 1)
    assert (await kubelet.run("late", 1)).phase == "Running"


async def test_after_a_restart_a_container_starts_again_while_no_plugin_serves(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.run("pod", 1, restarts=True)
    await _restart(kubelet)
    await until_listed(kubelet, "pod", {"u0"})

    assert (await kubelet.start_again("pod")).phase == "Running"

    assert await kubelet.units_variable("pod") == "u0"
    assert len(given(plugin)) == 1


async def test_without_the_api_server_a_started_kubelet_lists_no_pod_and_forgets_none(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.run("pod", 1)
    uid = await kubelet.uid("pod")
    await kubelet.stop_api_server()
    await _restart(kubelet)

    assert await pods_listed(kubelet) == {}
    await _back(kubelet, plugin)
    assert await pods_listed(kubelet) == {}
    before = written(kubelet)
    plugin.send(devices("u0", "u1"))
    await until_written(kubelet, before)
    assert list(recorded(kubelet)) == [(uid, "main")]

    await kubelet.start_api_server()
    await until_listed(kubelet, "pod", {"u0"})
    assert (await kubelet.pod("pod")).phase == "Running"


async def test_a_kubelet_that_knows_its_pods_goes_on_to_list_them_without_the_api_server(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    await advertise(devices("u0"))
    await kubelet.run("pod", 1)

    await kubelet.stop_api_server()

    assert (await pods_listed(kubelet))["pod"] == {"main": {"u0"}}
    await kubelet.start_api_server()


async def _restart_with_first_list(kubelet: Kubelet, plugin: ScriptedPlugin, policy: str, listed: list[str]) -> None:
    """Restart the kubelet, and let it have the plugin's first list before it has heard of its pods."""
    await kubelet.stop_api_server()
    await _restart(kubelet, policy)
    plugin.listed = [device(name, numa=(0,)) for name in listed]
    await _back(kubelet, plugin)
    await kubelet.start_api_server()


@pytest.mark.parametrize("policy", ["best-effort", "restricted", "single-numa-node"])
async def test_with_a_topology_policy_the_kubelet_panics_when_a_held_unit_is_not_in_the_first_list(
    kubelet: Kubelet, advertise: Advertise, policy: str
) -> None:
    plugin = await advertise([device("u0", numa=(0,))])
    await kubelet.run("pod", 1)

    await _restart_with_first_list(kubelet, plugin, policy, ["u1"])

    assert await until(kubelet.panics, "the kubelet panics") == 1
    assert not await kubelet.lives()


@pytest.mark.parametrize(
    ("policy", "listed"), [("none", ["u1"]), ("best-effort", ["u0", "u1"])], ids=["no policy", "listed"]
)
async def test_the_kubelet_lives_without_a_topology_policy_or_with_the_held_unit_in_the_first_list(
    kubelet: Kubelet, advertise: Advertise, policy: str, listed: list[str]
) -> None:
    plugin = await advertise([device("u0", numa=(0,))])
    await kubelet.run("pod", 1)

    await _restart_with_first_list(kubelet, plugin, policy, listed)

    await until_listed(kubelet, "pod", {"u0"})
    assert await kubelet.lives()
    assert await kubelet.panics() == 0
    assert (await kubelet.pod("pod")).phase == "Running"


async def test_the_kubelet_lives_when_no_unit_of_the_first_list_has_a_numa_node(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise([device("u0", numa=(0,))])
    await kubelet.run("pod", 1)
    await kubelet.stop_api_server()
    await _restart(kubelet, "best-effort")
    plugin.listed = devices("u1")
    await _back(kubelet, plugin)

    await kubelet.start_api_server()

    await until_listed(kubelet, "pod", {"u0"})
    assert await kubelet.panics() == 0


async def test_a_restart_while_no_plugin_serves_refuses_a_pod_whose_init_container_with_units_has_ended(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    await advertise(devices("u0"))
    await kubelet.run("pod", 1, init=1)
    await kubelet.finish("pod", "init")

    await _restart(kubelet)

    async def refused() -> bool:
        return (await kubelet.pod("pod")).refused

    await until(refused, "the pod is refused")
    assert "no healthy devices present" in (await kubelet.pod("pod")).message


async def test_a_restart_while_no_plugin_serves_refuses_a_pod_whose_init_container_runs(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    await advertise(devices("u0"))
    await kubelet.run("pod", 1, init=1)

    await _restart(kubelet)

    async def refused() -> bool:
        return (await kubelet.pod("pod")).refused

    await until(refused, "the pod is refused")


async def test_a_restart_while_the_plugin_serves_again_refuses_nobody(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.run("pod", 1, init=1)
    await kubelet.finish("pod", "init")
    await kubelet.stop_api_server()
    await _restart(kubelet)
    await _back(kubelet, plugin)

    await kubelet.start_api_server()

    await until_listed(kubelet, "pod", {"u0"})
    assert (await kubelet.pod("pod")).phase == "Running"


async def test_without_its_checkpoint_a_started_kubelet_leaves_the_status_as_it_was_and_gives_nothing_out(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    await advertise(devices("u0"))
    await kubelet.run("pod", 1)
    await until_units(kubelet, 1, 1)
    await kubelet.stop()
    (kubelet.plugin_dir / "kubelet_internal_checkpoint").unlink()

    await kubelet.start()

    state = await kubelet.run("other", 1)
    assert state.reason == f"OutOf{kubelet.resource}"
    seen = await kubelet.units()
    assert (seen.allocatable, seen.capacity) == (1, 1)


async def test_units_near_each_other_are_chosen_by_the_topology_manager(kubelet: Kubelet, advertise: Advertise) -> None:
    await _restart(kubelet, "single-numa-node")
    plugin = await advertise(
        [device("u0", numa=(0,)), device("u1", numa=(1,)), device("u2", numa=(1,)), device("u3", numa=(0,))]
    )
    await kubelet.run("first", 1)
    [units] = given(plugin)

    await kubelet.run("second", 2)

    far = {"u1", "u2"} if units <= {"u0", "u3"} else {"u0", "u3"}
    assert given(plugin)[1] == far
    state = await kubelet.run("third", 2)
    assert (state.phase, state.reason) == ("Failed", "TopologyAffinityError")
