"""Looking at the cards of a host: one that hangs holds up no other, what cannot be told changes nothing."""

import asyncio
import errno
import itertools
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.health import HEALTHY
from npu_core.host import Host
from npu_core.hostfs import RealFS
from npu_core.partition import FUSION
from npu_core.testing import EIO, Blocked, FakeCard, FakeHost, FaultyFS, rngd, warboy
from npu_core.testing.faults import failing
from npu_device_plugin.inventory import Fleet, health_changes
from npu_device_plugin.offer import OfferedUnit, offers
from npu_device_plugin.scanner import READ_DEADLINE, ROUND_PATIENCE, Scanner
from testkit.refused_threads import no_more_threads
from testkit.waiting import PATIENCE
from tests.device_plugin.cards import warboy_card
from tests.device_plugin.clock import Clock

BETWEEN_LOOKS = 0.005
GRACE = 30.0
STUCK = "cannot tell whether the card is alive: "


@dataclass(slots=True)
class Scene:
    """A host with cards, a scanner of it, and its time."""

    host: FakeHost
    fs: FaultyFS
    clock: Clock
    scanner: Scanner

    @property
    def fleet(self) -> Fleet:
        return self.scanner.fleet

    @property
    def healthy(self) -> dict[str, bool]:
        """Whether each card that was seen is healthy."""
        return {card.device.name: card.health.is_healthy for card in self.fleet.cards}

    def reasons(self, index: int) -> tuple[str, ...]:
        card = self.fleet.card((Arch.WARBOY, index))
        assert card is not None
        return card.health.reasons

    def card(self, index: int) -> FakeCard:
        return self.host.card(Arch.WARBOY, index)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Two healthy Warboy cards that nobody has looked at yet."""
    host, fs, clock = FakeHost(tmp_path, warboy(0), warboy(1)), FaultyFS(), Clock()
    return Scene(host, fs, clock, Scanner(host.open(fs), clock))


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged since the last time: level, event, and the card or reason."""
    told = []
    for record in caplog.records:
        fields = record.__dict__.get("npu_fields", {})
        told.append(f"{record.levelname} {record.getMessage()}: {fields.get('card') or fields.get('reason')}")
    caplog.clear()
    return told


def unit(scene: Scene, name: str) -> OfferedUnit:
    """A unit as it is offered now."""
    (offer,) = offers(scene.fleet, FUSION)
    found = offer.by_id.get(name)
    assert found is not None
    return found


async def until(condition: Callable[[], bool], step: Callable[[], Awaitable[None]]) -> None:
    """Take steps until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await step()
            await asyncio.sleep(BETWEEN_LOOKS)


async def test_the_first_look_finds_every_card_and_its_health(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.card(1).die()
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": False}
    assert sorted(lines(caplog)) == [
        "INFO card found: npu0",
        "INFO card found: npu1",
        "WARNING card is unhealthy: npu1",
    ]


async def test_a_card_that_is_found_is_told_with_what_tells_it_from_others(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    found = [record.__dict__["npu_fields"] for record in caplog.records if record.getMessage() == "card found"]
    (fields,) = [each for each in found if each["card"] == "npu0"]
    assert {name: str(value) for name, value in fields.items()} == {
        "card": "npu0",
        "family": "warboy",
        "product": "warboyB0",
        "uuid": "000001FD-0000-40B1-9E86-000000000000",
        "serial": "WBYB0236FH000000",
        "pci": "0000:17:00.0",
    }


async def test_an_empty_host_is_an_empty_fleet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scanner = Scanner(FakeHost(tmp_path).open(), Clock())
    await scanner.enumerate_cards()
    assert (scanner.fleet, lines(caplog)) == (Fleet(), [])


async def test_looks_without_a_change_tell_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    await scene.scanner.enumerate_cards()
    before = scene.fleet
    caplog.clear()
    for index in (0, 1):
        scene.card(index).set_temperature(55_000)
    for _ in range(3):
        await scene.scanner.look()
        await scene.scanner.enumerate_cards()
    assert (scene.fleet, lines(caplog)) == (before, [])


async def test_a_card_that_dies_and_comes_back_is_told_once_each(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    caplog.clear()
    scene.card(1).die()
    for _ in range(3):
        await scene.scanner.look()
    assert (scene.healthy, scene.reasons(1)) == (
        {"npu0": True, "npu1": False},
        ("the driver reports the card as dead",),
    )
    assert lines(caplog) == ["WARNING card is unhealthy: npu1"]
    scene.card(1).revive()
    await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": False}
    for _ in range(3):
        await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": True}
    assert lines(caplog) == ["INFO card is healthy: npu1"]


async def test_a_card_that_is_plugged_in_is_found_by_the_next_enumeration(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.host.plug(warboy(9))
    scene.host.plug(rngd(0))
    await scene.scanner.look()
    assert len(scene.fleet.cards) == 2
    await scene.scanner.enumerate_cards()
    assert [card.device.key for card in scene.fleet.cards] == [
        (Arch.WARBOY, 0),
        (Arch.WARBOY, 1),
        (Arch.WARBOY, 9),
        (Arch.RENEGADE, 0),
    ]
    assert all(card.health.is_healthy for card in scene.fleet.cards)


async def test_a_card_that_disappears_stays_known_and_is_unhealthy(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.card(1).disappear()
    await scene.scanner.look()
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": False}
    assert scene.reasons(1) == ("the card is gone from /sys",)


async def test_a_card_that_comes_back_is_healthy_again(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.card(1).disappear()
    await scene.scanner.enumerate_cards()
    scene.card(1).reappear()
    await scene.scanner.enumerate_cards()
    await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": True}


# -- a card that hangs ------------------------------------------------------------------------------------------------


async def test_a_hung_card_does_not_keep_what_is_known_of_the_others(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.card(0).hang("alive")
    scene.card(1).die()
    await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": False}


async def test_however_many_cards_hang_what_is_known_of_the_others_is_told_in_the_same_round(tmp_path: Path) -> None:
    host, fs = FakeHost(tmp_path, *(warboy(index) for index in range(8))), FaultyFS()
    scanner = Scanner(host.open(fs), time.monotonic)
    await scanner.enumerate_cards()
    blocked = Blocked()
    for index in (0, 1, 3, 4, 6):
        fs.put(f"*/npu{index}_mgmt/alive", blocked)
    for index in (2, 5, 7):
        host.card(Arch.WARBOY, index).die()
    begun = time.monotonic()
    await scanner.look()
    took = time.monotonic() - begun
    assert [card.device.index for card in scanner.fleet.cards if not card.health.is_healthy] == [2, 5, 7]
    assert ROUND_PATIENCE / 2 < took < 2 * ROUND_PATIENCE
    blocked.release()


async def test_cards_that_answer_are_looked_at_on_one_thread_also_beside_one_that_hangs(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.host.plug(warboy(2))
    await scene.scanner.enumerate_cards()
    blocked = Blocked()
    scene.fs.put("*/npu0_mgmt/alive", blocked)
    await scene.scanner.look()
    readers: list[str] = []
    scene.fs.put("*/alive", partial(noting_reader, readers))
    for _ in range(3):
        await scene.scanner.look()
    assert readers == ["devices"] * 6
    blocked.release()


def noting_reader(readers: list[str], path: str) -> str:
    """A read that notes the name of its thread."""
    readers.append(threading.current_thread().name)
    return RealFS().read_text(path)


async def test_a_card_that_stays_stuck_is_unhealthy_after_its_grace_and_healthy_when_it_is_back(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    caplog.clear()
    scene.card(0).hang("alive")
    await scene.scanner.look()
    # The first look that finds the card at its last one beyond the deadline begins its grace.
    scene.clock.now += READ_DEADLINE
    await scene.scanner.look()
    scene.clock.now += GRACE - 0.1
    await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": True}
    assert scene.reasons(0) == (f"{STUCK}a read begun 32 s ago has not come back",)
    assert lines(caplog) == []

    scene.clock.now += 0.1
    for _ in range(3):
        await scene.scanner.look()
    assert scene.healthy == {"npu0": False, "npu1": True}
    assert scene.reasons(0) == (f"{STUCK}a read begun 32 s ago has not come back",)
    assert lines(caplog) == ["WARNING card is unhealthy: npu0"]

    scene.card(0).revive()
    await until(lambda: scene.healthy["npu0"], scene.scanner.look)
    assert lines(caplog) == ["INFO card is healthy: npu0"]


async def test_a_look_that_misses_its_deadline_cannot_tell(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    blocked = Blocked()
    scene.fs.put("*/npu0_mgmt/alive", blocked)
    await scene.scanner.look()
    # No other look is begun, so it is the deadline that ends this one.
    await until(lambda: scene.reasons(0) != (), lambda: asyncio.sleep(0))
    assert scene.reasons(0) == (f"{STUCK}no answer within 2 s",)
    assert scene.healthy["npu0"]
    blocked.release()


async def test_a_card_that_hangs_from_the_start_is_found_when_it_comes_back(scene: Scene) -> None:
    scene.card(0).hang("device_uuid")
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu1": True}
    scene.card(0).set_attribute("device_uuid", "A76AAD68-6855-40B1-9E86-D080852D1C84")
    await until(lambda: scene.healthy == {"npu0": True, "npu1": True}, scene.scanner.enumerate_cards)


async def test_a_card_with_an_attribute_that_cannot_be_read_is_offered_all_the_same(scene: Scene) -> None:
    scene.fs.put("*/npu0_mgmt/device_sn", EIO)
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}
    known = scene.fleet.card((Arch.WARBOY, 0))
    assert known is not None
    assert [str(item) for item in known.device.unreadable] == ["npu0 device_sn: EIO (Input/output error)"]


async def test_a_card_whose_life_cannot_be_read_keeps_its_health_for_a_while(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.fs.put("*/npu0_mgmt/alive", EIO)
    await scene.scanner.look()
    scene.clock.now += GRACE - 0.1
    await scene.scanner.look()
    assert scene.healthy["npu0"]
    scene.clock.now += 0.1
    await scene.scanner.look()
    assert scene.healthy == {"npu0": False, "npu1": True}
    assert scene.reasons(0) == (f"{STUCK}EIO (Input/output error)",)


async def test_a_card_that_hangs_from_the_start_is_listed_as_unhealthy_by_what_it_was_found_by(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.card(0).hang("soc_rev")
    await scene.scanner.enumerate_cards()
    scene.clock.now += READ_DEADLINE
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": False, "npu1": True}
    assert unit(scene, "npu0pe0-1").objections == (f"{STUCK}a read begun 2 s ago has not come back",)
    assert lines(caplog) == ["INFO card found: npu1", "INFO card found: npu0", "WARNING card is unhealthy: npu0"]

    scene.card(0).set_attribute("soc_rev", "B0")
    await until(lambda: all(scene.healthy.values()), scene.scanner.enumerate_cards)
    known = scene.fleet.card((Arch.WARBOY, 0))
    assert known is not None
    assert (known.device.soc_rev, known.device.unreadable) == ("B0", ())
    assert lines(caplog) == ["INFO card is healthy: npu0"]


# -- a card that is slow ----------------------------------------------------------------------------------------------


def slowly(path: str) -> str:
    """A read that takes longer than a round waits for it, and comes back."""
    time.sleep(0.6)
    return RealFS().read_text(path)


@pytest.mark.parametrize("attribute", ["alive", "device_sn"])
async def test_a_slow_card_is_healthy_although_every_round_is_an_enumeration(scene: Scene, attribute: str) -> None:
    scene.fs.put(f"*/npu0_mgmt/{attribute}", slowly)
    await until(lambda: scene.healthy.get("npu0", False), scene.scanner.enumerate_cards)
    for _ in range(4):
        await scene.scanner.enumerate_cards()
        await asyncio.sleep(0.4)
        # Were a slow card taken for a stuck one, this would be told of it, and its grace would begin.
        assert (scene.healthy, scene.reasons(0)) == ({"npu0": True, "npu1": True}, ())


@pytest.mark.parametrize("attribute", ["alive", "device_sn"])
async def test_the_death_of_a_slow_card_is_seen_although_every_round_is_an_enumeration(
    scene: Scene, attribute: str
) -> None:
    scene.fs.put(f"*/npu0_mgmt/{attribute}", slowly)
    await until(lambda: scene.healthy.get("npu0", False), scene.scanner.enumerate_cards)
    scene.card(0).die()
    await until(lambda: not scene.healthy["npu0"], scene.scanner.enumerate_cards)
    assert scene.reasons(0) == ("the driver reports the card as dead",)


# -- what should not happen -------------------------------------------------------------------------------------------


def beyond_all_expectations(_: str) -> str:
    raise RuntimeError("nobody thought of this")


async def test_an_unexpected_fault_of_a_look_costs_its_card_only(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    caplog.clear()
    scene.fs.put("*/npu0_mgmt/alive", beyond_all_expectations)
    for _ in range(3):
        await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": True}
    scene.card(1).die()
    scene.clock.now += GRACE
    await scene.scanner.look()
    assert scene.healthy == {"npu0": False, "npu1": False}
    assert scene.reasons(0) == (f"{STUCK}a look at it failed: RuntimeError('nobody thought of this')",)

    (told,) = [record for record in caplog.records if record.getMessage() == "a look at a card failed"]
    assert told.exc_info is not None
    assert told.exc_info[2] is not None
    scene.fs.clear()
    await until(lambda: scene.healthy["npu0"], scene.scanner.look)


async def test_an_unexpected_fault_of_an_identification_costs_its_card_only(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.fs.put("*/npu0_mgmt/device_sn", beyond_all_expectations)
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu1": True}
    assert lines(caplog).count("ERROR a look at a card failed: npu0") == 1
    scene.fs.clear()
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}


async def test_faults_that_differ_each_time_are_logged_once_and_remembered_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    number = itertools.count()

    def another_fault(_: str) -> str:
        raise RuntimeError(f"fault {next(number)}")

    scene.fs.put("*/npu0_mgmt/alive", another_fault)
    for _ in range(20):
        await scene.scanner.look()
    assert next(number) >= 20
    assert [record.getMessage() for record in caplog.records].count("a look at a card failed") == 1
    assert len(scene.scanner._faults) == 1


async def test_another_card_under_a_number_is_said_to_be_another_and_not_to_be_unhealthy(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    caplog.clear()
    scene.card(0).set_attribute("device_uuid", "00000000-0000-0000-0000-00000000000A")
    scene.card(0).set_attribute("device_sn", "ANOTHER")
    await scene.scanner.enumerate_cards()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "another card has this number now"
    ]


# -- device files that go ---------------------------------------------------------------------------------------------


async def test_a_card_without_a_file_that_it_had_is_unhealthy_however_often_it_is_enumerated(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.card(0).remove_file("ch0")
    for _ in range(4):
        await scene.scanner.enumerate_cards()
        assert scene.healthy == {"npu0": False, "npu1": True}
        assert scene.reasons(0) == ("device file npu0ch0 is missing",)
    scene.card(0).restore_file("ch0")
    for _ in range(2):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}


async def test_of_another_driver_the_files_count_that_it_has(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.card(0).remove_file("ch0")
    await scene.scanner.enumerate_cards()
    assert not scene.healthy["npu0"]
    scene.card(0).set_attribute("version", "2.0.0, 1a2b3c4")
    for _ in range(2):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}
    known = scene.fleet.card((Arch.WARBOY, 0))
    assert known is not None
    assert known.device.file("npu0ch0") is None


async def test_of_a_driver_that_cannot_be_told_nothing_is_concluded(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.card(0).remove_file("ch0")
    scene.fs.put("*/npu0_mgmt/version", EIO)
    for _ in range(2):
        await scene.scanner.enumerate_cards()
        assert scene.reasons(0) == ("device file npu0ch0 is missing",)


# -- many cards -------------------------------------------------------------------------------------------------------


def cost_of_a_round(count: int) -> float:
    """Seconds of CPU for taking in one look at each of so many cards, the least of several rounds."""
    fleet = Fleet().with_devices([warboy_card(index) for index in range(count)])
    costs = []
    for _ in range(8):
        begun = time.process_time()
        for card in fleet.cards:
            after = fleet.with_look(card.device.key, HEALTHY, 0.0)
            assert len(list(health_changes(fleet, after))) <= 1
            fleet = after
        costs.append(time.process_time() - begun)
    return min(costs)


def test_four_times_the_cards_do_not_cost_many_times_more() -> None:
    # A look goes over all cards once, so a round is sixteen times as much; twice over for each would be 64 times.
    assert cost_of_a_round(128) / cost_of_a_round(32) < 32


# -- a host that cannot be listed -------------------------------------------------------------------------------------


async def test_a_host_that_cannot_be_listed_keeps_its_cards_and_is_told_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    before = scene.fleet
    caplog.clear()
    scene.fs.put(f"{scene.host.sysfs}/class/npu_mgmt", EIO)
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert [card.device for card in scene.fleet.cards] == [card.device for card in before.cards]
    assert scene.healthy == {"npu0": True, "npu1": True}
    where = f"{scene.host.sysfs}/class/npu_mgmt"
    assert lines(caplog) == [f"ERROR cannot list the cards: {where}: EIO (Input/output error)"]

    scene.fs.clear()
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert lines(caplog) == ["INFO cards can be listed again: None"]


async def test_missing_roots_are_told_and_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = tmp_path / "host"
    scanner = Scanner(Host(f"{missing}/sys", f"{missing}/dev"), Clock())
    for _ in range(2):
        await scanner.enumerate_cards()
    assert lines(caplog) == [f"ERROR cannot list the cards: {missing}/sys: ENOENT (No such file or directory)"]
    FakeHost(missing, warboy(0))
    await scanner.enumerate_cards()
    assert [card.device.name for card in scanner.fleet.cards] == ["npu0"]


async def test_a_listing_that_hangs_keeps_the_cards(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    await scene.scanner.enumerate_cards()
    before = scene.fleet
    caplog.clear()
    blocked = Blocked()
    scene.fs.put(f"{scene.host.devfs}", blocked)
    await scene.scanner.enumerate_cards()
    assert scene.fleet == before
    for _ in range(3):
        scene.clock.now += 10.0
        await scene.scanner.enumerate_cards()
    assert lines(caplog) == ["ERROR cannot list the cards: no answer within 2 s"]
    blocked.release()


async def test_the_health_of_known_cards_is_looked_at_even_if_they_cannot_be_listed(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.fs.put(f"{scene.host.devfs}", EIO)
    scene.card(1).die()
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": False}


# -- what is no card --------------------------------------------------------------------------------------------------


async def test_what_looks_like_a_card_and_is_none_is_told_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.card(1).set_attribute("platform_type", "VITIS")
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True}
    assert [line for line in lines(caplog) if "not offered" in line] == ["WARNING card not offered: npu1"]


async def test_a_known_card_that_turns_into_somebody_elses_is_unhealthy_until_it_is_ours_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    assert unit(scene, "npu1pe0-1").healthy
    caplog.clear()
    scene.card(1).set_attribute("platform_type", "VITIS")
    for _ in range(3):
        await scene.scanner.enumerate_cards()
        await scene.scanner.look()
    (rejected,) = scene.scanner.rejected
    assert unit(scene, "npu1pe0-1").objections == (rejected.reason,)
    assert unit(scene, "npu0pe0-1").healthy
    assert lines(caplog) == ["WARNING card not offered: npu1"]

    scene.card(1).set_attribute("platform_type", "FuriosaAI")
    await scene.scanner.enumerate_cards()
    assert unit(scene, "npu1pe0-1").healthy
    assert scene.scanner.rejected == ()


async def test_what_becomes_a_card_is_found_and_told_again_when_it_ceases_to_be(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.card(1).set_attribute("platform_type", "VITIS")
    await scene.scanner.enumerate_cards()
    scene.card(1).set_attribute("platform_type", "FuriosaAI")
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}
    caplog.clear()
    scene.card(1).set_attribute("platform_type", "VITIS")
    for _ in range(2):
        await scene.scanner.enumerate_cards()
    assert lines(caplog) == ["WARNING card not offered: npu1"]


# -- nothing left to ask with ------------------------------------------------------------------------------------------


@pytest.fixture
def crowded(tmp_path: Path) -> Scene:
    """Four healthy cards that were looked at; the process may have no more threads than it has."""
    host, fs, clock = FakeHost(tmp_path, *(warboy(index) for index in range(4))), FaultyFS(), Clock()
    return Scene(host, fs, clock, Scanner(host.open(fs), clock))


async def test_without_more_threads_one_card_that_hangs_costs_the_others_nothing(crowded: Scene) -> None:
    await crowded.scanner.enumerate_cards()
    blocked = Blocked()
    crowded.fs.put("*/npu0_mgmt/alive", blocked)
    with no_more_threads():
        crowded.card(3).die()
        await until(lambda: not crowded.healthy["npu3"], crowded.scanner.look)
        crowded.clock.now += GRACE + 1
        await until(lambda: crowded.reasons(0) != (), crowded.scanner.look)
        crowded.clock.now += GRACE + 1
        await crowded.scanner.enumerate_cards()
        assert crowded.healthy == {"npu0": False, "npu1": True, "npu2": True, "npu3": False}
        assert (crowded.scanner.stuck, crowded.scanner.unasked) == (1, 0)
    blocked.release()


async def test_cards_that_could_not_be_asked_stay_as_they_were_and_that_is_said_once(
    crowded: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Two cards that hang take both threads that there are. The others are not asked, for hours."""
    await crowded.scanner.enumerate_cards()
    crowded.card(3).die()
    await crowded.scanner.look()
    blocked = Blocked()
    for number in (0, 1):
        crowded.fs.put(f"*/npu{number}_mgmt/alive", blocked)
    with no_more_threads():
        for _ in range(3):
            await crowded.scanner.enumerate_cards()
            crowded.clock.now += 3600.0
        assert {name: crowded.healthy[name] for name in ("npu2", "npu3")} == {"npu2": True, "npu3": False}
        assert crowded.scanner.unasked == 2
        told = [line for line in lines(caplog) if "cannot ask" in line]
        assert len(told) == 1
        assert told[0].startswith("ERROR")
        assert "no thread" in told[0]
    blocked.release()
    crowded.fs.clear()
    crowded.card(3).revive()
    await until(lambda: crowded.scanner.unasked == 0, crowded.scanner.enumerate_cards)
    assert [line for line in lines(caplog) if "asked again" in line]
    await until(lambda: all(crowded.healthy.values()), crowded.scanner.look)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM], ids=errno.errorcode.get)
async def test_a_lack_of_descriptors_or_memory_is_no_fault_of_a_card(
    scene: Scene, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    await scene.scanner.enumerate_cards()
    scene.fs.put("*", failing(code))
    for _ in range(3):
        scene.clock.now += GRACE + 1
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}
    told = [line for line in lines(caplog) if line.startswith(("ERROR", "WARNING"))]
    assert len(told) == 2
    assert all(errno.errorcode[code] in line for line in told)
