"""Looking at the cards of a host: one that hangs holds up no other, what cannot be told changes nothing."""

import asyncio
import errno
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from npu_core.allocations import NOTHING_HELD
from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.health import HEALTHY
from npu_core.host import Host
from npu_core.hostfs import RealFS
from npu_core.partition import FUSION, SINGLE
from npu_core.testing import EIO, Blocked, FakeCard, FakeHost, Fault, FaultyFS, rngd, warboy
from npu_core.testing.faults import failing
from npu_device_plugin.allocation.inventory import FORGET_AFTER, Fleet, health_changes
from npu_device_plugin.allocation.resource_state import OfferedUnit, offers
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event
from npu_device_plugin.scanner import Patience, Scanner
from testkit.effort import lines_run
from testkit.refused_threads import no_more_threads
from testkit.waiting import PATIENCE, eventually
from tests.device_plugin.cards import warboy_card
from tests.device_plugin.clock import Clock

GRACE = 30.0
READ = 3600.0
"""Seconds after which a read counts as stuck: only by the clock that the test turns."""
CALM = Patience(read=READ, round=PATIENCE, sweep=PATIENCE)
"""Of a scanner all of whose cards answer: no round ends before they have."""
HURRIED = Patience(read=READ, round=0.02, sweep=0.01)
"""Of a scanner with a card that does not answer: its rounds end soon, and the other cards may be late, too."""
ALWAYS_THERE = {(Arch.WARBOY, 0), (Arch.WARBOY, 1), "listing"}
Told = list[tuple[str, str, object]]


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
        return card.health.reasons if card else ()

    def device(self, index: int) -> Device:
        known = self.fleet.card((Arch.WARBOY, index))
        assert known is not None
        return known.device

    def card(self, index: int) -> FakeCard:
        return self.host.card(Arch.WARBOY, index)

    async def answered(self, index: int) -> None:
        """Wait until no read of a card is under way."""
        key = (Arch.WARBOY, index)
        await eventually(lambda: self.scanner._threads.busy(key) is None, f"an answer of npu{index}")

    async def turns(self, condition: Callable[[], bool], step: Callable[[], Awaitable[None]]) -> None:
        """Take steps until something holds."""
        async with asyncio.timeout(PATIENCE):
            await step()
            while not condition():
                await asyncio.sleep(0.001)
                await step()


def scene_of(tmp_path: Path, count: int) -> Scene:
    host, fs, clock = FakeHost(tmp_path, *(warboy(index) for index in range(count))), FaultyFS(), Clock()
    return Scene(host, fs, clock, Scanner(host.open(fs), clock, patience=CALM))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Two healthy Warboy cards that nobody has looked at yet."""
    return scene_of(tmp_path, 2)


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def told(caplog: pytest.LogCaptureFixture) -> Told:
    """Level, event and card of each line since the last time."""
    lines = [(each.levelname, each.getMessage(), each.__dict__["npu_fields"].get("card")) for each in caplog.records]
    # A number alone names no card: a node may have two families.
    fields = [each.__dict__["npu_fields"] for each in caplog.records]
    assert [each for each in fields if ("card" in each) != ("family" in each)] == []
    caplog.clear()
    return lines


def unit(scene: Scene, name: str) -> OfferedUnit:
    """A unit as it is offered now."""
    (offer,) = offers(scene.fleet, FUSION)
    found = offer.by_id.get(name)
    assert found is not None
    return found


async def test_the_first_look_finds_every_card_and_its_health(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.card(1).die()
    await scene.scanner.enumerate_cards()
    scene.scanner.settle(FUSION, NOTHING_HELD)
    assert scene.healthy == {"npu0": True, "npu1": False}
    found = [each.__dict__["npu_fields"] for each in caplog.records if each.getMessage() == Event.CARD_FOUND]
    assert {name: str(value) for name, value in found[0].items()} == {
        "card": "npu0",
        "family": "warboy",
        "product": "warboyB0",
        "uuid": "000001FD-0000-40B1-9E86-000000000000",
        "serial": "WBYB0236FH000000",
        "pci": "0000:17:00.0",
    }
    assert sorted(told(caplog)) == [
        ("INFO", Event.CARD_FOUND, "npu0"),
        ("INFO", Event.CARD_FOUND, "npu1"),
        ("WARNING", Event.CARD_UNHEALTHY, "npu1"),
    ]


async def test_looks_without_a_change_tell_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    await scene.scanner.enumerate_cards()
    before = scene.fleet
    caplog.clear()
    for index in (0, 1):
        scene.card(index).set_temperature(55_000)
    for _ in range(3):
        await scene.scanner.look()
        await scene.scanner.enumerate_cards()
    assert (scene.fleet, told(caplog)) == (before, [])


async def test_a_card_that_dies_and_comes_back_is_told_once_each(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    caplog.clear()
    scene.card(1).die()
    for _ in range(3):
        await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": False}
    assert told(caplog) == [("WARNING", Event.CARD_UNHEALTHY, "npu1")]
    scene.card(1).revive()
    await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": False}
    for _ in range(3):
        await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": True}
    assert told(caplog) == [("INFO", Event.CARD_HEALTHY, "npu1")]


async def test_changes_of_health_are_counted_but_not_that_a_card_is_found(tmp_path: Path) -> None:
    host, telemetry = FakeHost(tmp_path, warboy(0)), Counters()
    scanner = Scanner(host.open(), Clock(), telemetry, CALM)
    host.cards[0].die()
    await scanner.enumerate_cards()
    counted = telemetry.health_changes.copy()
    host.cards[0].revive()
    for _ in range(3):
        await scanner.look()
    assert counted == {("npu0", "warboy", "unhealthy"): 1}
    assert telemetry.health_changes == counted + Counter({("npu0", "warboy", "healthy"): 1})


async def test_a_cut_is_told_only_where_the_card_was_cut_before(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    await scene.scanner.enumerate_cards()
    scene.scanner.settle(FUSION, NOTHING_HELD)
    told(caplog)
    scene.scanner.settle(FUSION, NOTHING_HELD)
    assert told(caplog) == []
    scene.scanner.settle(SINGLE, NOTHING_HELD)
    assert told(caplog) == [("INFO", Event.CARD_CUT, "npu0"), ("INFO", Event.CARD_CUT, "npu1")]


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


async def test_a_card_that_disappears_stays_known_as_unhealthy_and_is_healthy_when_it_is_back(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.card(1).disappear()
    await scene.scanner.look()
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": False}
    scene.card(1).reappear()
    await scene.scanner.enumerate_cards()
    await scene.scanner.look()
    assert scene.healthy == {"npu0": True, "npu1": True}


async def test_a_card_without_a_file_that_it_had_is_unhealthy_however_often_it_is_enumerated(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.card(0).remove_file("ch0")
    for _ in range(4):
        await scene.scanner.enumerate_cards()
        assert scene.healthy == {"npu0": False, "npu1": True}
    scene.card(0).restore_file("ch0")
    for _ in range(2):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}


async def test_another_card_under_a_number_is_said_to_be_another_and_not_to_be_unhealthy(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    caplog.clear()
    scene.card(0).set_attribute("device_uuid", "00000000-0000-0000-0000-00000000000A")
    scene.card(0).set_attribute("device_sn", "ANOTHER")
    await scene.scanner.enumerate_cards()
    assert [line for line in told(caplog) if line[0] != "INFO"] == [("WARNING", Event.ANOTHER_CARD, "npu0")]


# -- a card that hangs ------------------------------------------------------------------------------------------------


async def test_however_many_cards_hang_what_is_known_of_the_others_is_told(tmp_path: Path) -> None:
    """A round that waited for the cards that hang would not end: their reads may take an hour."""
    scene = scene_of(tmp_path, 8)
    await scene.scanner.enumerate_cards()
    scene.scanner.patience = HURRIED
    blocked = Blocked()
    for index in (0, 1, 3, 4, 6):
        scene.fs.put(f"*/npu{index}_mgmt/alive", blocked)
    for index in (2, 5, 7):
        scene.card(index).die()
    dead = {f"npu{index}": index not in {2, 5, 7} for index in range(8)}
    await scene.turns(lambda: scene.healthy == dead, scene.scanner.look)
    assert scene.scanner.is_waiting
    blocked.release()


async def test_cards_that_answer_are_looked_at_on_one_thread_also_beside_one_that_hangs(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, 3)
    await scene.scanner.enumerate_cards()
    scene.scanner.patience = HURRIED
    blocked = Blocked()
    scene.fs.put("*/npu0_mgmt/alive", blocked)
    await scene.scanner.look()
    for index in (1, 2):
        await scene.answered(index)
    scene.scanner.patience = CALM
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
    scene.scanner.patience = HURRIED
    caplog.clear()
    scene.card(0).hang("alive")
    await scene.scanner.look()
    await scene.answered(1)
    scene.scanner.patience = CALM
    # The first look that finds the card at its last one beyond the deadline begins its grace.
    for seconds, healthy in ((READ, True), (GRACE - 0.1, True), (0.1, False), (0.0, False)):
        scene.clock.now += seconds
        await scene.scanner.look()
        assert scene.healthy == {"npu0": healthy, "npu1": True}
        assert len(scene.reasons(0)) == 1
    assert scene.scanner.stuck == 1
    assert told(caplog) == [("WARNING", Event.CARD_UNHEALTHY, "npu0")]

    scene.card(0).revive()
    await scene.turns(lambda: scene.healthy["npu0"], scene.scanner.look)
    assert told(caplog) == [("INFO", Event.CARD_HEALTHY, "npu0")]


async def test_a_look_that_misses_its_deadline_cannot_tell(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    blocked = Blocked()
    scene.fs.put("*/npu0_mgmt/alive", blocked)
    scene.scanner.patience = Patience(read=0.01, round=0.02, sweep=0.01)
    await scene.scanner.look()
    # No other look is begun, so it is the deadline that ends this one.
    await eventually(lambda: scene.reasons(0), "the deadline")
    assert scene.healthy["npu0"]
    blocked.release()


async def test_a_card_that_hangs_from_the_start_is_listed_as_unhealthy_by_what_it_was_found_by(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.scanner.patience = HURRIED
    scene.card(0).hang("soc_rev")
    await scene.turns(lambda: scene.healthy == {"npu1": True}, scene.scanner.enumerate_cards)
    await scene.answered(1)
    scene.scanner.patience = CALM
    scene.clock.now += READ
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": False, "npu1": True}
    assert not unit(scene, "npu0pe0-1").healthy
    assert told(caplog) == [
        ("INFO", Event.CARD_FOUND, "npu1"),
        ("INFO", Event.CARD_FOUND, "npu0"),
        ("WARNING", Event.CARD_UNHEALTHY, "npu0"),
    ]

    scene.card(0).set_attribute("soc_rev", "B0")
    await scene.turns(lambda: all(scene.healthy.values()), scene.scanner.enumerate_cards)
    assert (scene.device(0).soc_rev, scene.device(0).unreadable) == ("B0", ())
    assert told(caplog) == [("INFO", Event.CARD_HEALTHY, "npu0")]


async def test_a_card_with_an_attribute_that_cannot_be_read_is_offered_all_the_same(scene: Scene) -> None:
    scene.fs.put("*/npu0_mgmt/device_sn", EIO)
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}
    assert [item.subject for item in scene.device(0).unreadable] == ["device_sn"]


async def test_a_card_whose_life_cannot_be_read_keeps_its_health_for_a_while(scene: Scene) -> None:
    await scene.scanner.enumerate_cards()
    scene.fs.put("*/npu0_mgmt/alive", EIO)
    for seconds, healthy in ((0.0, True), (GRACE - 0.1, True), (0.1, False)):
        scene.clock.now += seconds
        await scene.scanner.look()
        assert scene.healthy == {"npu0": healthy, "npu1": True}


# -- a card that is slow ----------------------------------------------------------------------------------------------


class Slow:
    """A read that takes longer than a round waits for it, and comes back: after two rounds, whoever counts them."""

    def __init__(self) -> None:
        self._turn = threading.Semaphore(0)

    def __call__(self, path: str) -> str:
        """Wait until it is let go."""
        assert self._turn.acquire(timeout=PATIENCE)
        return RealFS().read_text(path)

    def let_go(self) -> None:
        """Let one reader go, this one or the next."""
        self._turn.release()


@pytest.mark.parametrize("attribute", ["alive", "device_sn"])
async def test_a_slow_card_is_healthy_and_its_death_is_seen_although_every_round_is_an_enumeration(
    scene: Scene, attribute: str
) -> None:
    slow = Slow()
    scene.scanner.patience = HURRIED
    scene.fs.put(f"*/npu0_mgmt/{attribute}", slow)

    async def two_rounds() -> None:
        await scene.scanner.enumerate_cards()
        await scene.scanner.enumerate_cards()
        slow.let_go()
        await scene.answered(0)

    both = {"npu0": True, "npu1": True}
    await scene.turns(lambda: scene.healthy == both, two_rounds)
    for _ in range(4):
        await two_rounds()
        # Were a slow card taken for a stuck one, this would be told of it, and its grace would begin.
        assert (scene.healthy, scene.reasons(0)) == (both, ())
    scene.card(0).die()
    await scene.turns(lambda: not scene.healthy["npu0"], two_rounds)


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
    (line,) = [record for record in caplog.records if record.getMessage() == Event.LOOK_FAILED]
    assert line.exc_info is not None
    assert line.exc_info[2] is not None
    scene.fs.clear()
    await scene.turns(lambda: scene.healthy["npu0"], scene.scanner.look)


async def test_an_unexpected_fault_of_an_identification_costs_its_card_only(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.fs.put("*/npu0_mgmt/device_sn", beyond_all_expectations)
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu1": True}
    assert told(caplog).count(("ERROR", Event.LOOK_FAILED, "npu0")) == 1
    scene.fs.clear()
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}


async def test_faults_that_differ_each_time_are_logged_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    await scene.scanner.enumerate_cards()
    number = itertools.count()

    def another_fault(_: str) -> str:
        raise RuntimeError(f"fault {next(number)}")

    scene.fs.put("*/npu0_mgmt/alive", another_fault)
    for _ in range(20):
        await scene.scanner.look()
    assert next(number) >= 20
    assert caplog.messages.count(Event.LOOK_FAILED) == 1


# -- years of it ------------------------------------------------------------------------------------------------------


def remembered(scanner: Scanner) -> set[tuple[str, object]]:
    """Whatever the scanner and its threads keep by card."""
    return {
        (name, each)
        for whose in (scanner, scanner._threads)
        for name, part in vars(whose).items()
        if isinstance(part, dict | set | frozenset)
        for each in part
        if each not in ALWAYS_THERE
    }


@contextmanager
def hung(scene: Scene, index: int = 9) -> Iterator[None]:
    blocked = Blocked()
    scene.fs.put(f"*/npu{index}_mgmt/*", blocked)
    yield
    blocked.release()
    scene.fs.clear()


@contextmanager
def failing_with(fault: Fault, scene: Scene) -> Iterator[None]:
    scene.fs.put("*/npu9_mgmt/*", fault)
    yield
    scene.fs.clear()


@contextmanager
def rejected(scene: Scene) -> Iterator[None]:
    scene.card(9).set_attribute("platform_type", "VITIS")
    yield


@contextmanager
def without_threads(scene: Scene) -> Iterator[None]:
    """Where other cards that hang have the last threads."""
    with hung(scene, 0), hung(scene, 1), no_more_threads():
        yield


WRONG: dict[str, Callable[[Scene], AbstractContextManager[None]]] = {
    "hangs": hung,
    "is a surprise": partial(failing_with, beyond_all_expectations),
    "cannot be asked": partial(failing_with, failing(errno.EMFILE)),
    "is left no thread": without_threads,
    "is somebody else's": rejected,
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("is_known", [True, False], ids=["known before", "never identified"])
async def test_nothing_is_remembered_of_a_card_that_has_gone(scene: Scene, wrong: str, *, is_known: bool) -> None:
    """Numbers may be given out anew for years."""

    async def until_every_read_is_back() -> None:
        await scene.turns(lambda: not scene.scanner.is_waiting, scene.scanner.enumerate_cards)

    await scene.scanner.enumerate_cards()
    card = scene.host.plug(warboy(9))
    if is_known:
        await scene.scanner.enumerate_cards()
    scene.scanner.patience = HURRIED
    with WRONG[wrong](scene):
        for _ in range(2):
            await scene.scanner.enumerate_cards()
        card.disappear()
        await scene.scanner.enumerate_cards()
    for _ in range(2):
        await until_every_read_is_back()
        scene.clock.now += FORGET_AFTER
        scene.scanner.settle(FUSION, NOTHING_HELD)
    await until_every_read_is_back()
    assert set(scene.healthy) == {"npu0", "npu1"}
    assert (scene.scanner.rejected, scene.scanner.unasked, scene.scanner.stuck) == ((), 0, 0)
    assert remembered(scene.scanner) == set()


def cost_of_a_round(count: int) -> int:
    """Lines of Python for taking in one look at each of so many cards."""

    def look_at_each() -> None:
        fleet = start
        for card in start.cards:
            after = fleet.with_look(card.device.key, HEALTHY, 0.0)
            assert len(list(health_changes(fleet, after))) <= 1
            fleet = after

    start = Fleet().with_devices([warboy_card(index) for index in range(count)])
    return lines_run(look_at_each)


def test_four_times_the_cards_do_not_cost_many_times_more() -> None:
    # A look goes over all cards once, so a round is sixteen times as much; twice over for each would be 64 times.
    assert cost_of_a_round(64) / cost_of_a_round(16) < 32


# -- a host that cannot be listed -------------------------------------------------------------------------------------


async def test_a_host_that_cannot_be_listed_keeps_its_cards_looks_at_them_and_is_told_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanner.enumerate_cards()
    caplog.clear()
    scene.fs.put(f"{scene.host.devfs}", EIO)
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}
    assert told(caplog) == [("ERROR", Event.CANNOT_LIST_CARDS, None)]
    scene.card(1).die()
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": False}

    caplog.clear()
    scene.fs.clear()
    for _ in range(3):
        await scene.scanner.enumerate_cards()
    assert told(caplog) == [("INFO", Event.CARDS_LISTED_AGAIN, None)]


async def test_missing_roots_are_told_and_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = tmp_path / "host"
    scanner = Scanner(Host(f"{missing}/sys", f"{missing}/dev"), Clock(), patience=CALM)
    for _ in range(2):
        await scanner.enumerate_cards()
    assert told(caplog) == [("ERROR", Event.CANNOT_LIST_CARDS, None)]
    FakeHost(missing, warboy(0))
    await scanner.enumerate_cards()
    assert [card.device.name for card in scanner.fleet.cards] == ["npu0"]


async def test_a_listing_that_hangs_keeps_the_cards(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    await scene.scanner.enumerate_cards()
    before = [card.device for card in scene.fleet.cards]
    caplog.clear()
    blocked = Blocked()
    scene.fs.put(f"{scene.host.devfs}", blocked)
    scene.scanner.patience = Patience(read=0.01, round=0.02, sweep=0.01)
    for _ in range(3):
        await scene.scanner.enumerate_cards()
        scene.clock.now += 10.0
    assert [card.device for card in scene.fleet.cards] == before
    assert [line for line in told(caplog) if line[0] == "ERROR"] == [("ERROR", Event.CANNOT_LIST_CARDS, None)]
    blocked.release()


async def test_a_listing_that_hangs_is_no_card_that_hangs(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, 0)
    scene.scanner.patience = Patience(read=0.01, round=0.02, sweep=0.01)
    blocked = Blocked()
    scene.fs.put("*", blocked)
    await scene.scanner.enumerate_cards()
    scene.clock.now += READ
    await scene.scanner.enumerate_cards()
    assert scene.scanner.stuck == 0
    blocked.release()


# -- what is no card --------------------------------------------------------------------------------------------------


async def test_a_known_card_that_turns_into_somebody_elses_is_unhealthy_until_it_is_ours_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.card(1).set_attribute("platform_type", "VITIS")
    await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True}
    for _ in range(2):
        scene.card(1).set_attribute("platform_type", "FuriosaAI")
        await scene.scanner.enumerate_cards()
        assert unit(scene, "npu1pe0-1").healthy
        assert not scene.scanner.rejected
        caplog.clear()
        scene.card(1).set_attribute("platform_type", "VITIS")
        for _ in range(3):
            await scene.scanner.enumerate_cards()
            await scene.scanner.look()
        (rejected,) = scene.scanner.rejected
        assert unit(scene, "npu1pe0-1").objections == (rejected.reason,)
        assert unit(scene, "npu0pe0-1").healthy
        assert told(caplog) == [("WARNING", Event.CARD_NOT_OFFERED, "npu1")]


# -- nothing left to ask with ------------------------------------------------------------------------------------------


async def test_without_more_threads_one_card_that_hangs_costs_the_others_nothing(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, 4)
    await scene.scanner.enumerate_cards()
    scene.scanner.patience = Patience(read=READ, round=1.1, sweep=1.0)
    blocked = Blocked()
    scene.fs.put("*/npu0_mgmt/alive", blocked)
    with no_more_threads():
        scene.card(3).die()
        await scene.turns(lambda: not scene.healthy["npu3"], scene.scanner.look)
        for index in (1, 2, 3):
            await scene.answered(index)
        scene.scanner.patience = CALM
        for seconds in (READ, GRACE):
            scene.clock.now += seconds
            await scene.scanner.enumerate_cards()
        assert scene.healthy == {"npu0": False, "npu1": True, "npu2": True, "npu3": False}
        assert (scene.scanner.stuck, scene.scanner.unasked) == (1, 0)
    blocked.release()


async def test_cards_that_could_not_be_asked_stay_as_they_were_and_that_is_said_once_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two cards that hang take both threads that there are. The others are not asked, for hours."""
    scene = scene_of(tmp_path, 4)
    others = {(Arch.WARBOY, 2), (Arch.WARBOY, 3)}
    scene.card(3).die()
    await scene.scanner.enumerate_cards()
    for _ in range(2):
        scene.scanner.patience = Patience(read=0.05, round=1.1, sweep=1.0)
        blocked = Blocked()
        for number in (0, 1):
            scene.fs.put(f"*/npu{number}_mgmt/alive", blocked)
        with no_more_threads():
            await scene.turns(lambda: others <= scene.scanner._unasked, scene.scanner.look)
            for _ in range(3):
                scene.clock.now += 3600.0
                await scene.scanner.look()
            assert {name: scene.healthy[name] for name in ("npu2", "npu3")} == {"npu2": True, "npu3": False}
            assert scene.scanner.unasked >= 2
            assert told(caplog).count(("ERROR", Event.CANNOT_ASK_CARDS, None)) == 1
        blocked.release()
        scene.fs.clear()
        scene.scanner.patience = CALM
        await scene.turns(lambda: scene.scanner.unasked == 0, scene.scanner.enumerate_cards)
        assert told(caplog).count(("INFO", Event.CARDS_ASKED_AGAIN, None)) == 1
    scene.card(3).revive()
    await scene.turns(lambda: all(scene.healthy.values()), scene.scanner.look)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM], ids=errno.errorcode.get)
async def test_a_lack_of_descriptors_or_memory_is_no_fault_of_a_card(
    scene: Scene, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    await scene.scanner.enumerate_cards()
    scene.fs.put("*", failing(code))
    caplog.clear()
    for _ in range(3):
        scene.clock.now += GRACE + 1
        await scene.scanner.enumerate_cards()
    assert scene.healthy == {"npu0": True, "npu1": True}
    assert sorted(told(caplog)) == [
        ("ERROR", Event.CANNOT_ASK_CARDS, None),
        ("ERROR", Event.CANNOT_LIST_CARDS, None),
    ]
