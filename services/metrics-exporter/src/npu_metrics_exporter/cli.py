"""``npu-metrics-exporter``: its command line, where that is not a plain one."""

from enum import StrEnum
from typing import Annotated

import typer

from npu_core.printable import printable_lines
from npu_core.service import command_line
from npu_core.service.program import Program
from npu_metrics_exporter import check
from npu_metrics_exporter.settings import load

_DESCRIPTION = """Prometheus exporter for FuriosaAI NPUs.

NODE_NAME, if set, is the node's name in furiosa_npu_info.

SIGHUP makes the exporter read its configuration files and the cards at once.
"""


class Output(StrEnum):
    """How ``check`` answers."""

    TABLE = "table"
    JSON = "json"
    TEXT = "text"


def check_host(
    context: typer.Context,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="table, json, or text as a scrape has it")
    ] = Output.TABLE,
) -> None:
    """Read the host once and print what metrics are made of. Nothing is served."""
    finding = command_line.checked(load, check.examine, context)
    forms = {Output.TABLE: check.as_text, Output.JSON: check.as_json, Output.TEXT: check.as_exposition}
    text = forms[output](finding)
    print(printable_lines(text) if output is Output.TABLE else text)


def app(program: Program) -> typer.Typer:
    """The command line."""
    return command_line.app_of(program, _DESCRIPTION, check_host)
