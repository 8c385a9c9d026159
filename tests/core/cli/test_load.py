from pathlib import Path

import pytest

from npu_core.arch import Arch, arch_spec
from npu_core.cli import load
from npu_core.cli.load import PeLoad, Sight, Status, card_load
from npu_core.cli.survey import Survey, Surveyor, notes
from npu_core.cores import CoreRange
from npu_core.counters import PeCounters
from npu_core.errors import AccessDeniedError, HostError, MissingError, ReadFailedError
from npu_core.sensors import Readings
from npu_core.testing import EACCES, EIO, Blocked, FakeHost, FaultyFS, Simulation, rngd, warboy

PE0, PE1, BOTH = CoreRange(0, 0), CoreRange(1, 1), CoreRange(0, 1)
WARBOY = arch_spec(Arch.WARBOY)
NOT_IN_USE = AccessDeniedError("EACCES (Permission denied)")


def at(cores: CoreRange, cycles: int, task: int = 0, tensor: int | None = 0) -> PeCounters:
    return PeCounters(cores, cycles, task, tensor)


def sights(**looks: list[PeCounters | HostError]) -> list[Sight]:
    """Looks by core range: ``pe0``, ``pe1``, ``both``; what is left out is missing."""
    ranges = {"pe0": PE0, "pe1": PE1, "both": BOTH}
    count = len(next(iter(looks.values())))
    missing: list[PeCounters | HostError] = [MissingError("ENOENT")] * count
    return [
        Sight({cores: looks.get(name, missing)[number] for name, cores in ranges.items()}, Readings())
        for number in range(count)
    ]


def loads(seen: list[Sight]) -> tuple[PeLoad, ...]:
    return card_load(WARBOY, seen).loads


def test_each_pe_is_measured_by_its_own_counters() -> None:
    seen = sights(
        pe0=[at(PE0, 0), at(PE0, 1000, 500, 400)],
        pe1=[at(PE1, 0), at(PE1, 1000)],
        both=[at(BOTH, 0), at(BOTH, 1000, 250, 200)],
    )
    assert loads(seen) == (
        PeLoad(PE0, Status.MEASURED, 0.5, 0.8),
        PeLoad(PE1, Status.MEASURED, 0.0, 0.0),
    )


def test_pes_without_figures_of_their_own_are_measured_by_their_fused_range() -> None:
    seen = sights(
        pe0=[NOT_IN_USE, NOT_IN_USE],
        pe1=[at(PE1, 7), at(PE1, 7)],
        both=[at(BOTH, 0), at(BOTH, 1000, 250, 200)],
    )
    assert loads(seen) == (PeLoad(BOTH, Status.MEASURED, 0.25, 0.8),)


@pytest.mark.parametrize(
    ("looks", "status"),
    [
        ([NOT_IN_USE, NOT_IN_USE], Status.NOT_IN_USE),
        ([at(PE0, 0), MissingError("ENOENT")], Status.NOT_OFFERED),
        ([at(PE0, 0), ReadFailedError("EIO")], Status.UNREADABLE),
        ([at(PE0, 100), at(PE0, 100)], Status.CANNOT_TELL),
        ([at(PE0, 100), at(PE0, 50)], Status.CANNOT_TELL),
        ([at(PE0, 100), at(PE0, (1 << 32) + 100, 1000)], Status.CANNOT_TELL),
    ],
)
def test_what_cannot_be_measured_says_why(looks: list[PeCounters | HostError], status: Status) -> None:
    assert loads(sights(pe0=looks))[0] == PeLoad(PE0, status)


def test_a_card_that_was_seen_only_once_is_not_measured() -> None:
    assert loads(sights(pe0=[at(PE0, 100, 50)]))[0] == PeLoad(PE0, Status.CANNOT_TELL)


def test_a_long_interval_is_the_mean_of_its_parts() -> None:
    seen = sights(pe0=[at(PE0, 0), at(PE0, 1000, 1000, 500), at(PE0, 2000, 1500, 1000)])
    busy, computing = 0.75, (1.0 * 0.5 + 0.5 * 1.0) / 1.5
    found = loads(seen)[0]
    assert found.busy == busy
    assert found.computing == pytest.approx(computing)


def test_a_restart_in_the_middle_costs_only_its_part() -> None:
    seen = sights(pe0=[at(PE0, 5000), at(PE0, 10, 10), at(PE0, 1010, 260)])
    assert loads(seen)[0].busy == 0.25


def test_a_driver_that_does_not_speak_of_computing_leaves_it_out() -> None:
    seen = sights(pe0=[at(PE0, 0, tensor=None), at(PE0, 1000, 500, tensor=None)])
    assert loads(seen)[0] == PeLoad(PE0, Status.MEASURED, 0.5, None)


def measure(
    host: FakeHost, fs: FaultyFS | None = None, interval: float = 1.0
) -> tuple[Survey[load.CardLoad], list[float]]:
    simulation, waits = Simulation(host), list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        simulation.step(seconds)

    return load.measure(Surveyor(host.open(fs)), interval, wait), waits


def test_a_working_host_is_measured_whole(tmp_path: Path) -> None:
    found, waits = measure(FakeHost(tmp_path, warboy(0), rngd(0)))
    assert waits == [1.0]
    assert [len(card.seen.loads) for card in found.cards] == [2, 8]
    busy = [each.busy for card in found.cards for each in card.seen.loads]
    assert all(share is not None and 0 < share <= 1 for share in busy)


@pytest.mark.parametrize(("interval", "waits"), [(0.1, [0.1]), (2.5, [2.5 / 3] * 3)])
def test_looks_are_never_so_far_apart_that_counters_wrap_twice(
    tmp_path: Path, interval: float, waits: list[float]
) -> None:
    assert measure(FakeHost(tmp_path, warboy(0)), interval=interval)[1] == waits


def test_a_card_that_hangs_does_not_spoil_the_measurement_of_the_others(tmp_path: Path) -> None:
    fs, blocked = FaultyFS(), Blocked()
    fs.put("*/npu1_mgmt/device_uuid", blocked)
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    simulation = Simulation(host)
    try:
        found = load.measure(Surveyor(host.open(fs), deadline=0.5), 0.1, simulation.step)
    finally:
        blocked.release()
    assert [[each.status for each in card.seen.loads] for card in found.cards] == [
        [Status.MEASURED, Status.MEASURED],
        [Status.UNREADABLE, Status.UNREADABLE],
    ]
    looks = sum(path.endswith("/npu0pe0/perf_regs") for path in fs.reads)
    assert looks == 3  # the first, which waited for the hung card, does not count


def test_a_host_without_cards_is_not_waited_for(tmp_path: Path) -> None:
    assert measure(FakeHost(tmp_path)) == (Survey((), ()), [])


def test_refused_registers_are_idle_cores_and_failing_ones_are_noted(tmp_path: Path) -> None:
    fs = FaultyFS()
    fs.put("*/npu0pe0/perf_regs", EACCES)
    fs.put("*/npu0pe1/perf_regs", EIO)
    fs.put("*/npu0pe0-1/perf_regs", EACCES)
    found, _ = measure(FakeHost(tmp_path, warboy(0)), fs)
    assert [each.status for each in found.cards[0].seen.loads] == [Status.NOT_IN_USE, Status.UNREADABLE]
    assert list(notes(found, load.unreadable)) == ["warboy npu0 pe1 perf_regs: EIO (Input/output error)"]


def test_a_card_that_comes_in_between_is_measured_the_next_time(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))

    def wait(_: float) -> None:
        host.plug(warboy(1))

    found = load.measure(Surveyor(host.open()), 1.0, wait)
    assert [each.status for each in found.cards[1].seen.loads] == [Status.CANNOT_TELL, Status.CANNOT_TELL]
