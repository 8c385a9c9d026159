"""The command line of a service by typer: the options of its table, ``check`` and ``--version``.

Options may stand before and after ``check``. ``-h`` is ``--help``.
"""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Annotated, Any, TypeVar

import typer

from npu_core.errors import HostError, SettingsError
from npu_core.printable import printable, printable_lines
from npu_core.service.lifetime import unblock_signals
from npu_core.service.options import Option
from npu_core.service.program import WRONG_SETTINGS, Program

S = TypeVar("S")
T = TypeVar("T")
_SETTINGS = {"help_option_names": ["-h", "--help"]}


def app_of(program: Program, description: str, check: Callable[..., None]) -> typer.Typer:
    """The command line of a service.

    Args:
        program: becomes the daemon if there is no command.
        description: what the service is, for ``--help``.
        check: the command ``check``. Its first parameter, ``context``, has the options that were given in ``obj``, by
            name; the others are as typer reads them.
    """
    # Without completion: its options write into the home directory of whoever runs a service.
    app = typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=_SETTINGS
    )

    def print_version(wanted: bool) -> None:  # noqa: FBT001  # as typer calls it
        if wanted:
            sys.stdout.write(f"{program.name} {program.version}\n")
            raise typer.Exit

    version = typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=print_version)

    def service(context: typer.Context, *, version: Annotated[bool, version] = False) -> None:
        del version
        if context.invoked_subcommand is None:
            # The daemon says what is wrong with the settings: a pipe that is given as a file can be read only once.
            program.become_daemon(context.obj)

    service.__doc__ = description
    app.callback(invoke_without_command=True)(_with_options(service, program.options))
    app.command("check")(_with_options(check, program.options))
    return app


def checked(
    load: Callable[[Mapping[str, str], Mapping[str, str]], S], examine: Callable[[S], T], context: typer.Context
) -> T:
    """What ``check`` prints: the settings are loaded, and the host is looked at.

    Ends the process with status 2 where the settings are wrong, and with status 1 where the host cannot be read.
    """
    unblock_signals()
    # What the service would log is in the answer.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        return examine(load(context.obj, os.environ))
    except SettingsError as error:
        sys.stderr.write(printable_lines(str(error)) + "\n")
        raise typer.Exit(WRONG_SETTINGS) from error
    except HostError as error:
        sys.stderr.write(printable(f"cannot read the host: {error}") + "\n")
        raise typer.Exit(1) from error


def _with_options(function: Callable[..., None], rows: tuple[Option, ...]) -> Callable[..., None]:
    """The function, for typer: every option is a parameter, and what was given is in the context's ``obj``, by name.

    typer reads a command from the signature of a function, and a signature can be made of a table.
    """
    own = inspect.signature(function, eval_str=True).parameters
    added = [row for row in rows if row.field not in own]

    def command(context: typer.Context, **values: Any) -> None:  # noqa: ANN401  # texts, lists and flags
        given = context.ensure_object(dict)
        for row in added:
            if (value := values.pop(row.field)) or value == "":
                given[row.name] = "true" if value is True else ",".join(value) if row.is_repeatable else value
        function(context, **values)

    parameters = [*own.values(), *map(_parameter, added)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = function.__doc__
    return command


def _parameter(row: Option) -> Parameter:
    # The environment is read by options.py, which knows a flag from a variable; here it is only told of.
    text = typer.Option(
        f"--{row.name}",
        metavar=row.metavar or None,
        help=row.description,
        show_default=False,
    )
    kind = bool if row.is_flag else list[str] | None if row.is_repeatable else str | None
    default = False if row.is_flag else None
    return Parameter(row.field, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, text])
