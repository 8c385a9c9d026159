"""Who uses which PEs: ``npuctl list``."""

import json
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.cli import holding
from npu_core.cli.holding import Use
from npu_core.cli.host_scan import CardScan, HostScanner, notes
from npu_core.cli.table import Style, render
from npu_core.errors import MissingError
from npu_core.holders import Holder, Holders
from npu_core.testing import EIO, FakeHost, FaultyFS, rngd, warboy
from testkit.waiting import PATIENCE
from tests.core.cli.program import Npuctl
from tests.core.hung import Hung

TABLE = """\
+------+------------------+------+--------+-----------------------+-----------------------------------------+
| NPU  | Name             | PE   | State  | Used by               | Device files                            |
+------+------------------+------+--------+-----------------------+-----------------------------------------+
| npu0 | FuriosaAI Warboy | 0    | in use | 77 furiosa-bench      | npu0pe0 npu0pe0-1 npu0                  |
|      |                  |      |        | 4242 python3 serve.py |                                         |
| npu0 | FuriosaAI Warboy | 1    | free   | -                     | npu0pe1 npu0pe0-1 npu0                  |
| npu0 | FuriosaAI Warboy | card |        |                       | npu0_bar0 npu0_bar2 npu0_bar4 npu0_mgmt |
|      |                  |      |        |                       | npu0ch0 npu0ch1 npu0ch2 npu0ch3         |
+------+------------------+------+--------+-----------------------+-----------------------------------------+
"""
FREE, IN_USE, UNKNOWN = Use.FREE, Use.IN_USE, Use.UNKNOWN


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> FakeHost:
    """One card of each family, written once: for tests that change nothing of it."""
    return FakeHost(tmp_path_factory.mktemp("host"), warboy(0), rngd(0))


def see(host: FakeHost, arch: Arch, occupied: str | None = None) -> CardScan[holding.Occupancy]:
    """A card whose driver says this of its PEs, a digit each."""
    device = host.open().inventory().device(arch, 0)
    assert device
    return CardScan(device, MissingError("ENOENT") if occupied is None else tuple(pe == "1" for pe in occupied))


def test_each_pe_is_shown_with_its_files_its_state_and_its_users(tmp_path: Path, program: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(4242, ["python3", "serve.py"], ["/dev/npu0pe0", "/dev/npu0_mgmt", "/dev/npu0ch0"])
    host.run_process(77, ["furiosa-bench"], ["/dev/npu0pe0"])
    answer = program(host, "list")
    assert (answer.stdout, answer.stderr, answer.returncode) == (TABLE, "", 0)


RNGD_PE0 = "/dev/rngd/npu0pe0"


def by(*paths: str, hidden: int = 0) -> Holders:
    return Holders(tuple(Holder(7, "serve", (path,)) for path in paths), hidden)


@pytest.mark.parametrize(
    ("arch", "occupied", "holders", "expected"),
    [
        (Arch.WARBOY, None, by("/dev/npu0pe1"), [FREE, IN_USE]),
        (Arch.WARBOY, None, by("/dev/npu0pe0-1"), [IN_USE, IN_USE]),
        (Arch.WARBOY, None, by("/dev/npu0"), [IN_USE, IN_USE]),
        (Arch.WARBOY, None, by("/dev/npu0_mgmt"), [FREE, FREE]),
        (Arch.WARBOY, None, by("/dev/npu0ch3"), [FREE, FREE]),
        (Arch.WARBOY, None, by(RNGD_PE0), [FREE, FREE]),
        (Arch.RENEGADE, None, by("/dev/rngd/npu0pe4-5"), [*[FREE] * 4, IN_USE, IN_USE, FREE, FREE]),
        (Arch.WARBOY, None, by("/dev/npu0pe0", hidden=3), [IN_USE, UNKNOWN]),
        # The driver's word settles what processes do not show, and a holder counts whatever the driver says.
        (Arch.RENEGADE, "10000000", by(hidden=3), [IN_USE, *[FREE] * 7]),
        (Arch.RENEGADE, "00000000", by(RNGD_PE0), [IN_USE, *[FREE] * 7]),
        (Arch.RENEGADE, "11", by(hidden=1), [IN_USE, IN_USE, *[UNKNOWN] * 6]),
    ],
)
def test_a_pe_is_in_use_by_whoever_holds_a_file_that_opens_it_or_if_its_driver_says_so(
    both: FakeHost, arch: Arch, occupied: str | None, holders: Holders, expected: list[Use]
) -> None:
    assert [pe.use for pe in holding.pe_uses(see(both, arch, occupied), holders)] == expected


def test_use_that_only_the_driver_sees_is_marked(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, rngd(0))
    host.card(Arch.RENEGADE, 0).set_attribute("pe_occupancy", "\n".join("01000000"))
    line = next(line for line in npuctl(host, "list").stdout.splitlines() if "in use" in line)
    assert "| 1    | in use | (says the driver) |" in line


def test_states_are_coloured_by_what_they_mean(both: FakeHost) -> None:
    holders = by("/dev/npu0pe0", hidden=1)
    states = [cells[3] for group in holding.table([see(both, Arch.WARBOY)], holders).groups for cells in group]
    assert [(state.text, state.style) for state in states] == [
        *(("in use", Style.DOUBTFUL), ("unknown", Style.BAD), ("", None)),
    ]


def test_an_occupancy_that_fails_is_noted_and_one_that_is_not_offered_is_not(both: FakeHost) -> None:
    fs = FaultyFS()
    fs.put("*/rngd!npu0mgmt/pe_occupancy", EIO)
    found = holding.look(HostScanner(both.open(fs), PATIENCE))
    assert list(notes(found, holding.unreadable)) == ["renegade npu0 pe_occupancy: EIO (Input/output error)"]


def test_a_card_that_hangs_still_shows_its_files_and_users(tmp_path: Path) -> None:
    fs = FaultyFS()
    with Hung() as hung:
        fs.put("*/device_sn", hung)
        found = holding.look(HostScanner(FakeHost(tmp_path, warboy(0)).open(fs), wait=hung.wait))
    holders = by("/dev/npu0pe1")
    assert "| 1    | in use | 7 serve |" in render(holding.table(found.cards, holders)).splitlines()[4]


def test_a_card_without_device_files_has_pes_without_files(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.cards[0].remove_files()
    lines = npuctl(host, "list", "--all").stdout.splitlines()[3:-1]
    assert [line.split("|")[-2].strip() for line in lines] == ["-", "-", "-"]


def test_a_strange_command_line_cannot_disturb_the_table(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(9, ["evil\x1b[2J", "a\nb", "x" * 500], ["/dev/npu0pe0"])
    answer = npuctl(host, "list")
    assert "\x1b" not in answer.stdout
    assert "9 evil\\x1b[2J a b xxx" in answer.stdout
    assert len({len(line) for line in answer.stdout.splitlines()}) == 1
    whole = json.loads(npuctl(host, "list", "-o", "json").stdout)[0]["pes"][0]["holders"][0]["command"]
    assert whole.endswith("x" * 500)
