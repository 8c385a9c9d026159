"""The keys below are a promise to programs: docs/npuctl.md lists them."""

import json
from pathlib import Path

import pytest
import yaml

from npu_core.arch import Arch
from npu_core.cli.yaml_text import yaml_text
from npu_core.testing import FakeHost, rngd, warboy
from tests.core.cli.program import Npuctl

IDENTITY = ["npu", "arch", "name"]
INFO = [*IDENTITY, "temperature_millicelsius", "power_microwatts", "pci_address", "pci_dev", "unreadable"]
FULL = [
    *INFO[:-1],
    *("product", "uuid", "serial", "firmware", "driver", "soc_revision", "numa_node", "pe_count"),
    *("alive", "health", "health_reasons", "uptime_seconds", "performance_mode", "clocks", "error_counts"),
    *("throttle_reason", "sensors", "device_files", "absent_device_files", "machine", "unreadable"),
]
TOP = ("top", "--once", "--interval", "0.1")
KEYS = {
    ("info",): INFO,
    ("info", "--full"): FULL,
    ("list",): [*IDENTITY, "pes", "device_files", "unreadable"],
    ("ps",): ["pid", *IDENTITY, "device_files", "command", "unreadable"],
    TOP: [*IDENTITY, "temperature_millicelsius", "power_microwatts", "loads", "unreadable"],
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> FakeHost:
    """Written once: no test of this module changes it."""
    host = FakeHost(tmp_path_factory.mktemp("host"), warboy(0), rngd(0))
    host.run_process(4242, ["python3", "serve.py", "--port", "80"], ["/dev/npu0pe0", "/dev/npu0_mgmt"])
    return host


@pytest.mark.parametrize("command", [*KEYS, ("version",)])
def test_json_and_yaml_say_the_same_with_the_promised_keys(
    host: FakeHost, tmp_path: Path, npuctl: Npuctl, command: tuple[str, ...]
) -> None:
    as_json, as_yaml = (npuctl(host, *command, "-o", form) for form in ("json", "yaml"))
    assert json.loads(as_json.stdout) == yaml.safe_load(as_yaml.stdout)
    assert as_json.stderr == as_yaml.stderr == ""
    if command in KEYS:
        assert {tuple(entry) for entry in json.loads(as_json.stdout)} == {tuple(KEYS[command])}
        nothing = [npuctl(FakeHost(tmp_path), *command, "-o", form) for form in ("json", "yaml")]
        assert [(answer.stdout, answer.returncode) for answer in nothing] == [("[]\n", 0)] * 2


@pytest.mark.parametrize(
    "text",
    [
        *("08912345", "12e4567", "1234e56", "1.5", "1e3", ".5", "5.", "-7", "+7", "0x1F", "0o17", "017", "0b11"),
        *("1_000", "190:20:30", "0000:17:00.0", ".inf", "-.INF", ".nan", "true", "False", "yes", "NO", "on", "Off"),
        *("y", "N", "null", "Null", "~", "", "=", "<<", "2026-11-30", "2026-11-30T10:00:00Z", "1.9.2", "-", "..."),
    ],
)
def test_a_text_that_a_reader_of_yaml_could_take_for_something_else_is_quoted(text: str) -> None:
    written = yaml_text({"serial": text, "labels": {text: [text]}}, marker=False)
    assert yaml.safe_load(written) == {"serial": text, "labels": {text: [text]}}
    scalars = [event for event in yaml.parse(written) if isinstance(event, yaml.ScalarEvent) and event.value == text]
    assert [event.style in {"'", '"'} for event in scalars] == [True] * 3


@pytest.mark.parametrize("text", ["npu0", "in use", "c1bebfd", "/dev/npu0pe0", "yesterday", "nullable"])
def test_an_ordinary_text_is_not_quoted(text: str) -> None:
    assert yaml_text({"name": text}, marker=False) == f"name: {text}"


def test_nested_entries_have_the_promised_keys(host: FakeHost, npuctl: Npuctl) -> None:
    full = json.loads(npuctl(host, "info", "--full", "-o", "json").stdout)[0]
    assert full["firmware"] == {"version": "1.6.0", "reference": "c1bebfd"}
    assert full["clocks"][0] == {"domain": "ne tensor", "frequency": 2000, "unit": "MHz"}
    assert full["machine"] == {"vendor": "Dell Inc.", "name": "PowerEdge R750"}
    assert list(full["sensors"]) == [
        *("temperature_millicelsius", "power_microwatts", "voltage_millivolts", "current_milliamperes"),
    ]
    assert full["sensors"]["power_microwatts"]["PCI Total RMS PWR"] == full["power_microwatts"] == 9_666_000
    assert (full["throttle_reason"], full["unreadable"]) == (None, [])
    assert json.loads(npuctl(host, "list", "-o", "json").stdout)[0]["pes"][0] == {
        "pe": 0,
        "state": "in use",
        "occupied": None,
        "holders": [{"pid": 4242, "command": "python3 serve.py --port 80"}],
        "device_files": ["/dev/npu0pe0", "/dev/npu0pe0-1", "/dev/npu0"],
    }
    load = json.loads(npuctl(host, *TOP, "-o", "json").stdout)[0]["loads"][0]
    assert load == {"cores": "0", "status": "cannot tell", "busy_ratio": None, "computing_ratio": None}


def test_an_unreadable_value_is_null_and_listed(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0))
    host.card(Arch.WARBOY, 0).set_attribute("dev", "garbage")
    answer = npuctl(host, "info", "-o", "json")
    card = json.loads(answer.stdout)[0]
    assert card["pci_dev"] is None
    [unreadable] = card["unreadable"]
    assert (unreadable["subject"], unreadable["reason"], list(unreadable)) == (
        *("dev", "format"),
        ["subject", "reason", "detail"],
    )
    assert answer.stderr.startswith("npuctl: warboy npu0 dev: ")
