"""``npu-feature-discovery``: its command line, where that is not a plain one."""

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from npu_core.printable import printable_lines
from npu_core.service import command_line
from npu_core.service.program import Program
from npu_feature_discovery import check
from npu_feature_discovery.settings import Settings, load

_DESCRIPTION = """Node labels for FuriosaAI NPUs, through Node Feature Discovery or without it.

NODE_NAME must hold the node's name for the sinks node-feature and node-labels.

SIGHUP makes the service read the cards and publish at once.
"""


class Output(StrEnum):
    """How ``check`` answers."""

    TABLE = "table"
    JSON = "json"


def check_host(
    context: typer.Context,
    nfd_version: Annotated[
        str | None, typer.Option("--nfd-version", metavar="VERSION", help="of the cluster's NFD", show_default=False)
    ] = None,
    extra_label_ns: Annotated[
        str, typer.Option("--extra-label-ns", metavar="NAME,...", help="what its master was told to take as well")
    ] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json")] = Output.TABLE,
) -> None:
    """Print the labels of this host, where each comes from, and what NFD would drop. Nothing is published."""
    namespaces = [name for name in extra_label_ns.split(",") if name]
    finding = command_line.checked(load, partial(_examine, nfd_version, namespaces), context)
    print(check.as_json(finding) if output is Output.JSON else printable_lines(check.as_text(finding)))


def _examine(nfd_version: str | None, namespaces: list[str], settings: Settings) -> check.CheckReport:
    # Not the version that the file is written for: the question is what another one would make of the file.
    asked = settings if nfd_version is None else load({"nfd-version": nfd_version}, {})
    return check.examine(settings, asked.nfd_version, namespaces)


def app(program: Program) -> typer.Typer:
    """The command line."""
    return command_line.app_of(program, _DESCRIPTION, check_host)
