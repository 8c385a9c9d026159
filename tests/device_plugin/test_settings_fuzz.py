"""Whatever a file or a command line holds, it is settings or a list of what is wrong with it, and nothing else."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from npu_core.errors import SettingsError
from npu_core.partition import Partitioning
from npu_core.service.options import names_of
from npu_core.service.settings import environment_name
from npu_device_plugin.settings import OPTIONS, Settings, load
from tests.device_plugin.configs import SAMPLE

FILE_KEYS = ("interval", "defaultPe", "disabledDevices", "pluginDir", "socketName", "resourceName")
LONGEST_PATH = 107

# Everything that a Python text can hold, lone surrogates included: they stand for bytes that are not UTF-8.
any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)
nearly_right = st.sampled_from(
    [
        *("", " ", "10", "1e999", "-0", "nan", "true", "null", "~", "Fusion", "single", "2", "npu1", "npu1pe0-1"),
        *("npu999", "0000:6d:00.0", "/", "/x", "//", "/" + "x" * 107, "x" * 108, "a/b", "furiosa.ai/npu"),
        *("/\udcff", "\udcff", "furiosa.ai/\udcff", "\0", "a\nb", "warboy", "text", "debug", "uvloop", "npu1,npu1,,"),
    ]
)
texts = st.one_of(nearly_right, any_text)
scalars = st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats())
keys = st.one_of(st.sampled_from([*FILE_KEYS, "devName", "nodeName", "warboy", "renegade", "<<"]), any_text)
documents = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4))
)
configs = st.dictionaries(st.one_of(st.sampled_from(FILE_KEYS), keys), documents, max_size=8)


@st.composite
def torn_samples(draw: st.DrawFn) -> bytes:
    """The sample with bytes of it cut out, repeated or replaced."""
    content = SAMPLE.encode()
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(content)))
        last = draw(st.integers(first, min(len(content), first + 40)))
        piece = draw(st.one_of(st.just(content[first:last] * 2), st.binary(max_size=4), st.sampled_from(PIECES)))
        content = content[:first] + piece + content[last:]
    return content


PIECES = [
    b"&a ",
    b"*a",
    b"<<: ",
    b"- ",
    b"? ",
    b": ",
    b"{",
    b"[",
    b"]",
    b"|\n",
    b">-\n",
    b"!!int ",
    b"---\n",
    b"\t",
    b"%",
    b"\0",
]


def outcome(options: Mapping[str, str], environment: Mapping[str, str]) -> Settings | SettingsError:
    """What becomes of settings: one of the two ends there are."""
    try:
        return load(options, environment)
    except SettingsError as error:
        return error


def judge(result: Settings | SettingsError) -> None:
    """Check what can be said of an end, whichever it is."""
    if isinstance(result, SettingsError):
        check_problems(result)
    else:
        check_settings(result)


def check_problems(error: SettingsError) -> None:
    assert error.problems
    assert str(error).count("\n") == len(error.problems) - 1
    in_file = [problem.line for problem in error.problems if problem.line is not None]
    assert in_file == sorted(in_file)


def check_settings(loaded: Settings) -> None:
    assert isinstance(loaded.default_pe, Partitioning)
    assert 0.1 <= loaded.interval <= 86_400
    assert len(f"{loaded.plugin_dir}/{loaded.socket_name}".encode()) <= LONGEST_PATH
    assert "/" not in loaded.socket_name
    assert all(path.startswith("/") for path in (loaded.plugin_dir, loaded.sysfs, loaded.devfs))
    assert len(set(loaded.disabled_devices)) == len(loaded.disabled_devices)


@pytest.fixture(scope="session")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that every example writes anew."""
    return tmp_path_factory.mktemp("fuzz") / "device-plugin.conf"


def judge_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    judge(outcome({"config-file": str(path)}, {"NODE_NAME": "warboy-node01"}))


@given(content=st.binary(max_size=200))
@example(content=b"\xff\xfe\x00")
@example(content=b"a: &a [*a]")
@example(content=b"a: " + b"[" * 100_000)
@settings(max_examples=100)
def test_any_bytes_as_a_file_are_settings_or_problems(config_path: Path, content: bytes) -> None:
    judge_file(config_path, content)


@given(content=torn_samples())
@settings(max_examples=100)
def test_a_torn_sample_is_settings_or_problems(config_path: Path, content: bytes) -> None:
    judge_file(config_path, content)


@given(config=configs)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_document_under_any_keys_is_settings_or_problems(config_path: Path, config: dict[str, object]) -> None:
    judge_file(config_path, yaml.safe_dump(config, encoding="utf-8", allow_unicode=False))


WITHOUT_C = """
import json, sys, yaml
del yaml.CSafeLoader
from npu_core.errors import SettingsError
from npu_core.config.file import parse_config
for content in json.load(sys.stdin):
    try:
        print(len(parse_config(content.encode(), "x.conf")))
    except SettingsError as error:
        print(error)
"""


def test_a_parser_without_its_part_in_c_does_as_well() -> None:
    contents = [
        SAMPLE,
        "interval: soon",
        "{}",
        r'"\ud800": "\ud800"',
        "a: &a [*a]",
        "a: [" * 100_000,
        r'a: "\UFFFFFFFF"',
        "a: \0",
    ]
    printed = subprocess.run(
        [sys.executable, "-c", WITHOUT_C], input=json.dumps(contents), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    problems = [line.partition(": the file is ")[::2] for line in printed[4:]]
    assert printed[:4] == ["6", "1", "0", "1"]
    assert {where for where, _ in problems} <= {"x.conf:1", "x.conf"}
    assert [what for _, what in problems[:2]] == [
        "'*a': expected YAML without aliases",
        "'nested deeper': expected at most 8 levels of lists and mappings",
    ]
    assert all(what.endswith(": expected YAML") for _, what in problems[2:])


@given(
    st.dictionaries(st.sampled_from(names_of(OPTIONS)), texts),
    st.dictionaries(st.sampled_from([*map(environment_name, names_of(OPTIONS)), "NODE_NAME"]), texts),
)
@settings(max_examples=100)
def test_any_options_are_settings_or_problems(options: dict[str, str], environment: dict[str, str]) -> None:
    judge(outcome(options, environment))
