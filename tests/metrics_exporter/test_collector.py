"""The collector: what errors of every kind, clocks that step and counters that wrap make of a snapshot."""

import errno
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.testing import CardPlan, FakeHost, rngd, warboy
from npu_core.testing.faults import Blocked, FaultyFS, failing, garbage
from npu_metrics_exporter.collector import Collector
from npu_metrics_exporter.podmap import PodMap
from npu_metrics_exporter.policy import ExportPolicy
from npu_metrics_exporter.series import Budget, families
from npu_metrics_exporter.snapshot import CardState, CardStatus
from npu_metrics_exporter.telemetry import Telemetry
from testkit.refused_threads import no_more_threads
from tests.metrics_exporter.cards import text

FIRST, SECOND = (Arch.WARBOY, 0), (Arch.WARBOY, 1)
MAX_AGE, GRACE = 30.0, 300.0


class Bench:
    """A host with faults, and a collector of it whose clocks the test turns.

    Attributes:
        now: monotonic seconds.
        wall: seconds since the epoch.
    """

    def __init__(self, host: FakeHost) -> None:
        """A collector that has not looked yet."""
        self.host = host
        self.faults = FaultyFS()
        self.telemetry = Telemetry()
        self.now = 1000.0
        self.wall = 1_750_000_000.0
        self.collector = Collector(host.open(self.faults), self.telemetry, lambda: self.now, lambda: self.wall)

    async def collect(self) -> None:
        await self.collector.collect(MAX_AGE, GRACE)

    def card(self, key: tuple[Arch, int] = FIRST) -> CardState:
        card = self.collector.snapshot.card(key)
        assert card is not None
        return card


def remove_files(host: FakeHost, names: str) -> None:
    for file in Path(host.devfs).glob(names):
        file.unlink()


def samples(bench: Bench, family: str) -> set[tuple[str, ...]]:
    """The labels of the family's series, those of cards that are exported now."""
    made = families(bench.collector.snapshot, PodMap(), ExportPolicy(), Budget(10_000))
    return {
        tuple(map("=".join, sorted(sample.labels.items())))
        for each in made
        for sample in each.samples
        if each.name == family
    }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(FakeHost(tmp_path, warboy(0), warboy(1)))


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged since the last call."""
    caplog.set_level(logging.INFO)

    def taken() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return taken


# -- one value at a time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EIO, "io"),
        (errno.ENODEV, "gone"),
        (errno.ENXIO, "gone"),
        (errno.EAGAIN, "busy"),
        (errno.EACCES, "access"),
        (errno.ETIMEDOUT, "io"),
    ],
    ids=errno.errorcode.get,
)
async def test_an_error_of_one_sensor_costs_that_one_and_is_counted(bench: Bench, code: int, reason: str) -> None:
    bench.faults.put("*/0000:17:00.0/hwmon/hwmon*/temp3_input", failing(code))
    await bench.collect()
    report = bench.card().report
    assert report is not None
    assert len(report.readings.values) == 21
    assert bench.telemetry.read_errors == {("npu0", "warboy", reason): 1}
    assert bench.card().status is CardStatus.PRESENT


@pytest.mark.parametrize("attribute", ["alive", "heartbeat", "atr_error", "ne_clk_freq_info", "performance_mode"])
async def test_an_error_of_one_attribute_costs_that_one_and_is_counted(bench: Bench, attribute: str) -> None:
    bench.faults.put(f"*/npu0_mgmt/{attribute}", failing(errno.EIO))
    await bench.collect()
    broken, whole = bench.card().report, bench.card(SECOND).report
    assert broken is not None
    assert whole is not None
    assert [item.subject for item in broken.unreadable] == [{"ne_clk_freq_info": "clocks"}.get(attribute, attribute)]
    assert bench.telemetry.read_errors == {("npu0", "warboy", "io"): 1}
    assert whole.unreadable == ()
    # Nobody was ever told that it is alive.
    assert (bench.card().alive is False) == (attribute == "alive")


@pytest.mark.parametrize(
    ("family", "file", "text", "reason"),
    [
        ("hw_temperature", "temp1_input", "3892313987", "impossible"),
        ("hw_power", "power1_average", "9223372036854775807", "impossible"),
        ("hw_voltage", "in0_input", "4294967295", "impossible"),
        ("hw_current", "curr1_input", "-1", "impossible"),
        ("uptime", "heartbeat", "4294967295", "impossible"),
        ("error", "atr_error", "Device Error: 4294967295", "impossible"),
        ("clock_frequency_hertz", "ne_clk_freq_info", "ne tensor (MHz): 999999999", "impossible"),
    ],
)
async def test_a_reading_that_cannot_be_is_counted_and_never_a_sample(
    bench: Bench, family: str, file: str, text: str, reason: str
) -> None:
    await bench.collect()
    before = samples(bench, f"furiosa_npu_{family}")
    bench.faults.put(f"*/{file}", garbage(text))
    await bench.collect()
    after = samples(bench, f"furiosa_npu_{family}")
    assert before > after
    assert bench.telemetry.read_errors == {("npu0", "warboy", reason): 1, ("npu1", "warboy", reason): 1}


async def test_a_64_bit_counter_that_was_reset_gives_no_utilization_of_that_span(tmp_path: Path) -> None:
    bench = Bench(FakeHost(tmp_path, rngd(0)))
    card, key, busy = bench.host.card(Arch.RENEGADE, 0), (Arch.RENEGADE, 0), []
    for cycles, task in ((1000, 100), (2000, 200), (3000, 10), (4000, 110)):
        card.set_perf_regs(CoreRange(0, 0), cycles * 1_000_000, task * 1_000_000)
        await bench.collect()
        report = bench.card(key).report
        assert report is not None
        busy.append([each.busy for each in report.utilization if each.cores == CoreRange(0, 0)])
    assert busy == [[], [0.1], [], [0.1]]
    assert bench.telemetry.read_errors == {}


async def test_counters_that_contradict_each_other_are_counted_and_give_no_utilization(tmp_path: Path) -> None:
    """Of 64 bits, none went back, and yet tasks ran for longer than time passed: no reset explains it."""
    bench = Bench(FakeHost(tmp_path, rngd(0)))
    for cycles, task in ((1000, 100), (2000, 1300)):
        bench.host.card(Arch.RENEGADE, 0).set_perf_regs(CoreRange(3, 3), cycles * 1_000_000, task * 1_000_000)
        await bench.collect()
    report = bench.card((Arch.RENEGADE, 0)).report
    assert report is not None
    assert CoreRange(3, 3) not in {each.cores for each in report.utilization}
    assert bench.telemetry.read_errors == {("npu0", "renegade", "impossible"): 1}
    [item] = report.unreadable
    assert (item.subject, item.reason) == ("pe3 counters", "impossible")
    assert "1200000000" in item.detail


async def test_counters_that_the_driver_refuses_while_nobody_works_are_no_error(bench: Bench) -> None:
    bench.faults.put("*/perf_regs", failing(errno.EACCES))
    await bench.collect()
    assert bench.telemetry.read_errors == {}
    assert not bench.collector.wants_counters


async def test_counters_that_cannot_be_read_for_another_reason_are_counted(bench: Bench) -> None:
    bench.faults.put("*/npu0pe0/perf_regs", failing(errno.EIO))
    await bench.collect()
    assert bench.telemetry.read_errors == {("npu0", "warboy", "io"): 1}


async def test_a_look_that_breaks_as_none_should_costs_its_card_alone(
    bench: Bench, events: Callable[[], list[str]]
) -> None:
    def nonsense(_: str) -> str:
        raise ZeroDivisionError("nobody thought of this")

    bench.faults.put("*/npu0_mgmt/heartbeat", nonsense)
    await bench.collect()
    await bench.collect()
    assert (bench.card().status, bench.card(SECOND).status) == (CardStatus.FAILED, CardStatus.PRESENT)
    assert bench.telemetry.read_errors == {("npu0", "warboy", "unforeseen"): 2}
    assert events().count("a look at a card failed") == 1


# -- a host that cannot be listed --------------------------------------------------------------------------------------


async def test_a_host_that_cannot_be_listed_loses_no_card_and_their_values_stay_fresh(
    bench: Bench, events: Callable[[], list[str]]
) -> None:
    await bench.collect()
    events()
    bench.faults.put(bench.host.devfs, failing(errno.EIO))
    bench.host.cards[0].set_uptime(77)
    bench.now += 100
    await bench.collect()
    await bench.collect()
    report = bench.card().report
    assert report is not None
    assert report.uptime == 77
    assert events() == ["cannot list the cards"]
    listing_up = [bench.telemetry.listing_up]
    bench.faults.clear()
    await bench.collect()
    assert [*listing_up, bench.telemetry.listing_up] == [False, True]
    assert events() == ["can list the cards again"]


async def test_what_is_no_card_of_ours_is_said_once_and_left_out(bench: Bench, events: Callable[[], list[str]]) -> None:
    bench.host.cards[1].set_attribute("platform_type", "VITIS")
    await bench.collect()
    await bench.collect()
    assert events() == ["card found", "card left out"]
    assert bench.card(SECOND).status is CardStatus.REJECTED
    assert (bench.collector.snapshot.present, bench.collector.snapshot.most) == (1, 1)


# -- hanging -----------------------------------------------------------------------------------------------------------


async def test_a_card_that_hangs_is_asked_nothing_more_and_makes_no_other_card_old(bench: Bench) -> None:
    await bench.collect()
    blocked = Blocked()
    bench.faults.put("*/npu0_mgmt/heartbeat", blocked)
    await bench.collector.collect(max_age=0.3, grace=GRACE)  # less than the card is waited for
    assert bench.card().stuck
    assert bench.card(SECOND).report is not None
    bench.faults.reads.clear()
    await bench.collect()
    assert not [path for path in bench.faults.reads if "npu0_mgmt" in path]
    blocked.release()


async def test_a_listing_that_hangs_is_said_once_however_long_it_hangs(
    bench: Bench, events: Callable[[], list[str]]
) -> None:
    await bench.collect()
    events()
    blocked = Blocked()
    bench.faults.put(bench.host.sysfs, blocked)
    for _ in range(5):
        await bench.collect()
        bench.now += 10
    assert events() == ["cannot list the cards"]
    blocked.release()


async def test_a_listing_that_hangs_keeps_the_cards_and_is_not_begun_twice(bench: Bench) -> None:
    await bench.collect()
    blocked = Blocked()
    bench.faults.put(bench.host.sysfs, blocked)
    await bench.collect()
    await bench.collect()
    assert blocked.wait_for_reader(0)
    assert not blocked.wait_for_reader(0.1)
    assert (bench.card().status, bench.telemetry.listing_up) == (CardStatus.PRESENT, False)
    blocked.release()


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
async def test_a_wall_clock_that_steps_makes_no_value_old_and_no_card_gone(bench: Bench, step: float) -> None:
    await bench.collect()
    bench.wall += step
    bench.now += 10
    await bench.collect()
    assert bench.card().report is not None
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
    assert bench.card().report is not None
    bench.now += 0.001
    await bench.collect()
    assert bench.card().report is None
    assert bench.card().alive is True
    bench.now += 30
    await bench.collect()
    assert bench.card().alive is False


# -- what cannot be read for once stays as it was known ----------------------------------------------------------------

IDENTITY = ("device_uuid", "device_sn", "busname", "version", "fw_version", "soc_rev", "device_type")


@pytest.mark.parametrize("kind", [warboy, rngd], ids=["warboy", "rngd"])
@pytest.mark.parametrize("attribute", IDENTITY)
async def test_an_identity_that_cannot_be_read_for_once_changes_no_series(
    tmp_path: Path, attribute: str, kind: Callable[[int], CardPlan]
) -> None:
    bench = Bench(FakeHost(tmp_path, kind(0)))
    await bench.collect()
    before = text(bench.collector.snapshot)
    bench.faults.put(f"*/*npu0*mgmt/{attribute}", failing(errno.EIO))
    bench.now += 10
    await bench.collect()
    assert sum(bench.telemetry.read_errors.values()) > 0
    assert text(bench.collector.snapshot) == before


async def test_a_card_that_hangs_from_the_start_is_dead_and_one_that_hangs_later_after_the_grace(bench: Bench) -> None:
    first, second = Blocked(), Blocked()
    bench.faults.put("*/npu0_mgmt/heartbeat", first)
    await bench.collect()
    assert (bench.card().alive, bench.card(SECOND).alive) == (False, True)
    bench.faults.put("*/npu1_mgmt/heartbeat", second)
    bench.now += 10
    await bench.collect()
    assert (bench.card(SECOND).stuck, bench.card(SECOND).alive) == (True, True)
    bench.now += 30
    await bench.collect()
    assert bench.card(SECOND).alive is False
    first.release()
    second.release()


async def test_a_device_file_that_vanishes_makes_the_card_dead_at_once(bench: Bench) -> None:
    await bench.collect()
    remove_files(bench.host, "npu0pe0")
    await bench.collect()
    assert (bench.card().alive, bench.card(SECOND).alive) == (False, True)


async def test_a_card_of_which_no_core_file_is_there_is_dead(tmp_path: Path) -> None:
    """As in a container that sees /sys of the host and has device files of its own."""
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    remove_files(host, "npu1*")
    bench = Bench(host)
    await bench.collect()
    assert (bench.card().alive, bench.card(SECOND).alive) == (True, False)


# -- identity ----------------------------------------------------------------------------------------------------------


async def test_a_card_that_is_back_under_another_number_is_said_once_and_told_of_once(
    tmp_path: Path, events: Callable[[], list[str]]
) -> None:
    host = FakeHost(tmp_path, warboy(0))
    bench = Bench(host)
    await bench.collect()
    uuid = bench.card().device.uuid  # type: ignore[union-attr]
    pci = bench.card().device.pci  # type: ignore[union-attr]
    host.cards[0].disappear()
    await bench.collect()
    events()
    moved = host.plug(warboy(2))
    moved.set_attribute("device_uuid", str(uuid))
    moved.remove_attribute("device_sn")
    assert pci is not None
    await bench.collect()
    await bench.collect()
    assert [(card.name, card.alive) for card in bench.collector.snapshot.cards] == [("npu2", True)]
    assert events() == ["card has another number now"]


async def test_another_card_under_a_number_starts_anew_and_is_said_once(
    bench: Bench, events: Callable[[], list[str]]
) -> None:
    await bench.collect()
    events()
    bench.host.cards[0].set_attribute("device_uuid", "OTHER-UUID")
    bench.host.cards[0].die()
    await bench.collect()
    await bench.collect()
    assert events() == ["another card has this number now"]
    device = bench.card().device
    assert device is not None
    assert device.uuid == "OTHER-UUID"


async def test_two_entries_of_one_card_are_exported_once_and_that_is_said_once(
    bench: Bench, events: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    bench.host.cards[1].set_attribute("busname", "0000:17:00.0")
    await bench.collect()
    assert [record.npu_fields for record in caplog.records][-1] == {  # type: ignore[attr-defined]
        "card": "npu1",
        "family": Arch.WARBOY,
        "reason": "it is the same hardware as npu0",
    }
    for _ in range(3):
        await bench.collect()
    assert events() == ["card found", "card found", "card left out"]
    assert (bench.collector.snapshot.present, bench.collector.snapshot.most) == (1, 1)
    bench.host.cards[1].set_attribute("busname", "0000:6d:00.0")
    await bench.collect()
    assert bench.collector.snapshot.present == 2


# -- counters ----------------------------------------------------------------------------------------------------------


def _work(bench: Bench, cores: CoreRange, cycles: int, busy: int) -> None:
    bench.host.cards[0].set_perf_regs(cores, cycles, busy, busy // 2)


async def test_how_busy_pes_were_is_told_from_two_looks_close_together(bench: Bench) -> None:
    pe = CoreRange(0, 0)
    _work(bench, pe, 1_000, 100)
    await bench.collect()
    assert bench.collector.wants_counters
    _work(bench, pe, 1 << 40, 5_000)  # the time in between is of no account
    await bench.collector.look_at_counters()
    _work(bench, pe, (1 << 40) + 1_000, 5_250)
    await bench.collect()
    report = bench.card().report
    assert report is not None
    assert [each.busy for each in report.utilization if each.cores == pe] == [0.25]


async def test_work_is_not_told_twice_by_a_pe_and_by_a_range_around_it(bench: Bench) -> None:
    await bench.collect()
    report = bench.card().report
    assert report is not None
    assert [str(each.cores) for each in report.counters] == ["0", "1"]


async def test_where_only_a_fused_range_tells_it_is_told_by_that(bench: Bench) -> None:
    bench.faults.put("*/npu0pe[01]/perf_regs", failing(errno.EACCES))
    await bench.collect()
    report = bench.card().report
    assert report is not None
    assert [str(each.cores) for each in report.counters] == ["0-1"]


async def test_counters_of_64_bits_need_no_look_of_their_own(tmp_path: Path) -> None:
    bench = Bench(FakeHost(tmp_path, rngd(0)))
    card = bench.host.cards[0]
    card.set_perf_regs(CoreRange(0, 0), 1_000, 0)
    await bench.collect()
    assert not bench.collector.wants_counters
    card.set_perf_regs(CoreRange(0, 0), 1_000 + (8 << 32), 4 << 32)
    await bench.collect()
    report = bench.card((Arch.RENEGADE, 0)).report
    assert report is not None
    assert [each.busy for each in report.utilization if each.cores == CoreRange(0, 0)] == [0.5]


async def test_a_card_that_is_gone_needs_its_threads_and_counters_no_more(bench: Bench) -> None:
    await bench.collect()
    for card in bench.host.cards:
        card.disappear()
    await bench.collect()
    assert not bench.collector.wants_counters
    await bench.collector.look_at_counters()


# -- many cards --------------------------------------------------------------------------------------------------------


def threads_of_single_cards() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("device (")]


async def test_many_cards_that_are_slow_together_are_read_on_one_thread(tmp_path: Path) -> None:
    """Twelve cards of 20 ms each take longer than one card may hold the others up, and none of them does."""

    def slowly(_: str) -> str:
        time.sleep(0.02)
        return "1"

    bench = Bench(FakeHost(tmp_path, *(warboy(index) for index in range(12))))
    bench.faults.put("*/alive", slowly)
    before = threads_of_single_cards()

    await bench.collect()

    assert [card.status for card in bench.collector.snapshot.cards] == [CardStatus.PRESENT] * 12
    assert threads_of_single_cards() == before


async def test_a_card_that_hangs_among_many_leaves_the_others_a_thread_each(tmp_path: Path) -> None:
    bench = Bench(FakeHost(tmp_path, *(warboy(index) for index in range(12))))
    hung = Blocked()
    bench.faults.put("*npu3_mgmt/alive", hung)
    begun = time.monotonic()

    await bench.collect()

    assert time.monotonic() - begun < 3.0
    assert {card.key[1] for card in bench.collector.snapshot.cards if card.device is None or card.stuck} == {3}
    hung.release()


# -- nothing left to ask with ------------------------------------------------------------------------------------------


async def test_a_card_that_could_not_be_asked_is_as_alive_as_it_was_and_the_lack_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two cards that hang take both threads that there are; for the third, none is left."""
    bench = Bench(FakeHost(tmp_path, warboy(0), warboy(1), warboy(2)))
    await bench.collect()
    blocked = Blocked()
    for number in (0, 1):
        bench.faults.put(f"*/npu{number}_mgmt/alive", blocked)
    with no_more_threads():
        for _ in range(3):
            bench.now += 3600.0
            await bench.collect()
        third = bench.card((Arch.WARBOY, 2))
        assert third.health.is_healthy
        assert (third.status, third.stuck) == (CardStatus.FAILED, False)
        assert bench.telemetry.read_errors["npu2", "warboy", "exhausted"] == 3
        assert len([record for record in caplog.records if "cannot ask" in record.getMessage()]) == 1
    blocked.release()
    bench.faults.clear()
    await bench.collect()
    assert bench.card((Arch.WARBOY, 2)).status is CardStatus.PRESENT
