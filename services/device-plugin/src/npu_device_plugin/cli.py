"""``k8s-device-plugin``: its command line, where that is not a plain one."""

from enum import StrEnum
from typing import Annotated

import typer

from npu_core.printable import printable_lines
from npu_core.service import command_line
from npu_core.service.program import Program
from npu_device_plugin import check
from npu_device_plugin.settings import load

_DESCRIPTION = """Kubernetes device plugin for FuriosaAI NPUs.

NODE_NAME must hold the node's name where disabledDevices names nodes.

SIGHUP makes the plugin read its configuration file and list the cards at once.
"""


class Output(StrEnum):
    """How ``check`` answers."""

    TABLE = "table"
    JSON = "json"


def check_host(
    context: typer.Context,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json")] = Output.TABLE,
) -> None:
    """Print what this host would offer and what a container of each unit would get. Nothing is served."""
    finding = command_line.checked(load, check.examine, context)
    print(check.as_json(finding) if output is Output.JSON else printable_lines(check.as_text(finding)))


def app(program: Program) -> typer.Typer:
    """The command line."""
    return command_line.app_of(program, _DESCRIPTION, check_host)
