"""Wishes that change while containers hold units: a card is cut anew only when nobody holds it."""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from contract.configured import ConfiguredNode
from contract.node import DEATH_KNOWN, PATIENCE, RESOURCE, MakeNode, Node
from npu_core.arch import Arch
from npu_core.partition import UnitId
from npu_core.testing import rngd, warboy
from npu_device_plugin.checkpoint import CHECKPOINT
from npu_device_plugin.cutting import SETTLE
from standins.kubelet import Event, EventKind, PodResourcesBehaviour, PodResourcesMode, UnexpectedAdmissionError

pytestmark = pytest.mark.asyncio(loop_scope="module")

Machine = Callable[..., Awaitable[ConfiguredNode]]

AT_ONCE = 1.5
"""Seconds from a change of the file until the kubelet knows: a pulse and some."""
NOTHING_HAPPENS = 1.2
SETTLED = SETTLE + 3.0
"""Seconds after a grant, at most, until the end of its pod is believed."""


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


@pytest.fixture
def pod_resources_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="r-"))
    yield path / "pods"
    shutil.rmtree(path)


def _overlapping(event: Event) -> list[tuple[UnitId, UnitId]]:
    units = [UnitId.parse(device.id) for device in event.devices]
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
    await _lists(there, "npu0pe0-1", "npu1pe0", "npu1pe1", within=AT_ONCE)
    await there.node.plugin.until_logged("card keeps its units for now", PATIENCE)
    await asyncio.sleep(NOTHING_HAPPENS)
    assert _ids(there) == ["npu0pe0-1", "npu1pe0", "npu1pe1"]
    # What it is held as still comes with the same answer.
    await there.node.kubelet.restart_container("pod")

    there.node.kubelet.delete_pod("pod")
    await _lists(there, "npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1", within=SETTLED)
    assert len(there.node.plugin.logged("card keeps its units for now")) == 1
    assert len((await there.node.kubelet.run_pod("all", {RESOURCE: 4})).device_ids) == 4
    assert _streams(there) == (1, 0, 1)


async def test_a_restarted_kubelet_that_has_not_heard_of_its_pods_yet_frees_no_card(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up("defaultPe: Single")
    await there.node.offers("npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    # Listed at least once, so that nothing but the listing speaks for it.
    await asyncio.sleep(SETTLE)
    there.configure("defaultPe: Fusion")
    await _lists(there, "npu0pe0", "npu0pe1", "npu1pe0-1")

    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour(pods_after=1.5))
    await there.node.kubelet.restart()
    await there.node.offers("npu0pe0", "npu0pe1", "npu1pe0-1")
    await asyncio.sleep(SETTLED - SETTLE)
    assert _ids(there) == ["npu0pe0", "npu0pe1", "npu1pe0-1"]
    assert not [event for event in there.lists() if "npu0pe0-1" in [device.id for device in event.devices]]


async def test_half_a_card_in_use_keeps_the_other_half_from_being_fused(machine: Machine) -> None:
    there = await machine(warboy(0), rngd(0))
    await there.up("defaultPe: Single")
    await there.node.offers("npu0pe0", "npu0pe1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.restart_plugin()
    await there.node.offers("npu0pe0", "npu0pe1")

    there.configure("defaultPe: Fusion")
    await there.node.plugin.until_logged("card keeps its units for now", PATIENCE)
    assert _ids(there) == ["npu0pe0", "npu0pe1"]
    assert len((await there.node.kubelet.run_pod("other", {RESOURCE: 1})).device_ids) == 1

    there.node.kubelet.delete_pod("pod")
    await asyncio.sleep(NOTHING_HAPPENS)
    assert _ids(there) == ["npu0pe0", "npu0pe1"]


async def test_a_wish_that_is_taken_back_leaves_everything_as_it_was(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.up()
    await there.node.offers("npu0pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    messages = len(there.lists())

    there.configure("defaultPe: Single")
    await there.node.plugin.until_logged("card keeps its units for now", PATIENCE)
    there.configure("defaultPe: Fusion")
    await there.node.plugin.until_logged("setting changed", PATIENCE, times=2)
    there.node.kubelet.delete_pod("pod")
    await asyncio.sleep(NOTHING_HAPPENS)

    assert len(there.lists()) == messages


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
    await _lists(there, "npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1", within=SETTLE / 2)


async def test_without_podresources_a_card_keeps_its_cut(machine: Machine) -> None:
    there = await machine(warboy(0), pod_resources_dir=None)
    await there.up()
    await there.node.offers("npu0pe0-1")

    there.configure("defaultPe: Single")
    await there.node.plugin.until_logged("card keeps its units for now", PATIENCE)
    await asyncio.sleep(NOTHING_HAPPENS)

    assert _ids(there) == ["npu0pe0-1"]
    assert len(there.node.plugin.logged("cannot ask the kubelet")) == 1


async def test_a_kubelet_that_refuses_to_tell_is_asked_until_it_does(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour(PodResourcesMode.RESOURCE_EXHAUSTED))
    await there.up()
    await there.node.offers("npu0pe0-1")
    there.configure("defaultPe: Single")
    await there.node.plugin.until_logged("card keeps its units for now", PATIENCE)

    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour())
    await _lists(there, "npu0pe0", "npu0pe1")


async def test_a_kubelet_that_does_not_answer_delays_no_bad_news_and_is_believed_when_it_does(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour(delay=3600.0))
    there.configure("defaultPe: Single")
    await there.node.plugin.until_logged("cannot ask the kubelet", PATIENCE)

    died = time.monotonic()
    there.node.host.card(Arch.WARBOY, 1).die()
    assert await there.node.delay(EventKind.LIST_MESSAGE, died) < DEATH_KNOWN

    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour())
    await there.node.plugin.until_logged("the kubelet tells who holds what", PATIENCE)
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
    await asyncio.sleep(NOTHING_HAPPENS)
    ids = {device.id for event in there.lists()[before:] for device in event.devices}
    assert ids == {"npu0pe0-1", "npu1pe0", "npu1pe1"}

    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour())
    there.node.kubelet.delete_pod("pod")
    await _lists(there, "npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")


async def test_a_torn_checkpoint_keeps_nothing_from_being_offered(machine: Machine) -> None:
    there = await machine(warboy(0), pod_resources_dir=None)
    await there.up()
    await there.node.offers("npu0pe0-1")
    await there.node.plugin.stop()
    (there.node.plugin_dir / CHECKPOINT).write_text('{"Data":{"PodDev')

    there.configure("defaultPe: Single")
    await there.start_plugin()
    await there.node.offers("npu0pe0", "npu0pe1")

    assert len(there.node.plugin.logged("cannot read the kubelet's checkpoint")) == 1


async def test_a_card_that_comes_while_the_kubelet_lets_the_plugin_wait_is_in_the_first_list(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    card = there.node.host.card(Arch.WARBOY, 0)
    card.disappear()
    await there.node.kubelet.start()
    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour(delay=3600.0))
    there.configure("disabledDevices: [{devName: npu1, nodeName: here}]")
    await there.start_plugin()
    await there.node.plugin.until_logged("card found card=npu1", PATIENCE)

    card.reappear()
    await there.node.offers("npu0pe0-1")

    [first] = there.lists()
    assert [device.id for device in first.devices if device.health == "Healthy"] == ["npu0pe0-1"]


async def test_at_a_start_a_slow_answer_is_waited_for(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.up()
    await there.node.offers("npu0pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.node.kubelet.set_pod_resources(PodResourcesBehaviour(delay=0.5))

    there.configure("defaultPe: Single")
    await there.restart_plugin()

    await there.node.offers("npu0pe0-1")


# -- disabled devices -------------------------------------------------------------------------------------------------


async def test_a_free_card_that_is_disabled_is_gone_at_once_and_comes_back(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")

    there.configure("disabledDevices: [{devName: npu1, nodeName: here}, {devName: npu0, nodeName: there}]")
    await _lists(there, "npu0pe0-1", within=AT_ONCE)
    there.configure()
    await there.node.offers("npu0pe0-1", "npu1pe0-1", within=AT_ONCE)
    assert _streams(there) == (1, 0, 1)


async def test_a_held_card_that_is_disabled_is_unhealthy_until_it_is_free_and_then_gone(machine: Machine) -> None:
    there = await machine(warboy(0), warboy(1))
    await there.up()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.restart_plugin()
    await there.node.offers("npu0pe0-1", "npu1pe0-1")

    there.configure("disabledDevices: [{devName: npu0}]")
    view = await there.node.kubelet.until(lambda view: view.unhealthy(RESOURCE) == {"npu0pe0-1"}, AT_ONCE)
    assert view.healthy(RESOURCE) == {"npu1pe0-1"}
    with pytest.raises(UnexpectedAdmissionError):
        await there.node.kubelet.run_pod("refused", {RESOURCE: 2})

    there.node.kubelet.delete_pod("pod")
    await _lists(there, "npu1pe0-1", within=SETTLE / 2)


async def test_a_disabled_device_that_is_not_there_is_told_once_each_time_it_is_asked_for(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.up("disabledDevices: [{devName: npu9}, {devName: npu0pe2}, {devName: npu8, nodeName: there}]")
    await there.node.offers("npu0pe0-1")
    await asyncio.sleep(NOTHING_HAPPENS)
    plugin = there.node.plugin
    expected = '"one of npu0, or a unit, a UUID or a PCI address of one"'
    assert [line.split("host ")[1] for line in plugin.logged("a disabled device is not on this host")] == [
        f"entry=disabledDevices[{place}] device={name} expected={expected}"
        for place, name in enumerate(("npu9", "npu0pe2"))
    ]

    there.configure("disabledDevices: [{devName: npu9}]")
    await plugin.until_logged("configuration applied", PATIENCE)
    there.configure("disabledDevices: [{devName: npu7}]")
    await plugin.until_logged("device=npu7", PATIENCE)
    assert len(plugin.logged("a disabled device is not on this host")) == 3


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
    assert len(plugin.logged("configuration applied")) == 3


async def test_a_broken_file_changes_nothing_and_a_mended_one_counts(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.up()
    await there.node.offers("npu0pe0-1")
    messages = len(there.lists())

    there.configure("defaultPe: Triple\nnonsense: 1")
    await there.node.plugin.until_logged("configuration refused", PATIENCE, times=2)
    assert (await there.node.kubelet.run_pod("pod", {RESOURCE: 1})).device_ids == ("npu0pe0-1",)
    there.node.kubelet.delete_pod("pod")
    there.path.unlink()
    await there.node.plugin.until_logged("configuration refused", PATIENCE, times=3)
    assert (len(there.lists()), _streams(there)) == (messages, (1, 0, 1))

    there.configure("disabledDevices: [{devName: npu9}]")
    await there.node.plugin.until_logged("configuration applied", PATIENCE)
    assert there.node.plugin.running


async def test_a_change_that_needs_a_restart_is_told_and_not_made(machine: Machine) -> None:
    there = await machine(warboy(0))
    await there.up()
    await there.node.offers("npu0pe0-1")

    there.configure("socketName: other\nresourceName: example.com/other")
    await there.node.plugin.until_logged("setting changed, needs a restart", PATIENCE, times=2)
    await asyncio.sleep(NOTHING_HAPPENS)

    assert not (there.node.plugin_dir / "other").exists()
    assert set(there.node.kubelet.view().resources) == {RESOURCE}
    assert _streams(there) == (1, 0, 1)


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


async def test_the_cdi_file_follows_the_cut(machine: Machine) -> None:
    there = await machine(warboy(0))
    cdi_dir = there.node.home / "cdi"
    injection = f"deviceInjection: cdi\ncdiDir: {cdi_dir}\n"
    await there.up(injection)
    await there.node.offers("npu0pe0-1")

    there.configure(injection + "defaultPe: Single")
    await there.node.offers("npu0pe0", "npu0pe1")

    [file] = cdi_dir.glob("*.json")
    assert [device["name"] for device in json.loads(file.read_text())["devices"]] == ["npu0pe0", "npu0pe1"]


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
    await asyncio.sleep(NOTHING_HAPPENS)
    assert len(list(cdi_dir.iterdir())) == 2

    there.node.kubelet.delete_pod("before")
    await there.node.plugin.until_logged("CDI files of an earlier configuration removed", PATIENCE)
    assert [path.name for path in cdi_dir.iterdir()] == ["other.json"]


async def test_a_cdi_directory_that_cannot_be_written_is_told_once_and_keeps_nothing_else(machine: Machine) -> None:
    there = await machine(warboy(0))
    there.node.home.joinpath("file").write_text("")
    await there.up(f"deviceInjection: both\ncdiDir: {there.node.home}/file/cdi")
    await there.node.offers("npu0pe0-1")

    await asyncio.sleep(NOTHING_HAPPENS)

    assert len(there.node.plugin.logged("cannot write CDI files")) == 1


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


async def test_a_card_that_waits_for_its_pod_is_counted_until_it_is_cut(machine: Machine) -> None:
    there = await machine(warboy(0), endpoint=True)
    await there.up()
    await there.node.offers("npu0pe0-1")
    await there.node.kubelet.run_pod("pod", {RESOURCE: 1})
    await there.restart_plugin()
    await there.until_page("/metrics", "npu_device_plugin_cards_pending 0.0", PATIENCE)

    there.configure("defaultPe: Single")
    page = await there.until_page("/metrics", "npu_device_plugin_cards_pending 1.0", PATIENCE)
    assert "npu_device_plugin_config_generation 2.0" in page

    there.node.kubelet.delete_pod("pod")
    await there.until_page("/metrics", "npu_device_plugin_cards_pending 0.0", PATIENCE)


async def test_a_client_that_says_nothing_does_not_delay_the_end(machine: Machine) -> None:
    there = await machine(warboy(0), endpoint=True)
    await there.up()
    await there.until_page("/readyz", "200", PATIENCE)
    _, silent = await asyncio.open_connection("127.0.0.1", there.port)
    silent.write(b"GET /")
    await silent.drain()
    await there.get("/healthz")

    asked = time.monotonic()
    assert await there.node.plugin.stop() == 0

    assert time.monotonic() - asked < 2.0
    assert not there.node.plugin.logged("Traceback")
    silent.close()
