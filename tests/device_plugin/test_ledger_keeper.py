"""What is known of who holds what, as the kubelet tells it, tells it late, or does not tell it."""

import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from device_plugin.cards import warboy_card
from device_plugin.clock import Clock
from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.partition import FUSION, SINGLE, units_of
from npu_device_plugin.checkpoint import CHECKPOINT
from npu_device_plugin.cutting import SETTLE
from npu_device_plugin.ledger_keeper import LedgerKeeper
from npu_device_plugin.telemetry import Telemetry
from standins.kubelet import KubeletSettings, PodResourcesBehaviour, PodResourcesMode, StandInKubelet
from standins.scripted_plugin import RESOURCE, ScriptedPlugin, devices

PATIENCE = 10.0


@dataclass(slots=True)
class Scene:
    """A kubelet with one fused Warboy unit and one id of somebody else's, and whoever asks it."""

    kubelet: StandInKubelet
    keeper: LedgerKeeper
    clock: Clock
    telemetry: Telemetry

    def held(self) -> frozenset[CoreRange] | None:
        """Of card 0."""
        return self.keeper.ledger.held(Arch.WARBOY, 0)


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="l-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def scene(directory: Path) -> AsyncIterator[Scene]:
    settings = KubeletSettings(directory / "plugins", pod_resources_dir=directory / "pods")
    clock, telemetry = Clock(), Telemetry()
    async with StandInKubelet(settings) as kubelet:
        plugin = ScriptedPlugin(settings.plugin_dir)
        plugin.listed = devices("npu0pe0-1", "not-a-unit")
        await plugin.start()
        await plugin.register()
        await kubelet.until(lambda view: view.allocatable(RESOURCE) == 2, PATIENCE)
        keeper = LedgerKeeper(str(directory / "pods" / "kubelet.sock"), str(settings.plugin_dir), clock, telemetry)
        keeper.resources[Arch.WARBOY] = RESOURCE
        keeper.youth = 0.0
        yield Scene(kubelet, keeper, clock, telemetry)
        await plugin.stop()


FUSED = frozenset({CoreRange(0, 1)})


async def test_before_it_asked_it_knows_nothing(scene: Scene) -> None:
    assert scene.held() is None
    await scene.keeper.ask()
    assert scene.held() == frozenset()
    assert scene.keeper.ledger.held(Arch.RENEGADE, 0) is None


async def test_what_pods_hold_is_known_and_foreign_ids_are_left_out(scene: Scene) -> None:
    await scene.kubelet.run_pod("pod", {RESOURCE: 2})
    await scene.keeper.ask()
    assert scene.held() == FUSED
    scene.kubelet.delete_pod("pod")
    await scene.keeper.ask()
    assert scene.held() == frozenset()


async def test_a_grant_counts_from_its_time_on(scene: Scene) -> None:
    await scene.keeper.ask()
    scene.keeper.granted(Arch.WARBOY, units_of(warboy_card(0), FUSION))
    assert scene.held() == FUSED
    scene.clock.now += SETTLE - 1
    await scene.keeper.ask()
    assert scene.held() == FUSED
    scene.clock.now += 1
    await scene.keeper.ask()
    assert scene.held() == frozenset()


@pytest.mark.parametrize("mode", [PodResourcesMode.ABSENT, PodResourcesMode.UNIMPLEMENTED])
async def test_what_was_known_stays_when_the_kubelet_cannot_be_asked(
    scene: Scene, mode: PodResourcesMode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await scene.kubelet.run_pod("pod", {RESOURCE: 2})
    await scene.keeper.ask()
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(mode))
    scene.kubelet.delete_pod("pod")

    await scene.keeper.ask()
    await scene.keeper.ask()
    assert scene.held() == FUSED
    assert sum(scene.telemetry.holdings_errors.values()) == 2
    scene.keeper.granted(Arch.WARBOY, units_of(warboy_card(0), SINGLE))
    assert scene.held() == FUSED | {CoreRange(0, 0), CoreRange(1, 1)}

    await scene.kubelet.set_pod_resources(PodResourcesBehaviour())
    scene.clock.now += SETTLE
    await scene.keeper.ask()
    assert scene.held() == frozenset()
    assert caplog.messages == ["cannot ask the kubelet who holds what", "the kubelet tells who holds what"]


async def test_a_kubelet_that_is_slow_is_waited_for_until_it_let_a_question_go_unanswered(scene: Scene) -> None:
    await scene.kubelet.run_pod("pod", {RESOURCE: 2})
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(delay=0.3))
    await scene.keeper.ask()
    assert scene.held() == FUSED
    scene.kubelet.delete_pod("pod")

    scene.keeper.deadline = 0.2
    await scene.keeper.ask()
    assert scene.telemetry.holdings_errors == {"DEADLINE_EXCEEDED": 1}

    scene.keeper.deadline = PATIENCE
    await scene.keeper.ask()
    assert scene.held() == FUSED
    turns = 0
    while scene.held() == FUSED:
        turns += 1
        await scene.keeper.ask()
    assert (scene.held(), turns <= 5) == (frozenset(), True)
    assert scene.telemetry.holdings_errors == {"DEADLINE_EXCEEDED": 1}


async def test_a_kubelet_that_has_just_started_frees_nothing(scene: Scene) -> None:
    await scene.kubelet.run_pod("pod", {RESOURCE: 2})
    await scene.keeper.ask()
    scene.keeper.youth = 3600.0
    scene.kubelet.delete_pod("pod")
    await scene.keeper.ask()
    assert scene.held() == FUSED
    scene.keeper.youth = 0.0
    await scene.keeper.ask()
    assert scene.held() == frozenset()


# -- the checkpoint ---------------------------------------------------------------------------------------------------


async def test_a_kubelet_that_never_answered_is_known_by_its_checkpoint_and_believed_when_it_answers(
    scene: Scene,
) -> None:
    await scene.kubelet.run_pod("pod", {RESOURCE: 2})
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(PodResourcesMode.ABSENT))
    await scene.keeper.ask()
    assert (scene.held(), scene.keeper.ledger.traces(Arch.WARBOY, 0)) == (None, FUSED)
    assert set(scene.keeper.held_ids or ()) == {(RESOURCE, "npu0pe0-1"), (RESOURCE, "not-a-unit")}
    assert scene.keeper.in_the_dark

    scene.kubelet.delete_pod("pod")
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour())
    await scene.keeper.ask()
    assert (scene.held(), scene.keeper.ledger.traces(Arch.WARBOY, 0)) == (frozenset(), frozenset())


async def test_a_checkpoint_that_is_torn_is_told_once_and_read_as_soon_as_it_is_whole(
    scene: Scene, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.kubelet.run_pod("pod", {RESOURCE: 2})
    await scene.kubelet.set_pod_resources(PodResourcesBehaviour(PodResourcesMode.ABSENT))
    checkpoint = directory / "plugins" / CHECKPOINT
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-9])

    await scene.keeper.ask()
    await scene.keeper.ask()
    assert (scene.keeper.held_ids, scene.keeper.ledger.traces(Arch.WARBOY, 0)) == (None, frozenset())
    assert caplog.messages == [
        "cannot ask the kubelet who holds what",
        "cannot read the kubelet's checkpoint, cards are cut as the settings say",
    ]

    checkpoint.write_bytes(whole)
    await scene.keeper.ask()
    assert scene.keeper.ledger.traces(Arch.WARBOY, 0) == FUSED
