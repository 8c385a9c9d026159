"""Settings as they were given, and how all that is wrong with them is found at once.

A service lists its keys; each value, wherever it came from, is a :class:`Given`; a :class:`Reader` turns givens into
values and gathers a :class:`~npu_core.errors.Problem` for each that is wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError, shortened
from npu_core.parse.text import parse_number

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)

_MAX_PORT = 65535
_PORT_DIGITS = 5
_EXPECTED_ADDRESS = f"HOST:PORT, :PORT with a port from 1 to {_MAX_PORT}, or off"
COMMAND_LINE = "command line"
ENVIRONMENT = "environment"


class Kind(StrEnum):
    """What form a value had where it was given."""

    TEXT = "text"
    """From a command line or an environment: the text may stand for anything."""
    STRING = "a string"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    NOTHING = "nothing"
    LIST = "a list"
    MAPPING = "a mapping"


@dataclass(frozen=True, slots=True)
class Given:
    """One value as it was given.

    Attributes:
        key: what the service calls it: ``interval``, ``disabledDevices[0].devName``.
        text: the value as text; for a list or mapping, a short description.
        source: where it stood: :data:`COMMAND_LINE`, :data:`ENVIRONMENT`, or the path of a file.
        line: 1-based line in the file, or None.
        kind: its form.
        items: the elements of a list.
        fields: the entries of a mapping, by key.
        name: what the operator called it, if not by its key: ``--interval``, ``NPU_INTERVAL``.
    """

    key: str
    text: str
    source: str
    line: int | None = None
    kind: Kind = Kind.TEXT
    items: "tuple[Given, ...]" = ()
    fields: "tuple[tuple[str, Given], ...]" = ()
    name: str = ""

    def problem(self, expected: str, code: ProblemCode = ProblemCode.VALUE) -> Problem:
        """This value is wrong. A long key or text is cut, so that a message has a bounded length."""
        key, text = shortened(self.name or self.key), shortened(self.text)
        return Problem(key, text, expected, self.source, self.line, code)


class Reader:
    """Takes values out of what was given and remembers everything that is wrong with them."""

    def __init__(self, given: Iterable[Given]) -> None:
        """A reader of ``given``. A key that comes twice is a problem; the first one counts."""
        self.problems: list[Problem] = []
        self._given: dict[str, Given] = {}
        for item in given:
            if item.key in self._given:
                self.problems.append(item.problem("each key once", ProblemCode.DUPLICATE_KEY))
            self._given.setdefault(item.key, item)
        self._taken: set[str] = set()

    def take(self, key: str, parse: Callable[[Given], T], default: T) -> T:
        """The value of ``key``, or ``default`` if it was not given or is wrong.

        ``parse`` raises :class:`~npu_core.errors.FormatError` for one problem, or
        :class:`~npu_core.errors.SettingsError` for several.
        """
        self._taken.add(key)
        given = self._given.get(key)
        if given is None:
            return default
        try:
            return parse(given)
        except FormatError as error:
            self.problems.append(given.problem(error.expected))
        except SettingsError as error:
            self.problems.extend(error.problems)
        return default

    def given(self, key: str) -> Given | None:
        """What was given for ``key``, for what is wrong between several keys."""
        return self._given.get(key)

    def finish(self) -> tuple[Problem, ...]:
        """Everything that was wrong, in the order of the lines; a key that nobody took is wrong too."""
        known = ", ".join(sorted(self._taken))
        unknown = [
            given.problem(f"one of the keys {known}", ProblemCode.UNKNOWN_KEY)
            for key, given in self._given.items()
            if key not in self._taken
        ]
        return tuple(sorted([*self.problems, *unknown], key=lambda problem: problem.line or 0))


_WRITTEN = frozenset({Kind.TEXT, Kind.STRING, Kind.NUMBER, Kind.BOOLEAN})


def text_of(given: Given) -> str:
    """A value that is text and not blank, as it was written.

    YAML reads some texts as numbers or booleans: ``12345``, ``012``, ``on``. YAML 1.1 reads ``0000:17:00.0`` as a
    number to the base of 60. A user who writes such a text where a text is expected means the text.

    Raises:
        FormatError: on anything else, bytes of a command line or environment that are not UTF-8 included.
    """
    if given.kind not in _WRITTEN:
        raise FormatError(given.text, f"a text, not {given.kind}")
    if not given.text.strip():
        raise FormatError(given.text, "a text that is not empty")
    if any("\ud800" <= character <= "\udfff" for character in given.text):
        raise FormatError(given.text, "UTF-8 text")
    return given.text.strip()


def one_of(choices: type[Choice]) -> Callable[[Given], Choice]:
    """A parser for one of the words of an enumeration, in any case."""

    def parse(given: Given) -> Choice:
        try:
            return choices(text_of(given).lower())
        except ValueError:
            raise FormatError(given.text, f"one of {', '.join(choices)}") from None

    return parse


def seconds(least: float, most: float) -> Callable[[Given], float]:
    """A parser for a span of time in seconds, whole or not."""
    expected = f"a number of seconds from {least:g} to {most:g}"

    def parse(given: Given) -> float:
        if given.kind not in {Kind.TEXT, Kind.NUMBER}:
            raise FormatError(given.text, f"{expected}, not {given.kind}")
        value = parse_number(given.text, expected)
        if not least <= value <= most:
            raise FormatError(given.text, expected)
        return value

    return parse


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen.

    Attributes:
        host: an IP address or name; empty for every address of the machine.
        port: 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(given: Given) -> Address | None:
    """``HOST:PORT``, ``:PORT`` for every address, ``[::1]:PORT``; None for ``off``.

    Raises:
        FormatError: on anything else.
    """
    text = text_of(given)
    if text.lower() == "off":
        return None
    host, separator, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not (
        separator and port.isascii() and port.isdecimal() and len(port) <= _PORT_DIGITS and 0 < int(port) <= _MAX_PORT
    ):
        raise FormatError(text, _EXPECTED_ADDRESS)
    if (":" in bare) != host.startswith("[") or host.startswith("[") != host.endswith("]") or "/" in host:
        raise FormatError(text, _EXPECTED_ADDRESS)
    return Address(bare, int(port))


EVENT_LOOPS = ("asyncio", "uvloop")


def event_loop(given: Given) -> str:
    """``asyncio`` or ``uvloop``, in any case.

    Raises:
        FormatError: on anything else.
    """
    name = text_of(given).lower()
    if name not in EVENT_LOOPS:
        raise FormatError(given.text, "uvloop or asyncio")
    return name


def absolute_path(given: Given) -> str:
    """A path that starts at the root, without a slash at its end.

    Raises:
        FormatError: on anything else.
    """
    path = text_of(given)
    if not path.startswith("/") or "\0" in path:
        raise FormatError(given.text, "an absolute path")
    return path.rstrip("/") or "/"


def environment_name(option: str) -> str:
    """The environment variable of an option: ``listen-address`` -> ``NPU_LISTEN_ADDRESS``."""
    return "NPU_" + option.replace("-", "_").upper()


def gather(names: Iterable[str], options: Mapping[str, str], environment: Mapping[str, str]) -> tuple[Given, ...]:
    """What was given of the options called ``names``; a flag stands before its environment variable.

    Args:
        names: without dashes: ``listen-address``.
        options: the command line's, by name.
        environment: the process's; see :func:`environment_name`.
    """
    given: list[Given] = []
    for name in names:
        variable = environment_name(name)
        if name in options:
            given.append(Given(name, options[name], COMMAND_LINE, name=f"--{name}"))
        elif environment.get(variable):  # an empty one stands for none, as manifests often have it
            given.append(Given(name, environment[variable], ENVIRONMENT, name=variable))
    return tuple(given)
