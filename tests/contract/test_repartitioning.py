"""Wishes that change while containers hold units: a card is cut anew only when nobody holds it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.checkpoint import CHECKPOINT
from npu_core.partition import UnitId
from npu_core.service.events import SharedEvent
from npu_core.testing import warboy
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import DevicePluginStub
from testkit.services.configured import ConfiguredNode
from testkit.services.node import RESOURCE, MakeNode, Node
from testkit.standins.kubelet import (
    ContainerSpec,
    EventKind,
    Generation,
    PodResourcesBehaviour,
    PodResourcesMode,
    TopologyPolicy,
    UnexpectedAdmissionError,
)
from testkit.standins.kubelet import Event as KubeletEvent
from testkit.standins.scripted_plugin import CHANNEL_OPTIONS, ScriptedPlugin, answer, devices
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

Machine = Callable[..., Awaitable[ConfiguredNode]]


@pytest_asyncio.fixture(loop_scope="module")
async def machine(make_node: MakeNode, pod_resources_dir: Path) -> AsyncIterator[Machine]:
    """Makes a machine with these cards and PodResources; no list on it may ever have had overlapping units."""
    made: list[ConfiguredNode] = []

    async def make(*cards: object, endpoint: bool = False, **settings: object) -> ConfiguredNode:
        node: Node = await make_node(*cards, **({"pod_resources_dir": pod_resources_dir} | settings))
        made.append(ConfiguredNode(node, endpoint=endpoint))
        return made[-1]

    yield make
    for each in made:
        assert not [event for event in each.lists() if _overlapping(event)]


def _overlapping(event: KubeletEvent) -> list[tuple[UnitId, UnitId]]:
    units = [UnitId.parse(device.id) for device in event.devices if device.id.startswith("npu")]
    return [
        (one, other)
        for place, one in enumerate(units)
        for other in units[:place]
        if one.index == other.index and one.cores.overlaps(other.cores)
    ]


def _ids(machine: ConfiguredNode) -> list[str]:
    return [device.id for device in machine.node.listed()]


async def _lists(machine: ConfiguredNode, *ids: str, within: float = PATIENCE) -> None:
    """Wait until the last list has exactly these units, healthy or not."""
    await machine.node.kubelet.until(lambda _: _ids(machine) == list(ids), within)


FETCH_THEN_MAIN = (ContainerSpec("fetch", {RESOURCE: 1}, init=True), ContainerSpec("main"))
"""A pod of which only an init container holds a unit."""


async def _writes(machine: ConfiguredNode, more: int) -> None:
    """Wait until the kubelet has written its checkpoint so many times more.

    The plugin makes it do so after it was asked for its pods and where a pod may have ended, so this is the proof that
    the plugin had its chance to believe so.
    """
    written = machine.node.kubelet.view().checkpoint_writes
    await machine.node.kubelet.until(lambda view: view.checkpoint_writes >= written + more, PATIENCE)


async def _allocate(machine: ConfiguredNode, unit: str) -> None:
    """Ask the plugin for a unit, as a kubelet does."""
    async with grpc.aio.insecure_channel(f"unix:{machine.node.socket}", options=CHANNEL_OPTIONS) as channel:
        request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=[unit])])
        await DevicePluginStub(channel).Allocate(request)


def _streams(machine: ConfiguredNode) -> tuple[int, int, int]:
    """Registrations, streams that ended, and streams there are."""
    view = machine.node.kubelet.view()
    return view.registrations(RESOURCE), view.count(EventKind.STREAM_ENDED, RESOURCE), view.streams(RESOURCE)


# -- cutting anew -----------------------------------------------------------------------------------------------------


async def test_a_free_card_is_cut_anew_at_once_and_a_held_one_when_its_pod_is_gone(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    assert (await there.node.kubelet.run_pod("pod", {RESOURCE: 1})).device_ids == ("npu0pe0-1",)

    there.configure("defaultPe: Single")
    await _lists(there, "npu0pe0-1", "npu1pe0", "npu1pe1")
    await there.node.plugin.until_logged(Event.CARD_KEEPS_UNITS, PATIENCE)
    assert _ids(there) == ["npu0pe0-1", "npu1pe0", "npu1pe1"]
    # What it is held as still comes with the same answer.
    await there.node.kubelet.restart_container("pod")

    there.node.kubelet.delete_pod("pod")
    await _lists(there, "npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")
    assert len(there.node.plugin.logged(Event.CARD_KEEPS_UNITS)) == 1
    assert len((await there.node.kubelet.run_pod("all", {RESOURCE: 4})).device_ids) == 4
    assert _streams(there) == (1, 0, 1)


@pytest.mark.parametrize("generation", list(Generation))
async def test_a_kubelet_restarted_without_its_api_server_frees_no_card(
    machine: Machine, generation: Generation
) -> None:
    there = await machine(warboy(0), warboy(1), generation=generation)
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    there.configure("defaultPe: Single")
    await _lists(there, "npu0pe0-1", "npu1pe0", "npu1pe1")

    there.node.kubelet.stop_api_server()
    await there.node.kubelet.restart()
    await _writes(there, more=2)
    assert _ids(there) == ["npu0pe0-1", "npu1pe0", "npu1pe1"]
    await there.node.kubelet.start_api_server()
    there.node.kubelet.delete_pod("pod")
    await _lists(there, "npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize("change", ["defaultPe: Single", "disabledDevices: [{devName: npu0}]"])
async def test_what_an_init_container_holds_is_given_to_nobody_else(
    machine: Machine, generation: Generation, change: str
) -> None:
    there = await machine(warboy(0), generation=generation)
    await there.up()
    await there.node.offers("npu0pe0-1")
    await there.node.kubelet.run_pod("pod", containers=FETCH_THEN_MAIN)
    before = len(there.lists())

    there.configure(change)
    await there.node.plugin.until_logged(SharedEvent.CONFIGURATION_APPLIED, PATIENCE)
    await _writes(there, more=1)
    there.node.kubelet.stop_api_server()
    await there.node.kubelet.restart()
    await _writes(there, more=1)
    await there.restart_plugin()
    await _writes(there, more=2)

    lists = [{device.id: device.health for device in event.devices} for event in there.lists()[before:]]
    assert lists
    assert {unit for each in lists for unit in each} == {"npu0pe0-1"}
    await there.node.kubelet.start_api_server()
    there.node.kubelet.delete_pod("pod")
    freed = () if "disabled" in change else ("npu0pe0", "npu0pe1")
    await _lists(there, *freed)


async def test_a_unit_that_was_given_out_is_held_although_the_kubelet_names_it_nowhere(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.up()
    await there.node.offers("npu0pe0-1")
    # As a kubelet does that has not yet written down what it was answered.
    await _allocate(there, "npu0pe0-1")

    there.configure("defaultPe: Single")
    await there.node.plugin.until_logged(Event.CARD_KEEPS_UNITS, PATIENCE)
    assert _ids(there) == ["npu0pe0-1"]
    # A kubelet that writes its checkpoint twice without the unit did not take the answer.
    await _lists(there, "npu0pe0", "npu0pe1")


async def test_an_id_of_another_plugin_keeps_the_card_that_it_means(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    there.configure()
    await there.node.kubelet.start()
    other = ScriptedPlugin(there.node.plugin_dir, resource=RESOURCE)
    uuid = there.node.host.card(Arch.WARBOY, 0).plan.uuid
    other.listed = devices(uuid)
    other.on_allocate = lambda _: answer(envs={"CARD": uuid})
    await other.start()
    await other.register()
    await there.node.kubelet.until(lambda view: view.allocatable(RESOURCE) == 1, PATIENCE)
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await other.stop()

    await there.start_plugin()
    view = await there.node.kubelet.until(lambda view: view.healthy(RESOURCE) == {"npu1pe0-1"}, PATIENCE)
    assert view.unhealthy(RESOURCE) == {"npu0pe0-1", uuid}
    there.node.kubelet.delete_pod("pod")
    await there.node.offers("npu0pe0-1", "npu1pe0-1")


@pytest.mark.parametrize("name", ["furiosa.ai/warboy", "example.com/npu"])
async def test_what_is_held_under_the_former_name_of_the_resource_is_given_to_nobody_else(
    machine: Machine, name: str
) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})

    there.configure(f"resourceName: {name}\ndefaultPe: Single")
    await there.restart_plugin()
    await there.node.offers("npu1pe0", "npu1pe1", resource=name)
    assert {device.id for device in there.node.listed(name) if not device.healthy} == {"npu0pe0-1"}
    there.node.kubelet.delete_pod("pod")
    await there.node.offers("npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1", resource=name)


async def test_what_is_held_stays_in_every_list_from_the_first_one_on(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1), topology_policy=TopologyPolicy.BEST_EFFORT)
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    before = len(there.lists())

    there.node.host.card(Arch.WARBOY, 0).disappear()
    await there.restart_plugin()
    for _ in range(3):
        await there.node.kubelet.restart()
        await there.node.kubelet.until(lambda view: view.healthy(RESOURCE) == {"npu1pe0-1"}, PATIENCE)
        await there.node.kubelet.run_pod("other", {RESOURCE: 1})
        there.node.kubelet.delete_pod("other")

    assert not there.node.kubelet.events_of(EventKind.PANICKED)
    assert all("npu0pe0-1" in {device.id for device in event.devices} for event in there.lists()[before:])
    assert {device.numa for device in there.node.listed() if device.id == "npu0pe0-1"} == {(0,)}
    there.node.kubelet.delete_pod("pod")
    await _lists(there, "npu1pe0-1")


async def test_a_restarted_plugin_takes_the_cut_of_a_card_from_the_pod_that_holds_it(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.node.plugin.stop()
    await there.node.kubelet.until(lambda view: view.allocatable(RESOURCE) == 0, PATIENCE)

    there.configure("defaultPe: Single")
    await there.start_plugin()
    await there.node.offers("npu0pe0-1", "npu1pe0", "npu1pe1")

    there.node.kubelet.finish_pod("pod")
    # Nothing was granted by this process, so nothing has to settle.
    await _lists(there, "npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")


async def test_a_kubelet_that_does_not_answer_delays_no_bad_news_and_is_believed_when_it_does(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour(delay=3600.0))
    there.configure("defaultPe: Single")
    await there.node.plugin.until_logged(Event.CANNOT_ASK_KUBELET, PATIENCE)

    there.node.host.card(Arch.WARBOY, 1).die()
    await there.node.offers("npu0pe0-1")

    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour())
    await there.node.plugin.until_logged(Event.KUBELET_ANSWERS, PATIENCE)
    assert _ids(there) == ["npu0pe0-1", "npu1pe0", "npu1pe1"]


@pytest.mark.parametrize("silence", [PodResourcesMode.ABSENT, PodResourcesMode.UNIMPLEMENTED])
async def test_at_a_start_a_kubelet_that_cannot_be_asked_is_known_by_its_checkpoint(
    machine: Machine, silence: PodResourcesMode
) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    assert (await there.node.kubelet.run_pod("pod", {RESOURCE: 1})).device_ids == ("npu0pe0-1",)
    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour(silence))
    before = len(there.lists())

    there.configure("defaultPe: Single")
    await there.restart_plugin()
    await there.node.offers("npu0pe0-1", "npu1pe0", "npu1pe1")
    ids = {device.id for event in there.lists()[before:] for device in event.devices}
    assert ids == {"npu0pe0-1", "npu1pe0", "npu1pe1"}

    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour())
    there.node.kubelet.delete_pod("pod")
    await _lists(there, "npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")


async def test_the_first_list_waits_for_a_checkpoint_that_can_be_read(machine: Machine) -> None:
    there = await machine(warboy(0), endpoint=True)
    await there.up()
    await there.node.offers("npu0pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.node.plugin.stop()
    await there.node.kubelet.stop()
    checkpoint = there.node.plugin_dir / CHECKPOINT
    whole = checkpoint.read_text()
    checkpoint.write_text('{"Data":{"PodDev')

    there.configure("defaultPe: Single")
    await there.start_plugin()
    await there.until_page("/readyz", "waiting for the kubelet checkpoint", PATIENCE)
    assert not there.node.plugin.logged(f"INFO {Event.OFFERING} ")
    checkpoint.write_text(whole)
    await there.node.kubelet.start()
    await there.node.offers("npu0pe0-1")
    assert len(there.node.plugin.logged(Event.WAITING_FOR_CHECKPOINT)) == 1


# -- disabled devices -------------------------------------------------------------------------------------------------


async def test_a_held_card_that_is_disabled_is_unhealthy_until_it_is_free_and_then_gone(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.restart_plugin()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")

    there.configure("disabledDevices: [{devName: npu0}]")
    view = await there.node.kubelet.until(lambda view: view.unhealthy(RESOURCE) == {"npu0pe0-1"}, PATIENCE)
    assert view.healthy(RESOURCE) == {"npu1pe0-1"}
    with pytest.raises(UnexpectedAdmissionError):
        await there.node.kubelet.run_pod("refused", {RESOURCE: 2})

    there.node.kubelet.delete_pod("pod")
    await _lists(there, "npu1pe0-1")


# -- the file ---------------------------------------------------------------------------------------------------------


async def test_no_live_change_ends_the_stream_or_registers_anew(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    plugin = there.node.plugin

    there.configure("defaultPe: Single", interval="0.5")
    await there.node.offers("npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")
    there.configure("defaultPe: Single\ndisabledDevices: [{devName: npu1}]", interval="2")
    await there.node.offers("npu0pe0", "npu0pe1")
    there.configure()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")

    assert _streams(there) == (1, 0, 1)
    assert plugin.running
    assert len(plugin.logged(SharedEvent.CONFIGURATION_APPLIED)) == 3


async def test_a_broken_file_changes_nothing_and_a_mended_one_counts(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.up()
    await there.node.offers("npu0pe0-1")

    there.configure("defaultPe: Triple\nnonsense: 1")
    await there.node.plugin.until_logged(SharedEvent.CONFIGURATION_REFUSED, PATIENCE, times=2)
    assert (await there.node.kubelet.run_pod("pod", {RESOURCE: 1})).device_ids == ("npu0pe0-1",)
    there.node.kubelet.delete_pod("pod")
    there.path.unlink()
    await there.node.plugin.until_logged(SharedEvent.CONFIGURATION_REFUSED, PATIENCE, times=3)
    # The plugin may send the same list once more after an allocation, so that the kubelet writes its checkpoint.
    assert len({event.devices for event in there.lists()}) == 1
    assert _streams(there) == (1, 0, 1)

    there.configure("disabledDevices: [{devName: npu9}]")
    await there.node.plugin.until_logged(SharedEvent.CONFIGURATION_APPLIED, PATIENCE)
    assert there.node.plugin.running


# -- CDI --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("injection", ["cdi", "both"])
async def test_a_container_gets_names_that_a_runtime_can_look_up(machine: Machine, injection: str) -> None:
    there = await machine(warboy(0))
    cdi_dir = there.node.home / "cdi"
    await there.up(f"deviceInjection: {injection}\ncdiDir: {cdi_dir}\ndefaultPe: Single")
    await there.node.offers("npu0pe0", "npu0pe1")
    [file] = cdi_dir.glob("*.json")

    admitted = await there.node.kubelet.run_pod("pod", {RESOURCE: 1})

    [name] = admitted.cdi_devices
    kind, _, unit = name.partition("=")
    document = json.loads(file.read_text())
    [paths] = [
        [node["path"] for node in device["containerEdits"]["deviceNodes"]]
        for device in document["devices"]
        if (document["kind"], device["name"]) == (kind, unit)
    ]
    assert (admitted.device_ids, f"/dev/{unit}" in paths) == ((unit,), True)
    assert [node.host_path for node in admitted.devices] == ([] if injection == "cdi" else paths)
    assert admitted.env["NPU_DEVNAME"] == unit


async def test_after_a_change_back_to_files_the_cdi_file_stays_for_as_long_as_a_pod_of_before(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    cdi_dir = there.node.home / "cdi"
    await there.up(f"deviceInjection: cdi\ncdiDir: {cdi_dir}")
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("before", {RESOURCE: 1})
    (cdi_dir / "other.json").write_text("{}")

    there.configure(f"deviceInjection: files\ncdiDir: {cdi_dir}", interval="0.5")
    await there.restart_plugin()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    assert not (await there.node.kubelet.run_pod("after", {RESOURCE: 1})).cdi_devices
    # Two looks at the cards, in which the plugin has its chance to remove the file.
    there.node.host.card(Arch.WARBOY, 1).die()
    await there.node.kubelet.until(lambda view: view.unhealthy(RESOURCE) == {"npu1pe0-1"}, PATIENCE)
    there.node.host.card(Arch.WARBOY, 1).revive()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    assert len(list(cdi_dir.iterdir())) == 2

    there.node.kubelet.delete_pod("before")
    await there.node.plugin.until_logged(Event.CDI_FILES_REMOVED, PATIENCE)
    assert [path.name for path in cdi_dir.iterdir()] == ["other.json"]


# -- the endpoint -----------------------------------------------------------------------------------------------------


async def test_it_is_ready_while_it_is_registered_and_alive_all_the_time(machine: Machine) -> None:
    there = await machine(warboy(0), endpoint=True)
    there.configure()
    await there.start_plugin()
    await there.until_page("/readyz", f"not registered: {RESOURCE}", PATIENCE)
    assert await there.get("/healthz") == (200, "alive\n")

    await there.node.kubelet.start()
    await there.until_page("/readyz", "200", PATIENCE)
    await there.node.kubelet.stop()
    await there.until_page("/readyz", "503", PATIENCE)
    await there.node.kubelet.start()
    await there.until_page("/readyz", "200", PATIENCE)

    page = await there.until_page("/metrics", "npu_device_plugin_registered{", PATIENCE)
    assert f'npu_device_plugin_registered{{resource="{RESOURCE}"}} 1.0' in page
    assert f'npu_device_plugin_registrations_total{{cause="start",resource="{RESOURCE}"}} 1.0' in page
    assert (await there.get("/healthz"))[0] == 200


async def test_a_client_that_says_nothing_does_not_delay_the_end(machine: Machine) -> None:
    there = await machine(warboy(0), endpoint=True)
    await there.up()
    await there.until_page("/readyz", "200", PATIENCE)
    _, silent = await asyncio.open_connection("127.0.0.1", there.port)
    silent.write(b"GET /")
    await silent.drain()
    await there.get("/healthz")

    assert await there.node.plugin.stop() == 0
    assert not there.node.plugin.logged("Traceback")
    silent.close()
