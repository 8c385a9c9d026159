"""The ``npu-metrics-exporter`` command, as far as it goes: its version, and one look at a host."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from npu_core.arch import Arch
from npu_core.service.options import names_of
from npu_core.testing import FakeHost, rngd, warboy
from npu_metrics_exporter import __version__
from npu_metrics_exporter.settings import OPTIONS
from testkit.waiting import PATIENCE
from tests.metrics_exporter.programs import run

ANY_TEXT = {"include", "exclude", "include-sensors", "exclude-sensors"}
"""Options that hardly any text is wrong for."""


def seeing(host: FakeHost) -> Mapping[str, str]:
    return {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs}


def test_the_version_is_the_packages() -> None:
    ended = run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"npu-metrics-exporter {__version__}\n", "")


def test_the_module_is_the_same_program() -> None:
    command = [sys.executable, "-m", "npu_metrics_exporter", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == f"npu-metrics-exporter {__version__}\n"


def test_check_of_a_host_that_is_not_there_fails(tmp_path: Path) -> None:
    ended = run("--sysfs", f"{tmp_path}/sys", "--devfs", f"{tmp_path}/dev", "check")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"{tmp_path}/sys: ENOENT" in ended.stderr


def test_check_tells_every_value_of_every_card(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, rngd(0))
    host.cards[0].set_temperature(51_250, label="PEAK")
    host.cards[0].set_uptime(3600)
    host.cards[0].set_error("device_error", 2)
    ended = run("check", **seeing(host))
    lines = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr, lines[:3]) == (
        0,
        "",
        ["cards: 1", "npu0 (renegade): alive", "  uptime: 3600 s"],
    )
    assert lines[3].startswith("  errors: axi_post_error 0, ")
    assert lines[3].endswith(", device_error 2")
    assert {
        "  temperature PEAK: 51.25 °C",
        "  temperature AMBIENT: 33 °C",
        "  power RMS_TOTAL: 38.5 W",
    } < set(lines)


def strange_host(directory: Path) -> FakeHost:
    """A card that is dead and whose heartbeat cannot be read, and one that is none."""
    host = FakeHost(directory, warboy(0), warboy(1))
    host.card(Arch.WARBOY, 0).set_attribute("heartbeat", "soon")
    host.card(Arch.WARBOY, 0).die()
    host.card(Arch.WARBOY, 1).set_attribute("platform_type", "VITIS")
    return host


def test_check_tells_why_a_value_cannot_be_read_and_goes_on(tmp_path: Path) -> None:
    lines = run("check", **seeing(strange_host(tmp_path))).stdout.splitlines()
    assert lines[:2] == ["cards: 1", "npu0 (warboy): dead"]
    assert not [line for line in lines if line.startswith("  uptime")]
    assert lines[-2:] == [
        "  unreadable: heartbeat: 'soon\\n' is not seconds, 0 or more",
        "npu1 (warboy) is left out: platform_type is 'VITIS', expected 'FuriosaAI'",
    ]


def test_check_tells_programs_the_same(tmp_path: Path) -> None:
    document = json.loads(run("check", "--output", "json", **seeing(strange_host(tmp_path))).stdout)
    (card,) = document["cards"]
    assert (card["name"], card["family"], card["health"], card["uptime_seconds"]) == ("npu0", "warboy", "dead", None)
    assert {"quantity": "temperature", "label": "Peak", "value": 42_000} in card["sensors"]
    assert [(item["subject"], item["reason"]) for item in card["unreadable"]] == [("heartbeat", "format")]
    assert document["rejected"] == [
        {"name": "npu1", "family": "warboy", "reason": "platform_type is 'VITIS', expected 'FuriosaAI'"}
    ]


def test_check_gives_what_a_scrape_would(tmp_path: Path) -> None:
    told = run("check", "-o", "text", **seeing(strange_host(tmp_path))).stdout
    samples = {
        (sample.name, sample.labels.get("label")): sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
    }
    assert samples["furiosa_npu_alive", None] == 0
    assert samples["furiosa_npu_hw_temperature", "Peak"] == 42_000
    assert ("furiosa_npu_uptime", None) not in samples


@pytest.mark.parametrize("command", [(), ("check",)])
def test_every_wrong_setting_is_told_at_once_and_nothing_is_started(command: tuple[str, ...]) -> None:
    ended = run("--interval", "0", *command, NPU_UNITS="metric")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert [line.partition(": expected")[0] for line in ended.stderr.splitlines()] == [
        "command line: --interval is '0'",
        "environment: NPU_UNITS is 'metric'",
    ]


def test_every_option_gets_to_the_setting_of_its_name() -> None:
    # The command line hands options on by place: each has to be told under its own name.
    wrong = {option: f"no/{option}/\tx" for option in names_of(OPTIONS)}
    arguments = [word for option, value in wrong.items() for word in (f"--{option}", value)]
    told = re.findall(r"^command line: --([a-z-]+) is 'no/([a-z-]+)/", run(*arguments).stderr, re.MULTILINE)
    assert {name for name, _ in told} >= set(names_of(OPTIONS)) - ANY_TEXT
    assert [(name, value) for name, value in told if name != value] == []


def test_a_host_without_cards_is_no_failure(tmp_path: Path) -> None:
    ended = run("check", **seeing(FakeHost(tmp_path)))
    assert (ended.returncode, ended.stdout) == (0, "cards: 0\n")
