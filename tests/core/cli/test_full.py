"""The sheet of a card: ``npuctl info --full``."""

from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.cli import details
from npu_core.cli.details import Details
from npu_core.cli.host_scan import CardScan, HostScanner
from npu_core.cli.sheet import machine_line, sheet
from npu_core.cli.table import render
from npu_core.errors import ReadFailedError
from npu_core.health import HealthStatus
from npu_core.machine import Machine
from npu_core.testing import EACCES, EIO, ENODEV, FakeHost, Fault, FaultyFS, rngd, second_entry, warboy
from testkit.waiting import PATIENCE
from tests.core.cli.program import Npuctl
from tests.core.hung import Hung


def look(host: FakeHost, **faults: Fault) -> CardScan[Details]:
    fs = FaultyFS()
    for attribute, fault in faults.items():
        fs.put(f"*/{attribute}", fault)
    return details.look(HostScanner(host.open(fs), PATIENCE)).cards[0]


def rows(sighting: CardScan[Details]) -> dict[str, list[str]]:
    """The lines of each row of a sheet by its title."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in render(sheet(sighting)).splitlines():
        if line.startswith("|"):
            name, text = (field.strip() for field in line.strip("|").split("|", 1))
            title = name or title
            found.setdefault(title, []).append(text)
    return found


@pytest.fixture(scope="module")
def one_warboy(tmp_path_factory: pytest.TempPathFactory) -> FakeHost:
    """Written once: for tests that change nothing of it."""
    return FakeHost(tmp_path_factory.mktemp("host"), warboy(0))


def test_everything_about_a_warboy_card_is_on_its_sheet(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.card(Arch.WARBOY, 0).set_error("device_error", 3)
    assert npuctl(host, "info", "--full").stdout.startswith("Machine: Dell Inc. PowerEdge R750\n\n+")
    found = rows(look(host))
    whole = {
        "npu0": "FuriosaAI Warboy",
        "Product": "warboyB0",
        "Firmware": "1.6.0, c1bebfd",
        "Driver": "1.9.2, 3def9c2",
        "Cores": "0-1",
        "Health": "healthy",
        "Alive": "yes",
        "Uptime": "04:04:09",
        "Performance mode": "4 (FULL 1)",
        "Throttle reason": "not offered by this driver",
    }
    assert {title: found[title] for title in whole} == {title: [text] for title, text in whole.items()}
    assert found["Clocks"][0] == "ne tensor     2000 MHz"
    assert found["Error counters"][-1] == "device_error        3"
    assert "NE_PE0   40.2°C" in found["Temperatures"]
    assert "PCI Total RMS PWR  9.67 W" in found["Power"]
    assert "NE Core Volt      0.812 V" in found["Voltages"]
    assert "NE Current     1.180 A" in found["Currents"]
    assert found["Device files"][0].startswith("npu0_bar0 ")


def test_an_rngd_card_shows_its_clocks_governor_and_throttling_and_its_death(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, rngd(0))
    card = host.card(Arch.RENEGADE, 0)
    card.set_attribute("throttle_reason", "0x12")
    card.set_attribute("npu_governor", "ondemand")
    card.die()
    found = rows(look(host))
    assert (found["Throttle reason"], found["Performance mode"]) == (["0x12"], ["ondemand"])
    assert len(found["Clocks"]) == 8
    assert found["SoC revision"] == ["not given"]
    assert (found["Health"][0], found["Alive"]) == ("unhealthy", ["no"])


@pytest.mark.parametrize(
    ("attribute", "fault", "title", "shown"),
    [
        ("device_uuid", EIO, "UUID", "unreadable: EIO (Input/output error)"),
        ("soc_rev", EACCES, "Product", "unreadable: EACCES (Permission denied)"),
        ("numa_node", EIO, "NUMA node", "unreadable: EIO (Input/output error)"),
        ("heartbeat", EIO, "Uptime", "unreadable: EIO (Input/output error)"),
        ("atr_error", EACCES, "Error counters", "unreadable: EACCES (Permission denied)"),
        ("alive", ENODEV, "Alive", "unreadable: ENODEV (No such device)"),
        ("temp1_input", EIO, "Unreadable", "npu0/temp1_input  EIO (Input/output error)"),
    ],
)
def test_what_cannot_be_read_says_why(
    one_warboy: FakeHost, attribute: str, fault: Fault, title: str, shown: str
) -> None:
    sighting = look(one_warboy, **{attribute: fault})
    assert rows(sighting)[title] == [shown]
    assert details.document(sighting, Machine())["unreadable"] != []


def test_what_a_card_leaves_empty_is_not_given(tmp_path: Path) -> None:
    found = rows(look(FakeHost(tmp_path, warboy(0, serial="", firmware="", numa_node=-1))))
    assert found["Serial"] == found["Firmware"] == found["NUMA node"] == ["not given"]


def test_a_card_that_hangs_has_a_sheet_too(one_warboy: FakeHost) -> None:
    fs = FaultyFS()
    with Hung() as hung:
        fs.put("*/atr_error", hung)
        sighting = details.look(HostScanner(one_warboy.open(fs), wait=hung.wait)).cards[0]
    found = rows(sighting)
    assert found["Serial"] == found["Uptime"] == ["unreadable: the card did not answer within 5 s"]
    assert found["Health"][0] == "unhealthy"
    assert found["Device files"][0].startswith("npu0_bar0 ")
    assert [item.subject for item in details.unreadable(sighting)] == ["card"]


def test_the_machine_may_be_silent_or_unreadable() -> None:
    machines = (Machine(), Machine(name="R750"), ReadFailedError("EIO"))
    assert [machine_line(machine).removeprefix("Machine: ") for machine in machines] == [
        *("not given", "R750", "unreadable: EIO"),
    ]


def test_a_card_of_which_nobody_can_tell_whether_it_lives_is_shown_as_the_device_plugin_shows_it(
    one_warboy: FakeHost,
) -> None:
    assert look(one_warboy, alive=EIO).seen.health.status is HealthStatus.UNHEALTHY


def test_device_files_that_the_card_lacks_are_named(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0, absent_files=frozenset({"ch3", "pe1"})))
    sighting = look(host)
    assert rows(sighting)["Absent files"] == ["npu0ch3 npu0pe1"]
    assert details.document(sighting, Machine())["absent_device_files"] == ["npu0ch3", "npu0pe1"]
    assert npuctl(host, "info", "--full").stderr == ""
    assert "Absent files" not in rows(look(FakeHost(tmp_path / "whole", warboy(0))))


def test_cards_that_are_not_given_out_are_noted_with_the_reason(tmp_path: Path, npuctl: Npuctl) -> None:
    virtual = warboy(2, pci="0000:17:00.1", physical_function=warboy(0).pci)
    host = FakeHost(tmp_path, warboy(0), second_entry(warboy(0), 1), virtual, rngd(0))
    host.card(Arch.RENEGADE, 0).remove_files()
    full = npuctl(host, "info", "--full", "--all")
    for answer in (npuctl(host, "info", "--all"), full):
        assert answer.returncode == 0
        assert [line.split()[1:3] for line in answer.stderr.splitlines()] == [
            *(["warboy", "npu1"], ["warboy", "npu2"], ["renegade", "npu0"]),
        ]
    assert "device file npu0pe0 is missing" in full.stdout
