"""The ``npu-feature-discovery`` command as operators run it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.testing import FakeHost, rngd, second_entry, warboy
from npu_feature_discovery import __version__
from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.table import Extra
from testkit.waiting import PATIENCE

PROGRAM = Path(sys.executable).with_name("npu-feature-discovery")
LABELS = """\
beta.furiosa.ai/driver.reference=3def9c2
beta.furiosa.ai/driver.version=1.9.2
beta.furiosa.ai/driver.version.major=1
beta.furiosa.ai/driver.version.minor=9
beta.furiosa.ai/driver.version.patch=2
beta.furiosa.ai/machine.name=PowerEdge-R750
beta.furiosa.ai/machine.vendor=Dell-Inc
beta.furiosa.ai/npu.count=1
beta.furiosa.ai/npu.family=warboy
beta.furiosa.ai/npu.product=warboyB0
"""


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
    return FakeHost(tmp_path / "host", warboy(0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The feature file, in a directory of its own."""
    (tmp_path / "features.d").mkdir()
    return tmp_path / "features.d/furiosa-npu-feature-discovery"


def test_the_version_is_the_packages_and_the_module_is_the_same_program() -> None:
    for command in ([PROGRAM], [sys.executable, "-m", "npu_feature_discovery"]):
        ended = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True)
        assert (ended.stdout, ended.stderr) == (f"npu-feature-discovery {__version__}\n", "")


def test_help_has_every_group_of_labels() -> None:
    told = re.sub(r"\s+", " ", run("--help").stdout)
    assert ", ".join(sorted(Extra)) in told or all(group in told for group in Extra)


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--oneshot", "--nonsense"], ["--interval"]])
def test_an_option_that_there_is_not_is_a_wrong_use(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["--oneshot"], ["--remove"], ["check"]])
def test_wrong_settings_are_all_told_and_nothing_is_done(command: list[str]) -> None:
    ended = run("--interval", "soon", "--sysfs", "sys", *command, NPU_MIXED="both")
    assert (ended.returncode, ended.stdout) == (2, "")
    told = [line.split(" is ")[0] for line in ended.stderr.splitlines()]
    assert told == ["command line: --interval", "environment: NPU_MIXED", "command line: --sysfs"]


def test_flags_reach_the_settings_by_the_library_too() -> None:
    ended = run("--remove", "--log-level", "info", "--log-level", "info", "--print", "--oneshot")
    assert ended.returncode == 2
    assert ended.stderr.startswith("command line: --remove is 'true'")


# -- once -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twice", [[], ["--log-level", "info", "--log-level", "info"]], ids=["plain", "by the library"])
def test_oneshot_publishes_and_ends(host: FakeHost, file: Path, twice: list[str]) -> None:
    ended = run("--oneshot", "--output-file", str(file), *twice, **seeing(host))
    assert (ended.returncode, ended.stdout) == (0, "")
    assert file.read_text() == LABELS
    before = file.stat()
    assert run("--output-file", str(file), *twice, NPU_ONESHOT="true", **seeing(host)).returncode == 0
    assert file.stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("options", "event", "named"),
    [
        (["--output-file", "{}/nowhere/file"], Event.CANNOT_PUBLISH, "{}/nowhere"),
        (["--sysfs", "{}/sys", "--devfs", "{}/dev"], Event.CANNOT_LOOK, "{}/sys"),
    ],
)
def test_oneshot_that_cannot_look_or_publish_says_why_leaves_the_file_and_fails(
    host: FakeHost, file: Path, options: list[str], event: Event, named: str
) -> None:
    file.write_text("beta.furiosa.ai/npu.count=3\n")
    given = [option.format(file.parent) for option in options]
    ended = run("--oneshot", "--output-file", str(file), *given, **seeing(host))
    assert ended.returncode == 1
    assert event in ended.stderr
    assert named.format(file.parent) in ended.stderr
    assert file.read_text() == "beta.furiosa.ai/npu.count=3\n"


def test_print_prints_and_publishes_nothing(host: FakeHost, file: Path) -> None:
    ended = run("--print", "--output-file", str(file), "--log-level", "warning", **seeing(host))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, LABELS, "")
    assert not file.exists()


def test_the_output_file_may_be_standard_output(host: FakeHost) -> None:
    assert run("--oneshot", "--output-file", "-", **seeing(host)).stdout == LABELS


def test_remove_takes_the_file_away_and_is_content_where_there_is_none(host: FakeHost, file: Path) -> None:
    run("--oneshot", "--output-file", str(file), **seeing(host))
    assert run("--remove", "--output-file", str(file)).returncode == 0
    assert list(file.parent.iterdir()) == []
    ended = run("--remove", "--output-file", str(file))
    assert ended.returncode == 0
    assert Event.NOTHING_TO_REMOVE in ended.stderr


def test_remove_that_cannot_says_so_and_fails(file: Path) -> None:
    file.mkdir()
    ended = run("--remove", "--output-file", str(file))
    assert ended.returncode == 1
    assert Event.CANNOT_REMOVE in ended.stderr


# -- check ------------------------------------------------------------------------------------------------------------


def test_check_tells_each_label_and_the_file_it_comes_from(host: FakeHost) -> None:
    ended = run("check", **seeing(host))
    lines = dict(
        re.split(r" {2,}", line, maxsplit=1) for line in ended.stdout.splitlines() if "=" in line and "  " in line
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "".join(f"{label}\n" for label in lines if "=" in label and "/" in label) == LABELS
    assert lines["beta.furiosa.ai/machine.vendor=Dell-Inc"] == f"{host.sysfs}/class/dmi/id/sys_vendor"
    assert lines["beta.furiosa.ai/driver.version=1.9.2"] == f"{host.sysfs}/class/npu_mgmt/npu*_mgmt/version"


@pytest.mark.parametrize(
    ("arguments", "environment", "dropped"),
    [
        ([], {}, 10),
        (["--nfd-version", "v0.11", "--extra-label-ns", "a.b,beta.furiosa.ai"], {}, 0),
        (["--nfd-version", "0.13.1"], {}, 0),
        # The version that the file is written for is another matter: an older one would not let the labels expire.
        (["--nfd-version", "v0.11"], {"NPU_EXPIRY": "240", "NPU_NFD_VERSION": "v0.14"}, 11),
        ([], {"NPU_SINK": "node-labels", "NODE_NAME": "here"}, None),
    ],
)
def test_check_tells_what_a_version_of_nfd_would_drop(
    host: FakeHost, arguments: list[str], environment: dict[str, str], dropped: int | None
) -> None:
    nfd = json.loads(run("check", "-o", "json", *arguments, **seeing(host), **environment).stdout)["nfd"]
    assert (nfd["version"] is None) is (dropped is None)
    assert len(nfd["dropped"]) == (dropped or 0)


def test_check_tells_programs_the_same(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0), warboy(3, driver=""))
    host.card(Arch.WARBOY, 3).set_attribute("platform_type", "VITIS")
    ended = run("check", "--nfd-version", "v0.14", "--output", "json", **seeing(host))
    document = json.loads(ended.stdout)
    labels = {label["key"].partition("/")[2]: label["value"] for label in document["labels"]}
    assert (labels["npu.count"], labels["npu.family"]) == ("2", "renegade_warboy")
    assert document["nfd"] == {"version": "v0.14", "dropped": []}
    assert document["rejected"] == [
        {"card": "npu3", "family": "warboy", "reason": "platform_type is 'VITIS', expected 'FuriosaAI'"}
    ]
    assert document["unreadable"] == []


def test_check_tells_which_strings_of_the_firmware_name_no_machine(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    host.set_machine("Default string", "R750", board_vendor="ASUSTeK COMPUTER INC.")
    text = run("check", **seeing(host)).stdout
    assert re.search(r"machine\.vendor=ASUSTeK-COMPUTER-INC +\S+/class/dmi/id/board_vendor\n", text)
    assert text.endswith("not used: sys_vendor is 'Default string', a placeholder that names no machine\n")
    document = json.loads(run("check", "--output", "json", **seeing(host)).stdout)
    assert document["placeholders"] == [{"item": "sys_vendor", "text": "Default string"}]


def test_check_tells_which_cards_do_not_count_and_why(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), second_entry(warboy(0), 1), warboy(2))
    host.card(Arch.WARBOY, 2).remove_files()
    told = run("check", **seeing(host)).stdout.splitlines()
    assert any("npu.count=1 " in line for line in told)
    assert [line.split(" (")[0] for line in told[-2:]] == ["not counted: npu1", "not counted: npu2"]
    assert run("--print", **seeing(host)).stdout.count("npu.count=1\n") == 1
    unseen = run("check", NPU_SYSFS=host.sysfs).stdout
    assert "npu.count=2 " in unseen


def test_check_answers_although_a_card_hangs(host: FakeHost) -> None:
    host.cards[0].hang("soc_rev")
    ended = run("check", **seeing(host))
    assert ended.returncode == 0
    assert "unreadable: npu0 " in ended.stdout


def test_check_of_a_host_that_is_not_there_fails(tmp_path: Path) -> None:
    ended = run("--sysfs", f"{tmp_path}/sys", "--devfs", f"{tmp_path}/dev", "check")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"{tmp_path}/sys: ENOENT" in ended.stderr


def test_labels_that_cannot_be_printed_are_a_failure_in_words(host: FakeHost) -> None:
    ended = subprocess.run(
        ["sh", "-c", 'exec "$0" --print >&-', PROGRAM],  # noqa: S607  # the system's own
        env=os.environ | seeing(host),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert Event.CANNOT_PUBLISH in ended.stderr
    assert "Traceback" not in ended.stderr
