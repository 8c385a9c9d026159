import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from npu_core.arch import Arch
from npu_core.cli import holding
from npu_core.cli.holding import Use
from npu_core.cli.survey import Sighting, Surveyor, notes
from npu_core.cli.table import Style, render
from npu_core.errors import MissingError
from npu_core.holders import Holder, Holders, find_holders
from npu_core.testing import EACCES, EIO, Blocked, FakeHost, FaultyFS, rngd, warboy

Npuctl = Callable[..., "CompletedProcess[str]"]


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


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> FakeHost:
    """One card of each family, written once: for tests that change nothing of it."""
    return FakeHost(tmp_path_factory.mktemp("host"), warboy(0), rngd(0))


def see(host: FakeHost, arch: Arch, occupied: str | None = None) -> Sighting[holding.Occupancy]:
    """A card whose driver says this of its PEs, a digit each."""
    device = host.open().inventory().device(arch, 0)
    assert device
    return Sighting(device, MissingError("ENOENT") if occupied is None else tuple(pe == "1" for pe in occupied))


def uses(sighting: Sighting[holding.Occupancy], *paths: str, hidden: int = 0) -> list[Use]:
    holders = (Holder(7, "serve", tuple(sorted(paths))),) if paths else ()
    return [pe.use for pe in holding.pe_uses(sighting, Holders(holders, hidden))]


def test_each_pe_is_shown_with_its_files_its_state_and_its_users(tmp_path: Path, program: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(4242, ["python3", "serve.py"], ["/dev/npu0pe0", "/dev/npu0_mgmt", "/dev/npu0ch0"])
    host.run_process(77, ["furiosa-bench"], ["/dev/npu0pe0"])
    answer = program(host, "list")
    assert answer.stdout == TABLE
    assert (answer.stderr, answer.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ("/dev/npu0pe1", [Use.FREE, Use.IN_USE]),
        ("/dev/npu0pe0-1", [Use.IN_USE, Use.IN_USE]),
        ("/dev/npu0", [Use.IN_USE, Use.IN_USE]),
        ("/dev/npu0_mgmt", [Use.FREE, Use.FREE]),
        ("/dev/npu0ch3", [Use.FREE, Use.FREE]),
        ("/dev/rngd/npu0pe0", [Use.FREE, Use.FREE]),
    ],
)
def test_a_pe_is_in_use_by_whoever_holds_a_file_that_opens_it(both: FakeHost, held: str, expected: list[Use]) -> None:
    assert uses(see(both, Arch.WARBOY), held) == expected


def test_a_fused_file_of_rngd_uses_its_pes_alone(both: FakeHost) -> None:
    found = uses(see(both, Arch.RENEGADE), "/dev/rngd/npu0pe4-5")
    assert [pe for pe, use in enumerate(found) if use is Use.IN_USE] == [4, 5]


def test_a_pe_is_unknown_while_some_process_cannot_be_seen(both: FakeHost) -> None:
    assert uses(see(both, Arch.WARBOY), "/dev/npu0pe0", hidden=3) == [Use.IN_USE, Use.UNKNOWN]


def test_the_drivers_word_settles_what_processes_do_not_show(both: FakeHost) -> None:
    assert uses(see(both, Arch.RENEGADE, "10000000"), hidden=3) == [Use.IN_USE, *[Use.FREE] * 7]


def test_a_holder_counts_whatever_the_driver_says(both: FakeHost) -> None:
    assert uses(see(both, Arch.RENEGADE, "00000000"), "/dev/rngd/npu0pe0")[0] is Use.IN_USE


def test_a_driver_that_speaks_of_fewer_pes_leaves_the_others_to_the_processes(both: FakeHost) -> None:
    assert uses(see(both, Arch.RENEGADE, "11"), hidden=1) == [*[Use.IN_USE] * 2, *[Use.UNKNOWN] * 6]


def test_use_that_only_the_driver_sees_is_marked(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, rngd(0))
    host.card(Arch.RENEGADE, 0).set_attribute("pe_occupancy", "\n".join("01000000"))
    line = next(line for line in npuctl(host, "list").stdout.splitlines() if "in use" in line)
    assert "| 1    | in use | (says the driver) |" in line


def test_processes_that_refuse_to_be_seen_are_counted(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.run_process(1, ["init"], [])
    host.run_process(77, ["serve"], ["/dev/npu0pe0"])
    fs = FaultyFS()
    fs.put("*/proc/77/fd", EACCES)
    holders = find_holders(frozenset({"/dev/npu0pe0"}), host.procfs, fs)
    found = holding.look(Surveyor(host.open()))
    states = [pe.use for pe in holding.pe_uses(found.cards[0], holders)]
    assert states == [Use.UNKNOWN, Use.UNKNOWN]


def test_states_are_coloured_by_what_they_mean(both: FakeHost) -> None:
    card = see(both, Arch.WARBOY)
    holders = Holders((Holder(7, "serve", ("/dev/npu0pe0",)),), hidden=1)
    states = [cells[3] for group in holding.table([card], holders).groups for cells in group]
    assert [(state.text, state.style) for state in states] == [
        ("in use", Style.DOUBTFUL),
        ("unknown", Style.BAD),
        ("", None),
    ]


def test_an_occupancy_that_fails_is_noted_and_one_that_is_not_offered_is_not(both: FakeHost) -> None:
    fs = FaultyFS()
    fs.put("*/rngd!npu0mgmt/pe_occupancy", EIO)
    found = holding.look(Surveyor(both.open(fs)))
    assert list(notes(found, holding.unreadable)) == ["renegade npu0 pe_occupancy: EIO (Input/output error)"]


def test_a_card_that_hangs_still_shows_its_files_and_users(tmp_path: Path) -> None:
    fs, blocked = FaultyFS(), Blocked()
    fs.put("*/device_sn", blocked)
    host = FakeHost(tmp_path, warboy(0))
    try:
        found = holding.look(Surveyor(host.open(fs), deadline=0.5))
    finally:
        blocked.release()
    holders = Holders((Holder(7, "serve", ("/dev/npu0pe1",)),))
    lines = render(holding.table(found.cards, holders)).splitlines()
    assert "| 1    | in use | 7 serve |" in lines[4]


def test_a_card_without_device_files_has_pes_without_files(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    for file in tuple(Path(host.devfs).iterdir()):
        file.unlink()
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
