"""What the exporter prints, word by word, in one file: its help, its events, and what it says of wrong inputs."""

import os
from collections.abc import Iterator
from pathlib import Path

from npu_core.config.file import parse_config
from npu_core.errors import FormatError, Problem, SettingsError
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.metrics.pattern import compiled
from npu_metrics_exporter.settings import load
from npu_metrics_exporter.web.config_file import parse
from npu_metrics_exporter.web.protection import unsaid_losses
from testkit.golden import compare
from tests.metrics_exporter import wrong
from tests.metrics_exporter.programs import run

GOLDEN = Path(__file__).parents[1] / "golden" / "npu-metrics-exporter.txt"


def problems_of_options() -> Iterator[Problem]:
    for option, texts in wrong.OPTIONS.items():
        for text in texts:
            try:
                load({option: text}, {})
            except SettingsError as error:
                yield from error.problems


def problems_of_web_configurations() -> Iterator[Problem]:
    for text, _ in wrong.WEB:
        try:
            parse(parse_config(text.encode(), "web.yml"), "/etc")
        except SettingsError as error:
            yield from error.problems
    every = frozenset({"tls_server_config", "basic_auth_users", "tls_server_config.client_auth_type"})
    yield from unsaid_losses(every, frozenset(), frozenset(), "web.yml")


def problems_of_patterns() -> Iterator[str]:
    for text in ("(", "*", r"(a)\1", "(?=a)b", "a{2000}", "((a{100}){100}){100}"):
        try:
            compiled(text)
        except FormatError as error:
            yield str(error)


def test_what_is_printed_is_as_written_down() -> None:
    width = {"COLUMNS": "120", "TERM": "dumb", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
    sections: dict[str, list[str]] = {
        "npu-metrics-exporter --help": [run("--help", **width).stdout.rstrip()],
        "npu-metrics-exporter check --help": [run("check", "--help", **width).stdout.rstrip()],
        "Events of the log": sorted(Event),
        "Wrong options": [str(problem) for problem in problems_of_options()],
        "Wrong web configurations": [str(problem) for problem in problems_of_web_configurations()],
        "Wrong regular expressions": list(problems_of_patterns()),
    }
    compare(
        GOLDEN, "\n".join(f"== {name}\n\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items())
    )
