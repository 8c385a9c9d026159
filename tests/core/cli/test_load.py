"""How busy the PEs are, measured over a span of time: ``npuctl top``."""

import json
import signal
from pathlib import Path

import pytest

from npu_core.arch import Arch, arch_spec
from npu_core.cli import load, top
from npu_core.cli.host_scan import HostScan, HostScanner, notes
from npu_core.cli.load import Listing, PeLoad, Status, card_load
from npu_core.cli.table import render
from npu_core.cores import CoreRange
from npu_core.counters import PeCounters
from npu_core.errors import AccessDeniedError, HostError, MissingError, ReadFailedError
from npu_core.sensors import Readings
from npu_core.testing import EACCES, EIO, FakeHost, FaultyFS, Simulation, rngd, warboy
from testkit.waiting import PATIENCE
from tests.core.cli.program import TOP, Npuctl, environment, started
from tests.core.hung import Hung

PE0, PE1, BOTH = CoreRange(0, 0), CoreRange(1, 1), CoreRange(0, 1)
NOT_IN_USE = AccessDeniedError("EACCES (Permission denied)")
Looks = list[PeCounters | HostError]


def at(cycles: int, task: int = 0, tensor: int | None = 0, cores: CoreRange = PE0) -> PeCounters:
    return PeCounters(cores, cycles, task, tensor)


def loads(**looks: Looks) -> tuple[PeLoad, ...]:
    """The loads by looks at each core range: ``pe0``, ``pe1``, ``both``; what is left out is missing."""
    count = len(next(iter(looks.values())))
    missing: Looks = [MissingError("ENOENT")] * count
    ranges = {PE0: looks.get("pe0", missing), PE1: looks.get("pe1", missing), BOTH: looks.get("both", missing)}
    sights = [Listing({cores: seen[number] for cores, seen in ranges.items()}, Readings()) for number in range(count)]
    return card_load(arch_spec(Arch.WARBOY), sights).loads


FUSED: Looks = [at(0, cores=BOTH), at(1000, 250, 200, BOTH)]


def test_each_pe_is_measured_by_its_own_counters() -> None:
    found = loads(pe0=[at(0), at(1000, 500, 400)], pe1=[at(0, cores=PE1), at(1000, cores=PE1)], both=FUSED)
    assert found == (PeLoad(PE0, Status.MEASURED, 0.5, 0.8), PeLoad(PE1, Status.MEASURED, 0.0, 0.0))


def test_pes_without_figures_of_their_own_are_measured_by_their_fused_range() -> None:
    found = loads(pe0=[NOT_IN_USE, NOT_IN_USE], pe1=[at(7, cores=PE1), at(7, cores=PE1)], both=FUSED)
    assert found == (PeLoad(BOTH, Status.MEASURED, 0.25, 0.8),)


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([NOT_IN_USE, NOT_IN_USE], PeLoad(PE0, Status.NOT_IN_USE)),
        ([at(0), MissingError("ENOENT")], PeLoad(PE0, Status.NOT_OFFERED)),
        ([at(0), ReadFailedError("EIO")], PeLoad(PE0, Status.UNREADABLE)),
        ([at(100), at(100)], PeLoad(PE0, Status.CANNOT_TELL)),
        ([at(100), at(50)], PeLoad(PE0, Status.CANNOT_TELL)),
        ([at(100), at((1 << 32) + 100, 1000)], PeLoad(PE0, Status.CANNOT_TELL)),
        ([at(100, 50)], PeLoad(PE0, Status.CANNOT_TELL)),
        # Several parts: the mean, each part's computing by how busy it was; a restart costs only its part.
        ([at(0), at(1000, 1000, 500), at(2000, 1500, 1000)], PeLoad(PE0, Status.MEASURED, 0.75, 1.0 / 1.5)),
        ([at(5000), at(10, 10), at(1010, 260)], PeLoad(PE0, Status.MEASURED, 0.25, 0.0)),
        ([at(0, tensor=None), at(1000, 500, None)], PeLoad(PE0, Status.MEASURED, 0.5, None)),
    ],
)
def test_what_the_looks_at_a_pe_tell(looks: Looks, expected: PeLoad) -> None:
    assert loads(pe0=looks)[0] == expected


# -- a host -----------------------------------------------------------------------------------------------------------


def measure(
    host: FakeHost, fs: FaultyFS | None = None, interval: float = 1.0
) -> tuple[HostScan[load.CardLoad], list[float]]:
    simulation, waits = Simulation(host), list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        simulation.step(seconds)

    return load.measure(HostScanner(host.open(fs), PATIENCE), interval, wait, lambda: 0.0), waits


def test_a_working_host_is_measured_whole(tmp_path: Path) -> None:
    found, waits = measure(FakeHost(tmp_path, warboy(0), rngd(0)))
    assert waits == [1.0]
    assert [len(card.seen.loads) for card in found.cards] == [2, 8]
    assert all(each.busy is not None and 0 < each.busy <= 1 for card in found.cards for each in card.seen.loads)


@pytest.mark.parametrize(("interval", "waits"), [(0.1, [0.1]), (2.5, [2.5 / 3] * 3)])
def test_looks_are_never_so_far_apart_that_counters_wrap_twice(
    tmp_path: Path, interval: float, waits: list[float]
) -> None:
    assert measure(FakeHost(tmp_path, warboy(0)), interval=interval)[1] == waits


def test_a_card_that_hangs_does_not_spoil_the_measurement_of_the_others(tmp_path: Path) -> None:
    fs, now = FaultyFS(), iter([0.0, 5.0])
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    with Hung() as hung:
        fs.put("*/npu1_mgmt/device_uuid", hung)
        surveyor = HostScanner(host.open(fs), wait=hung.wait)
        found = load.measure(surveyor, 0.1, Simulation(host).step, lambda: next(now))
    measured, unreadable = Status.MEASURED, Status.UNREADABLE
    assert [[each.status for each in card.seen.loads] for card in found.cards] == [[measured] * 2, [unreadable] * 2]
    looks = sum(path.endswith("/npu0pe0/perf_regs") for path in fs.reads)
    assert looks == 3  # the first, which waited for the hung card, does not count


def test_a_host_without_cards_is_not_waited_for(tmp_path: Path) -> None:
    assert measure(FakeHost(tmp_path)) == (HostScan((), ()), [])


def test_refused_registers_are_idle_cores_and_failing_ones_are_noted(tmp_path: Path) -> None:
    fs = FaultyFS()
    for cores, fault in (("0", EACCES), ("1", EIO), ("0-1", EACCES)):
        fs.put(f"*/npu0pe{cores}/perf_regs", fault)
    found, _ = measure(FakeHost(tmp_path, warboy(0)), fs)
    assert [each.status for each in found.cards[0].seen.loads] == [Status.NOT_IN_USE, Status.UNREADABLE]
    assert list(notes(found, load.unreadable)) == ["warboy npu0 pe1 perf_regs: EIO (Input/output error)"]


def test_a_card_that_comes_in_between_is_measured_the_next_time(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))

    def wait(_: float) -> None:
        host.plug(warboy(1))

    found = load.measure(HostScanner(host.open(), PATIENCE), 1.0, wait)
    assert [each.status for each in found.cards[1].seen.loads] == [Status.CANNOT_TELL, Status.CANNOT_TELL]


# -- the program ------------------------------------------------------------------------------------------------------


def test_one_table_shows_the_work_of_every_pe_and_its_card(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))

    def work(_: float) -> None:
        host.cards[0].set_perf_regs(PE0, 8_000_000, 4_000_000, 1_000_000)
        host.cards[0].set_perf_regs(PE1, 8_000_000, 0, 0)

    found = load.measure(HostScanner(host.open(), PATIENCE), 0.5, work, lambda: 0.0)
    assert render(top.table(found.cards)) == (
        "+------+------------------+----+-------+-----------+-------+--------+\n"
        "| NPU  | Name             | PE | Busy  | Computing | Temp. | Power  |\n"
        "+------+------------------+----+-------+-----------+-------+--------+\n"
        "| npu0 | FuriosaAI Warboy | 0  | 50.0% |     25.0% |  40°C | 9.67 W |\n"
        "| npu0 | FuriosaAI Warboy | 1  |  0.0% |      0.0% |       |        |\n"
        "+------+------------------+----+-------+-----------+-------+--------+"
    )


def test_idle_counters_show_a_dash_never_a_zero(tmp_path: Path, npuctl: Npuctl) -> None:
    answer = npuctl(FakeHost(tmp_path, warboy(0)), "top", "--once", "--interval", "0.1")
    assert "| npu0 | FuriosaAI Warboy | 0  |    - |         - |  40°C | 9.67 W |" in answer.stdout


def test_tables_follow_each_other_until_the_interrupt(tmp_path: Path) -> None:
    with started(TOP, environment(FakeHost(tmp_path, warboy(0)))) as process:
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline() for _ in range(12)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert (process.wait(PATIENCE), process.stderr.read()) == (0, "")
    assert lines[:6] == lines[6:]
    assert "\x1b" not in "".join(lines) + rest


def test_successive_json_documents_are_a_line_each(tmp_path: Path) -> None:
    with started([*TOP, "-o", "json"], environment(FakeHost(tmp_path, warboy(0)))) as process:
        assert process.stdout
        documents = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [document[0]["npu"] for document in documents] == ["npu0", "npu0"]


@pytest.mark.parametrize("interval", ["0", "0.09", "-1", "nan", "inf", "soon", "٣٣", "1_0"])
def test_a_senseless_interval_is_refused(npuctl: Npuctl, interval: str) -> None:
    answer = npuctl(None, "top", "--once", "--interval", interval)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "interval" in answer.stderr
