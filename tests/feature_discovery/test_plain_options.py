"""Command lines read without the library for them are read as it reads them, or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_feature_discovery.plain_options import FLAGS, OPTIONS, asks_for_an_end, parse

PATIENCE = 30


def test_values_stand_beside_their_option_or_behind_an_equals_sign() -> None:
    assert parse(["--interval", "5", "--output-file=-", "--oneshot", "--mixed=a=b", "--sysfs", ""]) == {
        "interval": "5",
        "output-file": "-",
        "oneshot": "true",
        "mixed": "a=b",
        "sysfs": "",
    }
    assert parse([]) == {}
    assert parse(["--output-file", "-"]) == {"output-file": "-"}


@pytest.mark.parametrize(
    "line",
    [
        "check",
        "--oneshot check",
        "--help",
        "--version",
        "-o json",
        "--",
        "--interval",
        "--interval --oneshot",
        "--interval -5",
        "--nonsense 5",
        "--oneshot=true",
        "--oneshot --oneshot",
        "--interval 5 --interval 6",
        "interval 5",
        "oneshot",
    ],
)
def test_whatever_is_not_plain_is_left_to_the_library(line: str) -> None:
    assert parse(line.split()) is None


@given(st.dictionaries(st.sampled_from(OPTIONS), st.text(st.characters(exclude_characters="-", min_codepoint=33))))
def test_what_was_given_comes_back(wanted: dict[str, str]) -> None:
    given = {name: "true" if name in FLAGS else value for name, value in wanted.items()}
    beside = [
        word for name, value in given.items() for word in ([f"--{name}"] if name in FLAGS else [f"--{name}", value])
    ]
    behind = [f"--{name}" if name in FLAGS else f"--{name}={value}" for name, value in given.items()]
    assert parse(beside) == parse(behind) == given


def test_an_end_is_asked_for_by_a_flag_or_its_variable() -> None:
    assert asks_for_an_end({"oneshot": "true"}, {})
    assert asks_for_an_end({}, {"NPU_PRINT": "true"})
    assert not asks_for_an_end({"interval": "1"}, {"NPU_REMOVE": "", "NPU_INTERVAL": "1"})


def test_the_library_reads_the_same(tmp_path: Path) -> None:
    """Every option with a value that is wrong: both ways complain of the same things in the same words."""
    plain = [word for name in OPTIONS if name not in FLAGS for word in (f"--{name}", f"no/{name}/")]
    again = ["--log-level", "no/log-level/"]
    program = Path(sys.executable).with_name("npu-feature-discovery")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NPU_")}
    ended = subprocess.run(
        [program, *plain, *again, "--oneshot"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    given = parse([*plain, "--oneshot"])
    code = "import json, sys; from npu_feature_discovery.settings import load; load(json.loads(sys.argv[1]), {})"
    loaded = subprocess.run(
        [sys.executable, "-c", code, json.dumps(given)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    complaints = [line for line in loaded.stderr.splitlines() if "command line: --" in line]
    told = [line.partition("SettingsError: ")[2] or line for line in complaints]
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == told
    assert len(told) == len(OPTIONS) - len(FLAGS) - 1  # a namespace may be anything
