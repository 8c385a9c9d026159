"""One line for each card: ``npuctl info``."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.cli import info
from npu_core.cli.host_scan import HostScanner, notes
from npu_core.cli.table import render
from npu_core.sensors import Quantity
from npu_core.testing import EIO, CardPlan, FakeHost, FaultyFS, SensorPlan, rngd, warboy
from testkit.waiting import PATIENCE
from tests.core.cli.program import Npuctl
from tests.core.hung import Hung

SPECIFIED = """\
+------+------------------+-------+--------+--------------+---------+
| NPU  | Name             | Temp. | Power  | PCI-BDF      | PCI-DEV |
+------+------------------+-------+--------+--------------+---------+
| npu0 | FuriosaAI Warboy |  40°C | 1.37 W | 0000:01:00.0 | 509:0   |
+------+------------------+-------+--------+--------------+---------+
"""


def reading(temperature: int, power: int, **changes: object) -> CardPlan:
    return replace(
        warboy(0, **changes),
        sensors=(
            SensorPlan(Quantity.TEMPERATURE, 1, "AMBIENT", 25_000),
            SensorPlan(Quantity.TEMPERATURE, 2, "Average", temperature),
            SensorPlan(Quantity.POWER, 1, "NE PWR", 500_000),
            SensorPlan(Quantity.POWER, 2, "PCI Total RMS PWR", power),
        ),
    )


def test_one_card_is_shown_as_the_specification_shows_it(tmp_path: Path, program: Npuctl) -> None:
    host = FakeHost(tmp_path, reading(40_000, 1_370_000, pci="0000:01:00.0"))
    answer = program(host, "info")
    assert (answer.stdout, answer.stderr, answer.returncode) == (SPECIFIED, "", 0)


def test_a_driver_with_labels_of_its_own_is_shown_by_its_first_sensors(tmp_path: Path, npuctl: Npuctl) -> None:
    sensors = (
        SensorPlan(Quantity.TEMPERATURE, 1, "Temp1", 36_000),
        SensorPlan(Quantity.TEMPERATURE, 2, "Temp2", 37_000),
        SensorPlan(Quantity.POWER, 1, "Power1", 1_111_000),
        SensorPlan(Quantity.POWER, 2, "Power2", 2_222_000),
    )
    host = FakeHost(tmp_path, warboy(0, sensors=sensors))
    assert "|  36°C | 1.11 W |" in npuctl(host, "info").stdout


@pytest.mark.parametrize("command", [("info",), ("info", "--full"), ("list",), ("top", "--once", "--interval", "0.1")])
def test_a_container_is_shown_the_cards_whose_device_files_it_has(
    tmp_path: Path, npuctl: Npuctl, command: tuple[str, ...]
) -> None:
    """The /sys of a container is its host's; its /dev has what the container was given."""
    host = FakeHost(tmp_path, warboy(0), warboy(1), rngd(0))
    for file in (*Path(host.devfs).glob("npu0*"), *Path(host.devfs).glob("rngd/npu0*")):
        file.unlink()
    answer = npuctl(host, *command, "-o", "json")
    assert [(card["arch"], card["npu"]) for card in json.loads(answer.stdout)] == [("warboy", "npu1")]
    assert "warboy npu0, renegade npu0; --all" in answer.stderr
    assert answer.returncode == 0
    everything = npuctl(host, *command, "--all", "-o", "json")
    assert len(json.loads(everything.stdout)) == 3
    assert "--all" not in everything.stderr


def test_cards_of_two_families_come_in_the_order_of_their_numbers(tmp_path: Path, npuctl: Npuctl) -> None:
    indices = [0, 2, 9, 10, 100]
    host = FakeHost(tmp_path, rngd(0), *(warboy(index, sensors=()) for index in reversed(indices)))
    lines = npuctl(host, "info").stdout.splitlines()[3:-1]
    assert [line.split()[1:5:2] for line in lines] == [
        *(["npu" + str(index), "FuriosaAI"] for index in (*indices, 0)),
    ]
    assert ["Warboy" in line for line in lines] == [True] * 5 + [False]
    assert len({len(line) for line in lines}) == 1


def test_power_of_three_digits_widens_its_column(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, reading(-5_400, 101_234_000))
    lines = npuctl(host, "info").stdout.splitlines()
    assert lines[1].startswith("| NPU  | Name             | Temp. | Power    |")
    assert lines[3].startswith("| npu0 | FuriosaAI Warboy |  -5°C | 101.23 W |")


def test_a_card_whose_address_is_garbage_is_shown_with_dashes_and_a_note(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    host.card(Arch.WARBOY, 0).set_attribute("busname", "somewhere")
    answer = npuctl(host, "info")
    assert answer.stdout.splitlines()[3] == "| npu0 | FuriosaAI Warboy |     - |      - | -            | 509:0   |"
    assert answer.stdout.splitlines()[4].startswith("| npu1 | FuriosaAI Warboy |  40°C |")
    [note] = answer.stderr.splitlines()
    assert note.startswith("npuctl: warboy npu0 busname: 'somewhere'")
    assert answer.returncode == 0


def test_the_next_temperature_stands_in_for_one_that_fails_and_no_other_power_does(
    tmp_path: Path, npuctl: Npuctl
) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.card(Arch.WARBOY, 0).set_sensor(Quantity.TEMPERATURE, 2, "garbage")
    host.card(Arch.WARBOY, 0).set_sensor(Quantity.POWER, 6, "garbage")
    answer = npuctl(host, "info")
    assert "|  42°C |     - |" in answer.stdout
    assert "npuctl: warboy npu0 npu0/power6_average: " in answer.stderr


def test_a_card_without_sensors_is_shown_with_dashes_and_no_note(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0, sensors=()))
    answer = npuctl(host, "info")
    assert "|     - |     - | 0000:17:00.0 |" in answer.stdout
    assert answer.stderr == ""


def test_what_is_no_card_is_left_out_with_a_note(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    host.card(Arch.WARBOY, 1).set_attribute("platform_type", "VITIS")
    answer = npuctl(host, "info")
    assert "npu1" not in answer.stdout
    assert answer.stderr.startswith("npuctl: warboy npu1 is left out: ")


def test_a_sensor_that_cannot_be_read_is_noted_with_the_reason(tmp_path: Path) -> None:
    fs = FaultyFS()
    fs.put("*/temp2_input", EIO)
    found = info.look(HostScanner(FakeHost(tmp_path, rngd(0)).open(fs), PATIENCE))
    assert list(notes(found, info.unreadable)) == ["renegade npu0 rngd0/temp2_input: EIO (Input/output error)"]


def test_a_card_that_hangs_is_shown_beside_the_others(tmp_path: Path) -> None:
    fs = FaultyFS()
    with Hung() as hung:
        fs.put("*/npu0_mgmt/device_uuid", hung)
        surveyor = HostScanner(FakeHost(tmp_path, warboy(0), warboy(1)).open(fs), wait=hung.wait)
        found = info.look(surveyor)
        again = info.look(surveyor)
    lines = render(info.table(found.cards)).splitlines()
    assert lines[3] == "| npu0 | FuriosaAI Warboy |     - |      - | -            | -       |"
    assert lines[4].startswith("| npu1 | FuriosaAI Warboy |  40°C |")
    assert [item.subject for card in found.cards for item in info.unreadable(card)] == ["card"]
    assert again.cards == found.cards


@pytest.mark.parametrize("command", ["info", "list", "ps", "top"])
def test_no_cards_is_said_plainly_and_is_no_failure(tmp_path: Path, npuctl: Npuctl, command: str) -> None:
    host = FakeHost(tmp_path)
    answer = npuctl(host, command)
    assert len(answer.stdout.splitlines()) == 1
    assert host.sysfs in answer.stdout
    assert (answer.stderr, answer.returncode) == ("", 0)
