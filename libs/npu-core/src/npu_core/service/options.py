"""One row per option of a service: what the option is called, what it means, what it may be, and where it may stand.

A service declares its settings as a frozen dataclass whose fields are made by :func:`option`. The command line, the
environment variables, the keys of the configuration file, ``--help``, what a reload applies, and the documents follow
from these rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from npu_core.service.logs import LogFormat, LogLevel
from npu_core.service.settings import Given, Reader, absolute_path, environment_name, gather, one_of

S = TypeVar("S", bound="ServiceSettings")
_ROW = "option"


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        field: of the settings: ``pod_ttl``.
        name: on the command line, without dashes: ``pod-ttl``.
        metavar: what stands for the value in ``--help``; empty for a flag, which has none.
        help: a sentence.
        default: of the field.
        parse: makes the value of what was given; raises FormatError or SettingsError.
        in_file: whether the option may stand in the configuration file.
        live: whether a change of the file is in force without a restart.
        is_repeatable: whether the option may be given several times.
        shown: the default in words; made of ``default`` where empty.
    """

    field: str
    name: str
    metavar: str
    help: str
    default: Any
    parse: Callable[[Given], Any]
    in_file: bool = False
    live: bool = False
    is_repeatable: bool = False
    shown: str = ""

    @property
    def is_flag(self) -> bool:
        """Whether the option has no value."""
        return not self.metavar

    @property
    def variable(self) -> str:
        """The environment variable: ``NPU_POD_TTL``."""
        return environment_name(self.name)

    @property
    def file_key(self) -> str:
        """The key in the configuration file: ``podTtl``."""
        first, *others = self.name.split("-")
        return first + "".join(word.capitalize() for word in others)

    @property
    def description(self) -> str:
        """The line of ``--help``: the sentence, the default, and where else the option may stand."""
        notes = [] if self.is_flag else [f"default: {self.shown or shown(self.default)}"]
        notes.append(f"env: {self.variable}")
        if self.in_file:
            notes.append(f"file: {self.file_key}" + (", live" if self.live else ""))
        return f"{self.help} [{'; '.join(notes)}]"


def option(  # noqa: PLR0913  # the row of a table
    default: Any,  # noqa: ANN401  # the field has the type of its annotation
    parse: Callable[[Given], Any],
    metavar: str,
    help: str,  # noqa: A002  # as in argparse, click and typer
    *,
    in_file: bool = False,
    live: bool = False,
    is_repeatable: bool = False,
    shown: str = "",
    name: str = "",
) -> Any:  # noqa: ANN401  # as said
    """A field of settings that is an option; see :class:`Option`. ``live`` says that it may stand in the file too."""
    row = Option("", name, metavar, help, default, parse, in_file or live, live, is_repeatable, shown)
    return field(default=default, metadata={_ROW: row})


def options_of(settings: type[Any]) -> tuple[Option, ...]:
    """The rows of a dataclass of settings, in its order; those of :class:`ServiceSettings` come last."""
    rows = [
        replace(row, field=item.name, name=row.name or item.name.replace("_", "-"))
        for item in fields(settings)
        if (row := item.metadata.get(_ROW))
    ]
    shared = {item.name for item in fields(ServiceSettings)}
    return tuple(sorted(rows, key=lambda row: row.field in shared))


def names_of(rows: tuple[Option, ...]) -> tuple[str, ...]:
    """The names on the command line, without dashes."""
    return tuple(row.name for row in rows)


def flags_of(rows: tuple[Option, ...]) -> tuple[str, ...]:
    """The names of the options without a value."""
    return tuple(row.name for row in rows if row.is_flag)


def live_fields(rows: tuple[Option, ...]) -> frozenset[str]:
    """The fields of settings that a change of the configuration file changes without a restart."""
    return frozenset(row.field for row in rows if row.live)


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What can be set in every service."""

    sysfs: str = option("/sys", absolute_path, "DIR", "The directory where the host's /sys is.")
    devfs: str = option("/dev", absolute_path, "DIR", "The directory where the host's /dev is.")
    log_level: LogLevel = option(
        LogLevel.INFO, one_of(LogLevel), "LEVEL", "The least important lines to write: debug, info, warning or error."
    )
    log_format: LogFormat = option(LogFormat.TEXT, one_of(LogFormat), "FORMAT", "text for people, json for collectors.")
    node_name: str | None = None
    """``NODE_NAME``: the node this runs on."""


NODE_NAME = "NODE_NAME"
"""The environment variable with the name of the node."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where values are taken from.

    Attributes:
        reader: has what was given there.
        key: what an option is called there; None where the option may not stand there.
    """

    reader: Reader
    key: Callable[[Option], str | None]


def in_file(row: Option) -> str | None:
    """The key of an option in the configuration file, for :class:`Source`."""
    return row.file_key if row.in_file else None


def by_name(row: Option) -> str:
    """The name of an option on the command line and in the environment, for :class:`Source`."""
    return row.name


def given_of(rows: tuple[Option, ...], options: Mapping[str, str], environment: Mapping[str, str]) -> tuple[Given, ...]:
    """What the command line (``options``, by name) and the environment give; the command line goes first."""
    return gather(names_of(rows), options, environment)


def take(settings: type[S], environment: Mapping[str, str], *sources: Source) -> S:
    """The settings of what was given. What is wrong stays with the readers of the sources.

    Args:
        settings: the dataclass.
        environment: has the name of the node.
        sources: from the weakest to the strongest. All are looked at, so that a wrong value that is overruled is told.
    """
    values: dict[str, object] = {"node_name": environment.get(NODE_NAME) or None}
    for row in options_of(settings):
        value = row.default
        for source in sources:
            if (key := source.key(row)) is not None:
                value = source.reader.take(key, row.parse, value)
        values[row.field] = value
    return settings(**values)  # type: ignore[arg-type]  # each parser gives what its field holds


def shown(value: object) -> str:
    """A default in words: ``none`` for what is empty."""
    if value is None or value in {"", ()} or value == frozenset():
        return "none"
    if isinstance(value, tuple | frozenset):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
