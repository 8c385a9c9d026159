"""The resting process, and how the service is put together."""

import json
import subprocess
import sys

import pytest

from npu_core.errors import ProblemCode, SettingsError
from npu_feature_discovery.app import sink_of
from npu_feature_discovery.daemon import run
from npu_feature_discovery.settings import load
from npu_feature_discovery.sinks.feature_file import FeatureFileSink
from testkit.waiting import PATIENCE

TOO_HEAVY = {"asyncio", "typer", "click", "pydantic", "kubernetes", "grpc", "prometheus_client", "yaml", "subprocess"}


def modules_of(module: str) -> set[str]:
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, check=True).stdout
    return {name.partition(".")[0] for name in json.loads(printed)}


def test_the_daemon_does_not_load_what_only_a_command_line_or_another_sink_needs() -> None:
    modules = modules_of("npu_feature_discovery.daemon")
    assert "npu_feature_discovery" in modules
    assert modules & TOO_HEAVY == set()


def test_the_sinks_behind_the_api_server_do_not_load_its_client() -> None:
    modules = modules_of("npu_feature_discovery.sinks.api_sink")
    assert modules & {"kubernetes", "urllib3", "ssl", "asyncio"} == set()


def test_signals_are_held_before_anything_heavy_is_loaded() -> None:
    assert modules_of("npu_feature_discovery.entry") & (TOO_HEAVY | {"logging", "dataclasses"}) == set()


def test_wrong_settings_are_raised_for_the_program_to_tell() -> None:
    with pytest.raises(SettingsError) as caught:
        run({"interval": "soon"})
    assert [(problem.key, problem.code) for problem in caught.value.problems] == [("--interval", ProblemCode.VALUE)]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "feature-file"),
        ({"output-file": "-"}, "standard-output"),
        ({"print": "true", "sink": "node-labels"}, "standard-output"),
        ({"sink": "node-labels"}, "node-labels"),
        ({"sink": "node-feature", "namespace": "nfd"}, "node-feature"),
    ],
)
def test_the_sink_is_the_one_that_was_asked_for(options: dict[str, str], name: str) -> None:
    assert sink_of(load(options, {"NODE_NAME": "here"})).name == name


def test_the_files_sink_has_the_settings_path() -> None:
    sink = sink_of(load({"output-file": "/a/b"}, {}))
    assert isinstance(sink, FeatureFileSink)
    assert sink.path == "/a/b"
