"""The options that every command has, before or after its name, and the session they open."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from npu_core.errors import HostError
from npu_core.host import Host


class Output(StrEnum):
    """In which form a command answers."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output | None, typer.Option("--output", "-o", help="Form of the answer [default: table].")]
SysfsOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where the host's /sys is [env: NPU_SYSFS; default: /sys].")
]
DevfsOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where the host's /dev is [env: NPU_DEVFS; default: /dev].")
]
ProcfsOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where the host's /proc is [env: NPU_PROCFS; default: /proc].")
]
AllOption = Annotated[bool, typer.Option("--all", help="Also cards that have no device files here.")]

_SHARED = {"output": OutputOption, "sysfs": SysfsOption, "devfs": DevfsOption, "procfs": ProcfsOption}


@dataclass(frozen=True, slots=True)
class Given:
    """What stood on the command line in one place; None where nothing did."""

    output: Output | None = None
    sysfs: str | None = None
    devfs: str | None = None
    procfs: str | None = None

    def over(self, outer: "Given") -> "Given":
        """These options, and those of ``outer`` where there are none here."""
        return Given(
            self.output or outer.output,
            sysfs=self.sysfs or outer.sysfs,
            devfs=self.devfs or outer.devfs,
            procfs=self.procfs or outer.procfs,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """Settled options: where the host is, and how to answer."""

    output: Output
    sysfs: str
    devfs: str
    procfs: str

    @classmethod
    def of(cls, given: Given, environ: Mapping[str, str]) -> "Session":
        """What was given; else what the environment says, where that is not empty; else the machine itself."""
        return cls(
            given.output or Output.TABLE,
            sysfs=given.sysfs or environ.get("NPU_SYSFS") or "/sys",
            devfs=given.devfs or environ.get("NPU_DEVFS") or "/dev",
            procfs=given.procfs or environ.get("NPU_PROCFS") or "/proc",
        )

    @property
    def is_for_people(self) -> bool:
        """Whether the answer is a table."""
        return self.output is Output.TABLE

    @property
    def nothing_found(self) -> str:
        """What to say of a host without cards."""
        return f"No FuriosaAI NPUs found in {self.sysfs} and {self.devfs}."

    def host(self) -> Host:
        """The host at the given directories."""
        return Host(self.sysfs, self.devfs)

    def option_of(self, path: str) -> str | None:
        """The option under whose directory ``path`` is."""
        roots = {"sysfs": self.sysfs, "devfs": self.devfs, "procfs": self.procfs}
        below = [name for name, root in roots.items() if f"{path}/".startswith(f"{root.rstrip('/')}/")]
        return max(below, key=lambda name: len(roots[name]), default=None)


def with_session(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a :class:`Session`, as a function that typer reads the shared options from.

    Such a command fails with one line and status 1 if the host cannot be read.
    """

    @functools.wraps(command)
    def run(context: typer.Context, **options: Any) -> None:  # noqa: ANN401  # each command has its own
        given = Given(**{name: options.pop(name) for name in _SHARED})
        session = Session.of(given.over(context.obj or Given()), os.environ)
        try:
            command(session, **options)
        except HostError as error:
            print(f"npuctl: {_complaint(session, error)}", file=sys.stderr)
            raise typer.Exit(1) from error

    parameters = _parameters(command)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it with inspect
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameters(command: Callable[..., None]) -> list[inspect.Parameter]:
    """The context, the command's own options, the shared ones."""
    _, *own = inspect.signature(command).parameters.values()
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(parameter.replace(kind=kind) for parameter in own),
        *(inspect.Parameter(name, kind, default=None, annotation=option) for name, option in _SHARED.items()),
    ]


def _complaint(session: Session, error: HostError) -> str:
    option = session.option_of(error.path or "")
    if option is None:
        return str(error)
    return f"cannot read {error.path} (--{option}, NPU_{option.upper()}): {error.detail}"
