"""What is known of who holds what, as the kubelet tells it, tells it late, or does not tell it."""

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from npu_core.allocations import Allocations, Sources
from npu_core.arch import Arch
from npu_core.checkpoint import CHECKPOINT
from npu_core.claims import Claim, KnownCard
from npu_core.cores import CoreRange
from npu_core.partition import FUSION, SINGLE, units_of
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet.allocation_tracker import AllocationTracker
from testkit.logged import logged
from testkit.standins.kubelet import (
    ContainerSpec,
    DraDevice,
    KubeletSettings,
    PodResourcesBehaviour,
    PodResourcesMode,
    StandInKubelet,
)
from testkit.standins.scripted_plugin import RESOURCE, ScriptedPlugin, devices
from testkit.waiting import PATIENCE
from tests.device_plugin.cards import warboy_card
from tests.device_plugin.clock import Clock

CARD = warboy_card(0)
FUSED = frozenset({CoreRange(0, 1)})
FREE: frozenset[CoreRange] = frozenset()
FETCH_THEN_MAIN = (ContainerSpec("fetch", {RESOURCE: 1}, init=True), ContainerSpec("main"))


@dataclass(slots=True)
class Scene:
    """A kubelet with one fused Warboy unit, and whoever asks it."""

    kubelet: StandInKubelet
    plugin: ScriptedPlugin
    tracker: AllocationTracker
    clock: Clock
    telemetry: Counters

    def allocations(self) -> Allocations:
        return self.tracker.allocations([KnownCard(CARD)])

    def held(self) -> frozenset[CoreRange] | None:
        """Of card 0."""
        return self.allocations().held(CARD.key)

    async def turn(self) -> None:
        """Ask and look, as a round does."""
        await self.tracker.ask()
        self.tracker.look()

    async def refresh(self) -> None:
        """Let the kubelet write its checkpoint, as it does at a list message."""
        written = self.kubelet.view().checkpoint_writes
        self.plugin.send(self.plugin.listed or [])
        await self.kubelet.until(lambda view: view.checkpoint_writes > written, PATIENCE)


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="l-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def scene(directory: Path) -> AsyncIterator[Scene]:
    settings = KubeletSettings(directory / "plugins", pod_resources_dir=directory / "pods")
    clock, telemetry = Clock(), Counters()
    async with StandInKubelet(settings) as kubelet:
        plugin = ScriptedPlugin(settings.plugin_dir)
        plugin.listed = devices("npu0pe0-1")
        await plugin.start()
        await plugin.register()
        await kubelet.until(lambda view: view.allocatable(RESOURCE) == 1, PATIENCE)
        socket, plugin_dir = str(directory / "pods" / "kubelet.sock"), str(settings.plugin_dir)
        tracker = AllocationTracker(socket, plugin_dir, clock, telemetry)
        tracker.resources[Arch.WARBOY] = RESOURCE
        yield Scene(kubelet, plugin, tracker, clock, telemetry)
        await plugin.stop()


# -- who holds what ---------------------------------------------------------------------------------------------------


async def test_before_it_looked_it_knows_nothing(scene: Scene) -> None:
    assert scene.held() is None
    await scene.turn()
    assert scene.held() == FREE


async def test_what_a_pod_holds_is_held_until_the_kubelet_has_written_that_it_ended(scene: Scene) -> None:
    await scene.kubelet.run_pod("pod", {RESOURCE: 1})
    await scene.turn()
    assert scene.held() == FUSED
    scene.kubelet.delete_pod("pod")
    await scene.turn()
    assert scene.held() == FUSED
    assert scene.tracker.needs_refresh(something_waits=True)
    await scene.refresh()
    await scene.turn()
    assert scene.held() == FREE
    assert not scene.tracker.needs_refresh(something_waits=True)


async def test_what_only_an_init_container_holds_is_held(scene: Scene) -> None:
    await scene.kubelet.run_pod("pod", containers=FETCH_THEN_MAIN)
    await scene.turn()
    await scene.refresh()
    await scene.turn()
    assert scene.held() == FUSED
    assert scene.allocations().named[Arch.WARBOY][0].id == "npu0pe0-1"


async def test_a_kubelet_that_knows_no_pods_frees_nothing_however_often_it_is_asked(scene: Scene) -> None:
    await scene.kubelet.run_pod("pod", {RESOURCE: 1})
    await scene.turn()
    scene.kubelet.stop_api_server()
    await scene.kubelet.restart()
    for _ in range(3):
        await scene.turn()
        assert scene.tracker.sources.is_listed
        scene.clock.now += 1000.0
    assert scene.held() == FUSED


async def test_a_card_that_a_driver_gave_out_by_a_claim_is_held(scene: Scene) -> None:
    claim = DraDevice("npu.furiosa.ai", "node1", CARD.uuid.lower() if CARD.uuid else "")
    await scene.kubelet.run_pod("pod", containers=[ContainerSpec("main", claims=(claim,))])
    await scene.turn()
    assert scene.held() == FUSED
    assert scene.allocations().conflicts(CARD.key, CoreRange(0, 1)) == FUSED
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(PodResourcesMode.UNIMPLEMENTED))
    await scene.turn()
    assert scene.held() == FUSED


async def test_an_id_that_may_mean_any_card_is_logged_once_and_keeps_every_card(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.tracker.resources[Arch.WARBOY] = "beta.furiosa.ai/npu"
    other = ScriptedPlugin(scene.plugin.directory, resource="beta.furiosa.ai/npu", socket="other.sock")
    other.listed = devices("slot-7")
    await other.start()
    await other.register()
    await scene.kubelet.until(lambda view: view.allocatable("beta.furiosa.ai/npu") == 1, PATIENCE)
    await scene.kubelet.run_pod("pod", {"beta.furiosa.ai/npu": 1})
    for _ in range(2):
        await scene.turn()
        assert scene.allocations().unmapped == (("beta.furiosa.ai/npu", "slot-7"),)
    assert scene.held() == FUSED
    assert caplog.messages.count(Event.UNMAPPED_DEVICE) == 1
    await other.stop()


async def test_of_many_ids_that_may_mean_any_card_only_some_get_a_line(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.tracker.resources[Arch.WARBOY] = "beta.furiosa.ai/npu"
    ids = (f"slot-{number}" for number in range(2000))
    claims = tuple(Claim("beta.furiosa.ai/npu", each, pod_uid="uid", container_name="main") for each in ids)
    scene.tracker.sources = scene.tracker.sources.with_checkpoint(claims, (1, 1, 1), scene.tracker.resources)
    assert len(scene.allocations().unmapped) == 2000
    assert 1 < caplog.messages.count(Event.UNMAPPED_DEVICE) < 30
    assert caplog.messages.count(Event.MORE_UNMAPPED_DEVICES) == 1

    # They are told again only when they come again.
    for number, (named, lines) in enumerate(((claims[:1], 0), ((), 0), (claims[:1], 1)), start=2):
        caplog.clear()
        stamp = (number, 1, 1)
        scene.tracker.sources = scene.tracker.sources.with_checkpoint(named, stamp, scene.tracker.resources)
        scene.allocations()
        assert len(caplog.messages) == lines


async def test_what_is_told_of_ids_that_may_mean_any_card_is_in_order_and_counted(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def tell(count: int) -> None:
        claims = tuple(Claim(RESOURCE, f"slot-{number:02}", pod_uid="uid") for number in reversed(range(count)))
        scene.tracker.sources = scene.tracker.sources.with_checkpoint(claims, (1, 1, count), scene.tracker.resources)
        scene.allocations()

    tell(20)
    assert logged(caplog) == [
        (Event.UNMAPPED_DEVICE, {"resource": RESOURCE, "id": f"slot-{number:02}"}) for number in range(20)
    ]
    tell(42)
    *some, last = logged(caplog)
    assert [fields["id"] for _, fields in some] == [f"slot-{number}" for number in range(20, 40)]
    assert last == (Event.MORE_UNMAPPED_DEVICES, {"count": 2})


# -- grants -----------------------------------------------------------------------------------------------------------


async def test_a_grant_counts_until_the_kubelet_has_written_its_checkpoint_twice_without_it(scene: Scene) -> None:
    await scene.turn()
    scene.tracker.granted(Arch.WARBOY, units_of(CARD, FUSION))
    for expected in (FUSED, FREE):
        for _ in range(3):
            await scene.turn()
            scene.clock.now += 1000.0
            assert scene.held() == FUSED
        assert scene.tracker.needs_refresh(something_waits=True)
        await scene.refresh()
        await scene.turn()
        assert scene.held() == expected


async def test_a_checkpoint_from_before_a_grant_says_nothing_of_it(scene: Scene) -> None:
    await scene.turn()
    await scene.refresh()  # which nobody has looked at yet
    scene.tracker.granted(Arch.WARBOY, units_of(CARD, FUSION))
    for expected in (FUSED, FUSED, FREE):
        await scene.turn()
        assert scene.held() == expected
        await scene.refresh()


async def test_a_grant_that_the_checkpoint_names_is_held_by_the_checkpoint_from_then_on(scene: Scene) -> None:
    await scene.turn()
    scene.tracker.granted(Arch.WARBOY, units_of(CARD, FUSION))
    await scene.kubelet.run_pod("pod", {RESOURCE: 1})
    await scene.turn()
    assert (scene.held(), scene.tracker.sources.grants) == (FUSED, {})


# -- sources that fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [PodResourcesMode.ABSENT, PodResourcesMode.UNIMPLEMENTED])
async def test_where_the_kubelet_cannot_be_asked_its_checkpoint_speaks(
    scene: Scene, mode: PodResourcesMode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await scene.kubelet.run_pod("pod", {RESOURCE: 1})
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(mode))
    await scene.turn()
    await scene.turn()
    assert scene.held() == FUSED
    # Nothing would be learned: what the kubelet lists is not known.
    assert not scene.tracker.needs_refresh(something_waits=True)
    assert sum(scene.telemetry.holdings_errors.values()) == 2

    await scene.kubelet.set_pod_resources(PodResourcesBehaviour())
    await scene.turn()
    assert caplog.messages == [Event.CANNOT_ASK_KUBELET, Event.KUBELET_ANSWERS]


async def test_a_kubelet_that_is_slow_is_waited_for_until_it_let_a_question_go_unanswered(scene: Scene) -> None:
    def is_listed() -> bool:
        return scene.tracker.sources.is_listed

    scene.tracker.deadline = 10 * PATIENCE
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(delay=0.3))
    await scene.turn()
    assert is_listed()
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(delay=100 * PATIENCE))
    scene.tracker.deadline = 0.1
    await scene.turn()
    assert not is_listed()
    # The next question may take for ever, and no round waits for it; none is asked beside it.
    scene.tracker.deadline = 10 * PATIENCE
    for _ in range(3):
        await asyncio.wait_for(scene.turn(), PATIENCE)
    assert scene.telemetry.holdings_errors.total() == 1
    assert [task.get_name() for task in asyncio.all_tasks()].count("asking who holds what") == 1
    assert not is_listed()
    # Its end is noticed when it comes, and after it another one is asked.
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour())
    await scene.kubelet.restart()
    async with asyncio.timeout(PATIENCE):
        while not is_listed():
            await scene.turn()
    # And a kubelet that answers again is waited for again.
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(delay=0.3))
    await scene.turn()
    assert scene.tracker._asking is None


class Surprised(AllocationTracker):
    """Meets with what it never thought of."""

    async def _ask(self) -> None:
        raise ZeroDivisionError("nobody thought of this")


async def test_an_unexpected_fault_of_a_question_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await Surprised("/nowhere", "/nowhere", Clock(), Counters()).ask()


@pytest.mark.parametrize("content", ['{"Data":{"PodDev', "", "[]"])
async def test_a_checkpoint_that_cannot_be_read_frees_nothing_and_what_it_named_last_counts(
    scene: Scene, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await scene.kubelet.run_pod("pod", containers=FETCH_THEN_MAIN)
    await scene.turn()
    checkpoint = scene.kubelet.settings.plugin_dir / CHECKPOINT
    checkpoint.write_text(content)
    for _ in range(2):
        await scene.turn()
        assert scene.held() is None
        assert scene.allocations().possible_uses(CARD.key) == FUSED
    assert scene.tracker.checkpoint_complaint
    assert scene.tracker.needs_refresh(something_waits=False)
    await scene.refresh()
    await scene.turn()
    assert scene.held() == FUSED
    assert scene.tracker.checkpoint_complaint == ""
    assert caplog.messages == [Event.CANNOT_READ_CHECKPOINT, Event.CHECKPOINT_READABLE]


async def test_a_checkpoint_that_is_not_there_means_nothing_only_until_a_kubelet_has_written_one(scene: Scene) -> None:
    (scene.kubelet.settings.plugin_dir / CHECKPOINT).unlink()
    scene.tracker.look()
    assert scene.held() == FREE
    scene.tracker.look(is_written=True)
    assert scene.held() is None
    assert scene.tracker.needs_refresh(something_waits=False)


async def test_a_checkpoint_is_read_again_only_if_it_is_another_one_or_could_not_be_read(scene: Scene) -> None:
    await scene.kubelet.run_pod("pod", containers=FETCH_THEN_MAIN)
    scene.tracker.look()
    checkpoint = scene.kubelet.settings.plugin_dir / CHECKPOINT
    known, content = checkpoint.stat(), checkpoint.read_bytes()

    def write(text: bytes) -> None:
        """In place and with the old time: nothing tells this writing from the one before."""
        with checkpoint.open("r+b") as file:
            file.write(text)
        os.utime(checkpoint, ns=(known.st_atime_ns, known.st_mtime_ns))

    write(b"x" * len(content))
    scene.tracker.look(is_written=True)
    assert (scene.held(), scene.tracker.checkpoint_complaint) == (FUSED, "")
    os.utime(checkpoint)
    scene.tracker.look()
    assert scene.held() is None
    write(content)
    scene.tracker.look(is_written=True)
    assert (scene.held(), scene.tracker.checkpoint_complaint) == (FUSED, "")


async def test_each_kind_of_complaint_is_logged_once_with_its_reason(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    checkpoint = scene.kubelet.settings.plugin_dir / CHECKPOINT
    await scene.turn()
    assert logged(caplog) == []
    checkpoint.write_text("[]")
    await scene.turn()
    assert logged(caplog) == [(Event.CANNOT_READ_CHECKPOINT, {"reason": scene.tracker.checkpoint_complaint})]
    checkpoint.unlink()
    scene.tracker.look(is_written=True)
    assert logged(caplog) == [(Event.CANNOT_READ_CHECKPOINT, {"reason": scene.tracker.checkpoint_complaint})]
    assert str(checkpoint.parent) in scene.tracker.checkpoint_complaint
    await scene.refresh()
    await scene.turn()
    assert logged(caplog) == [(Event.CHECKPOINT_READABLE, {})]

    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(PodResourcesMode.UNIMPLEMENTED))
    await scene.turn()
    [(event, fields)] = logged(caplog)
    assert (event, bool(fields["reason"])) == (Event.CANNOT_ASK_KUBELET, True)
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(PodResourcesMode.ABSENT))
    await scene.turn()
    await scene.turn()
    assert [event for event, _ in logged(caplog)] == [Event.CANNOT_ASK_KUBELET]
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour())
    await scene.turn()
    assert logged(caplog) == [(Event.KUBELET_ANSWERS, {})]


# -- how often the checkpoint is written again ------------------------------------------------------------------------


def in_doubt(number: int) -> Sources:
    """The checkpoint names a unit that the kubelet does not list."""
    return Sources(recorded=(Claim(RESOURCE, f"npu{number}pe0-1"),), is_recorded=True, listed=(), is_listed=True)


NO_DOUBT = Sources(recorded=(), is_recorded=True, listed=(), is_listed=True)


def refreshes(seconds: int, sources: Callable[[int], Sources], *, something_waits: bool) -> list[int]:
    """When the checkpoint is written again, by a tracker that knows ``sources(second)`` and is asked each second."""
    clock = Clock()
    tracker = AllocationTracker("/nowhere", "/nowhere", clock, Counters())
    tracker.resources[Arch.WARBOY] = RESOURCE
    times = []
    for second in range(seconds):
        tracker.sources = sources(second)
        if tracker.needs_refresh(something_waits=something_waits):
            times.append(second)
        clock.now += 1.0
    return times


def test_a_doubt_that_comes_again_is_a_new_one() -> None:
    def comes_and_goes(second: int) -> Sources:
        return NO_DOUBT if 160 <= second < 165 else in_doubt(0)

    assert refreshes(200, comes_and_goes, something_waits=False) == [0, 10, 30, 70, 150, 165, 175, 195]


def test_pods_that_come_and_go_do_not_have_the_checkpoint_written_without_a_pause() -> None:
    assert refreshes(100, in_doubt, something_waits=True) == list(range(0, 100, 2))
    assert refreshes(100, in_doubt, something_waits=False) == list(range(0, 100, 10))


async def test_devices_of_others_are_never_a_reason_to_refresh(scene: Scene) -> None:
    scene.tracker.resources[Arch.WARBOY] = "beta.furiosa.ai/npu"
    await scene.kubelet.run_pod("pod", containers=FETCH_THEN_MAIN)
    await scene.turn()
    assert not scene.tracker.needs_refresh(something_waits=True)


async def test_doubt_that_is_new_is_cleared_at_once_and_then_with_doubled_pauses(scene: Scene) -> None:
    def doubt(number: int) -> Sources:
        return Sources(recorded=(Claim(RESOURCE, f"npu{number}pe0-1"),), is_recorded=True, listed=(), is_listed=True)

    def asked(seconds: int, *, something_waits: bool) -> list[int]:
        """The seconds from now on at which the checkpoint is to be written again."""
        moments = []
        for second in range(1, seconds + 1):
            scene.clock.now += 1.0
            if scene.tracker.needs_refresh(something_waits=something_waits):
                moments.append(second)
        return moments

    scene.clock.now = 0.0
    scene.tracker.sources = doubt(0)
    assert scene.tracker.needs_refresh(something_waits=False)
    assert asked(1300, something_waits=False) == [10, 30, 70, 150, 310, 630, 950, 1270]
    assert asked(29, something_waits=True) == [1, 11, 21]
    # Other doubt: the pauses begin anew, and where something waits they are short.
    scene.tracker.sources = doubt(1)
    assert asked(40, something_waits=False) == [2, 12, 32]
    scene.tracker.sources = doubt(2)
    scene.clock.now -= 7.0
    assert asked(12, something_waits=True) == [1, 11]
    # Without a listing nothing that is recorded can be doubted by it.
    scene.tracker.sources = doubt(3).without_listing()
    assert asked(1000, something_waits=True) == []


# -- what is worked out -----------------------------------------------------------------------------------------------


def test_allocations_are_worked_out_anew_only_if_something_changed() -> None:
    tracker = AllocationTracker("/nowhere", "/nowhere", Clock(), Counters())
    tracker.resources[Arch.WARBOY] = RESOURCE
    tracker.granted(Arch.WARBOY, units_of(CARD, FUSION))
    first = tracker.allocations([KnownCard(CARD)])
    assert tracker.allocations([KnownCard(CARD)]) is first
    assert tracker.allocations([KnownCard(CARD), KnownCard(warboy_card(1))]) is not first
    assert tracker.allocations([KnownCard(CARD)]) is not first
    second = tracker.allocations([KnownCard(CARD)])
    tracker.resources[Arch.WARBOY] = "another.name/npu"
    assert tracker.allocations([KnownCard(CARD)]) is not second


# -- names ------------------------------------------------------------------------------------------------------------


async def test_ids_that_two_sources_name_are_held_once(scene: Scene) -> None:
    await scene.kubelet.run_pod("pod", {RESOURCE: 1})
    await scene.turn()
    assert [claim.device_id for claim in scene.tracker.sources.claims] == ["npu0pe0-1"]


def test_units_of_both_cuts_are_given_out_to_nobody_at_once() -> None:
    tracker = AllocationTracker("/nowhere", "/nowhere", Clock(), Counters())
    tracker.resources[Arch.WARBOY] = RESOURCE
    tracker.granted(Arch.WARBOY, units_of(CARD, SINGLE)[:1])
    allocations = tracker.allocations([KnownCard(CARD)])
    assert allocations.conflicts(CARD.key, CoreRange(0, 1)) == {CoreRange(0, 0)}
    assert allocations.conflicts(CARD.key, CoreRange(0, 0)) == FREE
