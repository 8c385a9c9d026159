"""The collector: what errors of every kind, clocks that step and counters that wrap make of a snapshot."""

import asyncio
import errno
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.testing import FakeHost, rngd, warboy
from npu_core.testing.faults import Blocked, FaultyFS, failing, garbage
from npu_metrics_exporter.collector import READ_DEADLINE, SWEEP_TIMEOUT, Collector
from npu_metrics_exporter.counters import Counters
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.metrics.snapshot import CardReport, CardState, CardStatus
from testkit.refused_threads import no_more_threads
from testkit.waiting import until
from tests.metrics_exporter.cards import lines, text

FIRST, SECOND, THIRD = ((Arch.WARBOY, index) for index in range(3))
RNGD = (Arch.RENEGADE, 0)
MAX_AGE, GRACE = 30.0, 300.0
Told = Callable[[], list[str]]


class Bench:
    """A host with faults, and a collector of it whose clocks the test turns.

    The collector waits for reads, but not by the clock of the machine: its time is up when whatever it still waits for
    hangs. Then the clock of the test has gone on by that time.

    Attributes:
        now: monotonic seconds.
        wall: seconds since the epoch.
        waits: seconds that the collector waited in vain, each time.
        hung: reads that hung so far.
        behind: reads that wait for a thread whose read hangs.
    """

    def __init__(self, host: FakeHost) -> None:
        """A collector that has not looked yet."""
        self.host = host
        self.faults = FaultyFS()
        self.telemetry = Counters()
        self.now = 1000.0
        self.wall = 1_750_000_000.0
        self._blocked: list[Blocked] = []
        self._hung = 0
        self.waits: list[float] = []
        self.hung = self.behind = 0
        self.collector = self.collector_that_waits(self._wait)

    def collector_that_waits(self, wait: Callable[[Collection["asyncio.Future[Any]"], float], Any]) -> Collector:
        return Collector(self.host.open(self.faults), self.telemetry, lambda: self.now, lambda: self.wall, wait)

    async def _wait(self, futures: Collection["asyncio.Future[Any]"], seconds: float) -> None:
        while left := [each for each in futures if not each.done()]:
            come = sum(each.wait_for_reader(0) for each in self._blocked)
            self._hung, self.hung = self._hung + come, self.hung + come
            if self._hung and len(left) <= self._hung + self.behind:
                self.now += seconds
                self.waits.append(seconds)
                if seconds == READ_DEADLINE:  # which only the list of cards has for itself
                    self._hung = 0
                return
            await asyncio.wait(left, timeout=0.005, return_when=asyncio.FIRST_COMPLETED)

    def hang(self, pattern: str) -> None:
        """Reads of these files do not come back."""
        self._blocked.append(Blocked())
        self.faults.put(pattern, self._blocked[-1])

    def release(self) -> None:
        for each in self._blocked:
            each.release()
        self._blocked.clear()
        self.faults.clear()

    async def collect(self, max_age: float = MAX_AGE) -> None:
        self._hung = 0
        await self.collector.collect(max_age, GRACE)

    def card(self, key: tuple[Arch, int] = FIRST) -> CardState:
        card = self.collector.snapshot.card(key)
        assert card is not None
        return card

    def report(self, key: tuple[Arch, int] = FIRST) -> CardReport:
        report = self.card(key).report
        assert report is not None
        return report

    def busy(self, cores: CoreRange, key: tuple[Arch, int] = FIRST) -> list[float]:
        """What part of the time these cores worked; empty if that is not known."""
        return [each.busy for each in self.report(key).utilization if each.cores == cores]

    def remove_files(self, names: str) -> None:
        for file in Path(self.host.devfs).glob(names):
            file.unlink()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes a bench of cards; nothing hangs after the test."""
    made: list[Bench] = []

    def bench(*cards: Any) -> Bench:  # noqa: ANN401  # declarations of cards
        made.append(Bench(FakeHost(tmp_path, *cards)))
        return made[-1]

    yield bench
    for each in made:
        each.release()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    """Two Warboys."""
    return make(warboy(0), warboy(1))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """The events that were logged since the last call."""
    caplog.set_level(logging.INFO)

    def taken() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return taken


# -- one value at a time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "code", "reason", "subject"),
    [
        ("*/0000:17:00.0/hwmon/hwmon*/temp3_input", errno.EIO, "io", "npu0/temp3_input"),
        ("*/0000:17:00.0/hwmon/hwmon*/temp3_input", errno.ENODEV, "gone", "npu0/temp3_input"),
        ("*/npu0_mgmt/alive", errno.EIO, "io", "alive"),
        ("*/npu0_mgmt/heartbeat", errno.EAGAIN, "busy", "heartbeat"),
        ("*/npu0_mgmt/atr_error", errno.EACCES, "access", "atr_error"),
        ("*/npu0_mgmt/ne_clk_freq_info", errno.EIO, "io", "clocks"),
        ("*/npu0_mgmt/performance_mode", errno.EIO, "io", "performance_mode"),
        ("*/npu0pe0/perf_regs", errno.EIO, "io", "pe0 counters"),
    ],
)
async def test_a_value_that_cannot_be_read_costs_itself_and_is_counted(
    bench: Bench, file: str, code: int, reason: str, subject: str
) -> None:
    bench.faults.put(file, failing(code))
    await bench.collect()
    assert [item.subject for item in bench.report().unreadable] == [subject]
    assert bench.report(SECOND).unreadable == ()
    assert bench.telemetry.read_errors == {("npu0", "warboy", reason): 1}
    assert bench.card().status is CardStatus.PRESENT
    # Nobody was ever told that it is alive.
    assert (bench.card().alive is False) == (subject == "alive")


@pytest.mark.parametrize(
    ("family", "file", "content"),
    [
        ("hw_temperature", "temp1_input", "3892313987"),
        ("hw_current", "curr1_input", "-1"),
        ("uptime", "heartbeat", "4294967295"),
        ("error", "atr_error", "Device Error: 4294967295"),
        ("clock_frequency_hertz", "ne_clk_freq_info", "ne tensor (MHz): 999999999"),
    ],
)
async def test_a_reading_that_cannot_be_is_counted_and_never_a_sample(
    bench: Bench, family: str, file: str, content: str
) -> None:
    await bench.collect()
    before = lines(bench.collector.snapshot, f"furiosa_npu_{family}")
    bench.faults.put(f"*/{file}", garbage(content))
    await bench.collect()
    assert set(lines(bench.collector.snapshot, f"furiosa_npu_{family}")) < set(before)
    assert bench.telemetry.read_errors == {(f"npu{index}", "warboy", "impossible"): 1 for index in (0, 1)}


async def test_a_look_that_breaks_as_none_should_costs_its_card_alone(bench: Bench, told: Told) -> None:
    def nonsense(_: str) -> str:
        raise ZeroDivisionError("nobody thought of this")

    bench.faults.put("*/npu0_mgmt/heartbeat", nonsense)
    await bench.collect()
    await bench.collect()
    assert (bench.card().status, bench.card(SECOND).status) == (CardStatus.FAILED, CardStatus.PRESENT)
    assert bench.telemetry.read_errors == {("npu0", "warboy", "unforeseen"): 2}
    assert told().count(Event.LOOK_FAILED) == 1


@pytest.mark.parametrize(
    "attribute", ["device_uuid", "device_sn", "busname", "version", "fw_version", "soc_rev", "device_type"]
)
async def test_an_identity_that_cannot_be_read_for_once_changes_no_series(bench: Bench, attribute: str) -> None:
    await bench.collect()
    before = text(bench.collector.snapshot)
    bench.faults.put(f"*/npu0_mgmt/{attribute}", failing(errno.EIO))
    await bench.collect()
    assert bench.telemetry.read_errors.total() > 0
    assert text(bench.collector.snapshot) == before


# -- the list of cards -------------------------------------------------------------------------------------------------


async def test_a_host_that_cannot_be_listed_loses_no_card_and_their_values_stay_fresh(bench: Bench, told: Told) -> None:
    await bench.collect()
    told()
    bench.faults.put(bench.host.devfs, failing(errno.EIO))
    bench.host.cards[0].set_uptime(77)
    bench.now += 100
    await bench.collect()
    await bench.collect()
    assert bench.report().uptime == 77
    assert (told(), bench.telemetry.listing_up) == ([Event.CANNOT_LIST], False)
    bench.faults.clear()
    await bench.collect()
    assert (told(), bench.telemetry.listing_up) == ([Event.CAN_LIST_AGAIN], True)


async def test_a_listing_that_hangs_keeps_the_cards_is_begun_once_and_said_once(bench: Bench, told: Told) -> None:
    await bench.collect()
    told()
    bench.hang(bench.host.sysfs)
    for _ in range(5):
        await bench.collect()
        assert (bench.card().status, bench.telemetry.listing_up) == (CardStatus.PRESENT, False)
        bench.now += 10
    assert bench.hung == 1
    assert told() == [Event.CANNOT_LIST]
    bench.release()


async def test_what_is_no_card_of_ours_is_said_once_and_left_out(bench: Bench, told: Told) -> None:
    bench.host.cards[1].set_attribute("platform_type", "VITIS")
    await bench.collect()
    await bench.collect()
    assert told() == [Event.CARD_FOUND, Event.CARD_LEFT_OUT]
    assert bench.card(SECOND).status is CardStatus.REJECTED
    assert (bench.collector.snapshot.present, bench.collector.snapshot.most) == (1, 1)


async def test_a_card_that_leaves_and_comes_back_is_said_each_time(bench: Bench, told: Told) -> None:
    await bench.collect()
    told()
    bench.host.cards[1].disappear()
    for _ in range(2):
        await bench.collect()
        assert bench.card(SECOND).alive is False
    assert told() == [Event.CARD_GONE]
    bench.host.cards[1].reappear()
    for _ in range(2):
        await bench.collect()
    assert told() == [Event.CARD_BACK]
    assert bench.card(SECOND).alive is True


# -- hanging -----------------------------------------------------------------------------------------------------------


async def test_a_card_that_hangs_is_asked_nothing_more_and_makes_no_other_card_old(bench: Bench, told: Told) -> None:
    await bench.collect()
    told()
    bench.hang("*/npu0_mgmt/heartbeat")
    await bench.collect(max_age=READ_DEADLINE / 2)
    assert bench.card().stuck
    assert bench.report(SECOND).uptime is not None
    assert bench.telemetry.read_errors == {("npu0", "warboy", "stuck"): 1}
    bench.faults.reads.clear()
    await bench.collect()
    assert not [path for path in bench.faults.reads if "npu0_mgmt" in path]
    assert told() == [Event.CARD_STUCK]
    bench.release()
    await bench.collect()
    until(lambda: bench.collector._threads.busy(FIRST) is None, "the read is over")
    await bench.collect()
    assert (bench.card().stuck, told()) == (False, [Event.CARD_ANSWERS])


async def test_a_card_that_hangs_from_the_start_is_dead_and_one_that_hangs_later_after_the_grace(bench: Bench) -> None:
    bench.hang("*/npu0_mgmt/heartbeat")
    await bench.collect()
    assert (bench.card().alive, bench.card(SECOND).alive) == (False, True)
    bench.hang("*/npu1_mgmt/heartbeat")
    bench.now += 10
    await bench.collect()
    assert (bench.card(SECOND).stuck, bench.card(SECOND).alive) == (True, True)
    bench.now += 30
    await bench.collect()
    assert bench.card(SECOND).alive is False


async def test_of_many_cards_one_that_hangs_leaves_the_others_a_thread_each(make: Callable[..., Bench]) -> None:
    bench = make(*map(warboy, range(12)))
    bench.hang("*npu3_mgmt/alive")
    await bench.collect()
    assert {card.key[1] for card in bench.collector.snapshot.cards if card.device is None or card.stuck} == {3}
    # One card holds up the others for a moment, and then itself. The deadline is for all together: no time adds up.
    assert sum(bench.waits[:-1]) <= 2 * SWEEP_TIMEOUT
    assert sum(bench.waits) == pytest.approx(READ_DEADLINE)


async def test_many_cards_of_which_each_is_done_in_time_are_read_on_one_thread(make: Callable[..., Bench]) -> None:
    """All together take longer than one card may hold the others up."""
    bench = make(*map(warboy, range(8)))
    turns = threading.Semaphore(0)

    def slowly(_: str) -> str:
        turns.acquire()
        return "1"

    def over() -> int:
        return sum(job.future.done() for job in bench.collector._threads._jobs.values())

    async def wait(futures: Collection["asyncio.Future[Any]"], seconds: float) -> None:
        """The time is up when one more card was read."""
        before = over()
        turns.release()
        while over() == before and not all(each.done() for each in futures):  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.001)
        bench.now += seconds

    bench.faults.put("*/alive", slowly)
    bench.collector = bench.collector_that_waits(wait)
    before = threads_of_single_cards()
    await bench.collect()
    assert [card.status for card in bench.collector.snapshot.cards] == [CardStatus.PRESENT] * 8
    assert threads_of_single_cards() <= before


def threads_of_single_cards() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("device (")}


async def test_a_card_that_could_not_be_asked_is_as_alive_as_it_was_and_the_lack_is_counted(
    make: Callable[..., Bench], told: Told
) -> None:
    """Two cards that hang take both threads that there are; for the third, none is left."""
    bench = make(*map(warboy, range(3)))
    await bench.collect()
    told()
    bench.hang("*/npu0_mgmt/alive")
    bench.hang("*/npu1_mgmt/alive")
    bench.behind = 1
    with no_more_threads():
        for _ in range(3):
            bench.now += 3600.0
            await bench.collect()
            bench.behind = 0
        third = bench.card(THIRD)
        assert third.health.is_healthy
        assert (third.status, third.stuck) == (CardStatus.FAILED, False)
        assert bench.telemetry.read_errors["npu2", "warboy", "exhausted"] == 3
        assert told().count(Event.CARD_NOT_ASKED) == 1
    bench.release()
    await bench.collect()
    assert bench.card(THIRD).status is CardStatus.PRESENT


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
async def test_a_wall_clock_that_steps_makes_no_value_old_and_no_card_gone(bench: Bench, step: float) -> None:
    await bench.collect()
    bench.wall += step
    bench.now += 10
    await bench.collect()
    assert bench.report().uptime is not None
    assert bench.card().last_success == bench.wall
    bench.host.cards[0].disappear()
    await bench.collect()
    bench.wall -= 2 * step
    bench.now += GRACE - 1
    await bench.collect()
    assert bench.card().status is CardStatus.DEPARTED
    bench.now += 2
    await bench.collect()
    assert bench.collector.snapshot.card(FIRST) is None


async def test_values_are_dropped_exactly_when_they_are_too_old(bench: Bench) -> None:
    await bench.collect()
    bench.faults.put("*/npu0_mgmt/heartbeat", lambda _: 1 / 0)  # type: ignore[arg-type,return-value]  # it raises
    bench.now += MAX_AGE
    await bench.collect()
    assert bench.report().uptime is not None
    bench.now += 0.001
    await bench.collect()
    assert (bench.card().report, bench.card().alive) == (None, True)
    bench.now += 30
    await bench.collect()
    assert bench.card().alive is False


async def test_how_long_a_collection_took_is_counted_by_the_same_clock(bench: Bench) -> None:
    bench.hang("*/npu0_mgmt/heartbeat")
    await bench.collect()
    assert bench.telemetry.collections.total == pytest.approx(READ_DEADLINE)
    assert sum(bench.telemetry.collections.buckets) == 1


# -- identity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "is_looked_at"), [("npu1pe0", True), ("npu1*", False)])
async def test_a_card_that_lost_a_device_file_or_has_none_is_dead(
    bench: Bench, names: str, *, is_looked_at: bool
) -> None:
    """None: as in a container that sees /sys of the host and has device files of its own."""
    if is_looked_at:
        await bench.collect()
    bench.remove_files(names)
    await bench.collect()
    assert (bench.card().alive, bench.card(SECOND).alive) == (True, False)


async def test_a_card_that_is_back_under_another_number_is_said_once_and_told_of_once(
    make: Callable[..., Bench], told: Told
) -> None:
    bench = make(warboy(0))
    await bench.collect()
    device = bench.card().device
    assert device is not None
    bench.host.cards[0].disappear()
    await bench.collect()
    told()
    moved = bench.host.plug(warboy(2))
    moved.set_attribute("device_uuid", str(device.uuid))
    moved.remove_attribute("device_sn")
    await bench.collect()
    await bench.collect()
    assert [(card.name, card.alive) for card in bench.collector.snapshot.cards] == [("npu2", True)]
    assert told() == [Event.ANOTHER_NUMBER]


async def test_another_card_under_a_number_starts_anew_and_is_said_once(bench: Bench, told: Told) -> None:
    await bench.collect()
    told()
    bench.host.cards[0].set_attribute("device_uuid", "OTHER-UUID")
    await bench.collect()
    await bench.collect()
    assert told() == [Event.ANOTHER_CARD]
    device = bench.card().device
    assert device is not None
    assert device.uuid == "OTHER-UUID"


async def test_two_entries_of_one_card_are_exported_once_and_that_is_said_once(
    bench: Bench, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    bench.host.cards[1].set_attribute("busname", "0000:17:00.0")
    await bench.collect()
    fields = caplog.records[-1].__dict__["npu_fields"]
    assert (fields["card"], fields["family"]) == ("npu1", Arch.WARBOY)
    for _ in range(3):
        await bench.collect()
    assert told() == [Event.CARD_FOUND, Event.CARD_FOUND, Event.CARD_LEFT_OUT]
    assert (bench.collector.snapshot.present, bench.collector.snapshot.most) == (1, 1)
    bench.host.cards[1].set_attribute("busname", "0000:6d:00.0")
    await bench.collect()
    assert bench.collector.snapshot.present == 2


# -- counters ----------------------------------------------------------------------------------------------------------

PE0 = CoreRange(0, 0)


async def test_how_busy_pes_were_is_told_from_two_looks_close_together(bench: Bench) -> None:
    card = bench.host.cards[0]
    card.set_perf_regs(PE0, 1_000, 100, 50)
    await bench.collect()
    assert bench.collector.wants_counters
    card.set_perf_regs(PE0, 1 << 40, 5_000, 2_500)  # the time in between is of no account
    await bench.collector.look_at_counters()
    card.set_perf_regs(PE0, (1 << 40) + 1_000, 5_250, 2_625)
    await bench.collect()
    assert bench.busy(PE0) == [0.25]


async def test_work_is_told_by_pes_and_by_a_range_around_them_only_where_they_do_not_tell(bench: Bench) -> None:
    await bench.collect()
    assert [str(each.cores) for each in bench.report().counters] == ["0", "1"]
    bench.faults.put("*/npu0pe[01]/perf_regs", failing(errno.EACCES))
    await bench.collect()
    assert [str(each.cores) for each in bench.report().counters] == ["0-1"]


async def test_counters_of_64_bits_need_no_look_of_their_own_and_tell_nothing_of_a_reset(
    make: Callable[..., Bench],
) -> None:
    bench = make(rngd(0))
    busy = []
    for cycles, task in ((1000, 100), (2000, 200), (3000, 10), (4000, 110)):
        bench.host.cards[0].set_perf_regs(PE0, cycles * 1_000_000, task * 1_000_000)
        await bench.collect()
        assert not bench.collector.wants_counters
        busy.append(bench.busy(PE0, RNGD))
    assert busy == [[], [0.1], [], [0.1]]
    assert bench.telemetry.read_errors == {}


async def test_counters_that_contradict_each_other_are_counted_and_give_no_utilization(
    make: Callable[..., Bench],
) -> None:
    """Of 64 bits, none went back, and yet tasks ran for longer than time passed: no reset explains it."""
    bench = make(rngd(0))
    for cycles, task in ((1000, 100), (2000, 1300)):
        bench.host.cards[0].set_perf_regs(CoreRange(3, 3), cycles * 1_000_000, task * 1_000_000)
        await bench.collect()
    assert bench.busy(CoreRange(3, 3), RNGD) == []
    assert bench.telemetry.read_errors == {("npu0", "renegade", "impossible"): 1}
    [item] = bench.report(RNGD).unreadable
    assert (item.subject, item.reason) == ("pe3 counters", "impossible")


async def test_counters_that_the_driver_refuses_while_nobody_works_are_no_error(bench: Bench) -> None:
    bench.faults.put("*/perf_regs", failing(errno.EACCES))
    await bench.collect()
    assert bench.telemetry.read_errors == {}
    assert not bench.collector.wants_counters


async def test_only_cards_whose_counters_are_soon_full_are_asked_for_them_alone(make: Callable[..., Bench]) -> None:
    bench = make(warboy(0), rngd(0))
    await bench.collect()
    bench.faults.reads.clear()
    await bench.collector.look_at_counters()
    assert bench.faults.reads
    assert [path for path in bench.faults.reads if "rngd" in path] == []


async def test_counters_from_before_a_look_that_failed_tell_nothing_of_the_time_since(bench: Bench) -> None:
    card = bench.host.cards[0]
    for cycles, fault in ((1_000, ""), (2_000, "1 / 0"), (3_000, ""), (4_000, "")):
        card.set_perf_regs(PE0, cycles, cycles // 2, 0)
        bench.faults.clear()
        if fault:
            bench.faults.put("*/npu0_mgmt/heartbeat", lambda _: 1 / 0)  # type: ignore[arg-type,return-value]  # it raises
        await bench.collect()
        assert bench.busy(PE0) == ([0.5] if cycles == 4_000 else [])


async def test_a_card_that_is_gone_or_none_needs_its_threads_and_counters_no_more(bench: Bench) -> None:
    await bench.collect()
    most = bench.collector.snapshot.most
    bench.host.cards[1].disappear()
    await bench.collect()
    assert bench.collector._before.keys() == bench.collector._told.keys() == {FIRST}
    assert SECOND not in bench.collector._threads._jobs
    bench.host.cards[0].set_attribute("platform_type", "VITIS")
    await bench.collect()
    assert not bench.collector.wants_counters
    bench.faults.reads.clear()
    await bench.collector.look_at_counters()
    assert (bench.faults.reads, bench.collector.snapshot.most) == ([], most)
