"""The ``k8s-device-plugin`` command as operators run it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.checkpoint import CHECKPOINT
from npu_core.testing import EIO, FakeHost, Fault, FaultyFS, rngd, warboy
from npu_device_plugin import __version__, check
from npu_device_plugin.kubelet.registration import Registration
from npu_device_plugin.scanner import Scanner
from testkit.waiting import PATIENCE
from tests.device_plugin.configs import write

"""Seconds: twice the deadline of a read, and the start of the program."""
PROGRAM = Path(sys.executable).with_name("k8s-device-plugin")


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command's end; of its settings, the environment has only what is given."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "NODE_"))}
    return subprocess.run(
        [PROGRAM, *arguments], env=others | environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def seeing(host: FakeHost) -> Mapping[str, str]:
    return {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs}


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A Warboy card, a dead one, and something that looks like one."""
    host = FakeHost(tmp_path, warboy(0), warboy(1, numa_node=-1), warboy(2))
    host.card(Arch.WARBOY, 1).die()
    host.card(Arch.WARBOY, 2).set_attribute("platform_type", "VITIS")
    return host


def test_the_version_is_the_packages() -> None:
    ended = run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"k8s-device-plugin {__version__}\n", "")


def test_an_option_that_there_is_not_is_a_wrong_use() -> None:
    ended = run("--resource", "x", "check")
    assert ended.returncode == 2
    assert re.search(r"No such option:? '?--resource\b", ended.stderr)


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["check"]])
def test_wrong_settings_are_all_told_and_nothing_is_done(command: list[str]) -> None:
    ended = run("--interval", "soon", "--sysfs", "sys", *command, NPU_DEFAULT_PE="pe0-1")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert [line.partition(" is ")[0] for line in ended.stderr.splitlines()] == [
        "environment: NPU_DEFAULT_PE",
        "command line: --interval",
        "command line: --sysfs",
    ]


def test_a_pipe_is_read_once_whichever_way_the_command_line_is_read() -> None:
    """Options that are not plain are read by the library for command lines, in another process."""
    named = ["--config-file", "/dev/stdin"]
    for given in (named, named * 2):
        ended = subprocess.run(
            [PROGRAM, *given], input="defaultPe: Triple\n", capture_output=True, text=True, check=False, timeout=60
        )
        assert ended.returncode == 2
        assert "/dev/stdin:1: defaultPe is 'Triple'" in ended.stderr


@pytest.mark.parametrize("times", [1, 2])
def test_a_service_starts_with_what_a_pipe_says_whichever_way_the_command_line_is_read(
    socket_dir: Path, times: int
) -> None:
    """A second read of the pipe would find nothing, which is an error."""
    given = ["--config-file", "/dev/stdin"] * times
    with subprocess.Popen([PROGRAM, *given], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(f"pluginDir: {socket_dir}\nlistenAddress: 'off'\n")
        process.stdin.close()
        first = process.stderr.readline()
        process.kill()
    assert "INFO starting" in first


# -- check ------------------------------------------------------------------------------------------------------------


def test_check_tells_people_what_would_be_offered_and_what_a_container_would_get(host: FakeHost) -> None:
    ended = run("--default-pe", "Single", "--disabled-devices", "npu0pe0", "check", **seeing(host))
    variables = "FURIOSA_DEVICES=npu:{card}:{pe} NPU_DEVNAME=npu{card}pe{pe} NPU_NPUNAME=npu{card} NPU_PENAME=pe{pe}"
    files = " ".join(f"/dev/npu{{card}}{suffix}" for suffix in ("_mgmt", "ch0", "ch1", "ch2", "ch3", "pe{pe}"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "beta.furiosa.ai/npu: 3 units, 1 healthy (warboy)",
        *(
            line
            for card, pe, rest in (
                (0, 1, "NUMA 0   PCI 0000:17:00.0  Healthy"),
                (1, 0, "NUMA -   PCI 0000:28:00.0  Unhealthy: the driver reports the card as dead"),
                (1, 1, "NUMA -   PCI 0000:28:00.0  Unhealthy: the driver reports the card as dead"),
            )
            for line in (
                f"  npu{card}pe{pe}      {rest}",
                f"    env      {variables.format(card=card, pe=pe)}",
                f"    devices  {files.format(card=card, pe=pe)}",
            )
        ),
        "not offered: npu2 (warboy): platform_type is 'VITIS', expected 'FuriosaAI'",
    ]


def test_check_tells_programs_the_same(host: FakeHost) -> None:
    ended = run("check", "--output", "json", **seeing(host))
    document = json.loads(ended.stdout)
    (resource,) = document["resources"]
    healthy, dead = resource["units"]
    assert (resource["name"], resource["family"]) == ("beta.furiosa.ai/npu", "warboy")
    assert (healthy["id"], healthy["health"], healthy["reasons"]) == ("npu0pe0-1", "Healthy", [])
    assert (healthy["numa_node"], healthy["pci"]) == (0, "0000:17:00.0")
    assert healthy["environment"]["NPU_DEVNAME"] == "npu0pe0-1"
    assert "/dev/npu0pe0-1" in healthy["devices"]
    assert (dead["health"], dead["reasons"]) == ("Unhealthy", ["the driver reports the card as dead"])
    assert dead["numa_node"] is None
    assert [card["card"] for card in document["rejected"]] == ["npu2"]
    assert document["unreadable"] == []


def test_check_tells_why_a_second_family_would_not_be_offered(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    name = f"furiosa.ai/{'n' * 60}"
    told = run("--resource-name", name, "check", **seeing(host)).stdout.splitlines()
    reason = Registration("/p", "s", f"{name}-renegade").objection
    assert told[0] == f"{name}: 1 units, 1 healthy (warboy)"
    assert told[-1] == f"not offered: renegade cards: {reason}"
    document = json.loads(run("--resource-name", name, "check", "-o", "json", **seeing(host)).stdout)
    assert document["refused"] == [{"family": "renegade", "reason": reason}]
    assert [each["family"] for each in document["resources"]] == ["warboy"]


def test_check_tells_which_disabled_devices_this_host_does_not_have(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    told = run("--disabled-devices", "npu1,npu7", "check", **seeing(host)).stdout.splitlines()
    expected = "one of npu0, npu1, or a unit, a UUID or a PCI address of one"
    assert told[-1] == f"unknown device: disabledDevices[1] is 'npu7': expected {expected}"
    document = json.loads(run("--disabled-devices", "npu1,npu7", "check", "-o", "json", **seeing(host)).stdout)
    assert document["unknown"] == [{"entry": "disabledDevices[1]", "device": "npu7", "expected": expected}]


def test_check_answers_although_a_card_hangs(host: FakeHost) -> None:
    hung = host.card(Arch.WARBOY, 0)
    hung.hang("soc_rev")
    ended = run("check", "-o", "json", **seeing(host))
    hung.set_attribute("soc_rev", "B0")
    (resource,) = json.loads(ended.stdout)["resources"]
    health = {unit["id"]: unit["health"] for unit in resource["units"]}
    assert (ended.returncode, ended.stderr) == (0, "")
    assert health["npu0pe0-1"] == "Unhealthy"


@pytest.mark.skipif(os.getuid() != 0, reason="device files of a mode of their own need root")
def test_check_tells_which_device_files_pods_with_users_of_their_own_cannot_open(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), real_nodes=True)
    for file in Path(host.devfs).iterdir():
        file.chmod(0o666)
    assert "hostUsers" not in run("check", **seeing(host)).stdout
    (Path(host.devfs) / "npu0pe0-1").chmod(0o660)
    assert run("check", **seeing(host)).stdout.splitlines()[-1] == (
        "mode 0660: pods with hostUsers: false cannot open /dev/npu0pe0-1"
    )
    document = json.loads(run("check", "-o", "json", **seeing(host)).stdout)
    assert document["closed"] == [{"path": "/dev/npu0pe0-1", "mode": "0660"}]


@pytest.mark.parametrize("fault", [None, EIO], ids=["dead", "cannot tell"])
async def test_check_waits_only_for_cards_that_have_not_told_how_they_fare(
    tmp_path: Path, fault: Fault | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    host, fs = FakeHost(tmp_path, warboy(0)), FaultyFS()
    if fault is None:
        host.card(Arch.WARBOY, 0).die()
    else:
        fs.put("*/alive", fault)
    monkeypatch.setattr("npu_device_plugin.check.asyncio.sleep", note)
    await check._look_twice(Scanner(host.open(fs), time.monotonic))
    assert len(waited) == (fault is not None)


def test_check_takes_a_file(tmp_path: Path) -> None:
    host = FakeHost(tmp_path / "host", warboy(0), warboy(1))
    path = write(tmp_path, "defaultPe: Single\ndisabledDevices: [{devName: npu1, nodeName: here}]\n")
    ended = run("--config-file", path, "check", "-o", "json", NODE_NAME="here", **seeing(host))
    (resource,) = json.loads(ended.stdout)["resources"]
    assert [unit["id"] for unit in resource["units"]] == ["npu0pe0", "npu0pe1"]


def test_check_of_a_host_without_cards_says_so(tmp_path: Path) -> None:
    ended = run("check", **seeing(FakeHost(tmp_path)))
    assert (ended.returncode, ended.stdout) == (0, "no NPU found: nothing would be offered\n")


def test_check_of_a_host_that_is_not_there_fails(tmp_path: Path) -> None:
    ended = run("--sysfs", f"{tmp_path}/sys", "--devfs", f"{tmp_path}/dev", "check")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"cannot read the host: {tmp_path}/sys: ENOENT (No such file or directory)\n"


@pytest.mark.parametrize(("held", "shown"), [("npu9pe0-1", "npu9pe0-1"), ("a\x1b[31m\nb", r"'a\x1b[31m\nb'")])
def test_check_shows_an_id_that_another_plugin_chose_in_one_line_of_plain_text(
    tmp_path: Path, held: str, shown: str
) -> None:
    host = FakeHost(tmp_path / "host", warboy(0))
    entry = {"ResourceName": "beta.furiosa.ai/npu", "DeviceIDs": {"0": [held]}}
    (tmp_path / CHECKPOINT).write_text(json.dumps({"Data": {"PodDeviceEntries": [entry]}}))
    ended = run("--sysfs", host.sysfs, "--devfs", host.devfs, "--plugin-dir", str(tmp_path), "check")
    assert f"  {shown:<12} Unhealthy: " in ended.stdout
    assert "\x1b" not in ended.stdout
