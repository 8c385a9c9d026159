"""The command line of a service by typer, beside the options of its table."""

import typer.main
from typer.core import TyperGroup

from npu_core.service.command_line import app_of
from npu_core.service.options import ServiceSettings, options_of
from npu_core.service.program import Program


def _nothing(_: Program) -> None:
    """No command."""


def _check(context: typer.Context) -> None:
    """Look once."""
    del context


def test_a_service_has_the_options_of_its_table_and_no_others() -> None:
    rows = options_of(ServiceSettings)
    program = Program("sample", "sample", "1", rows, 1, lambda _: 0, _nothing)
    command = typer.main.get_command(app_of(program, "A sample.", _check))
    table = {f"--{row.name}" for row in rows}
    assert {name for parameter in command.params for name in parameter.opts} == table | {"--version"}
    assert isinstance(command, TyperGroup)
    assert {name for parameter in command.commands["check"].params for name in parameter.opts} == table
