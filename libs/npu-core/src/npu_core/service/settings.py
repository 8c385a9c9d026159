"""Settings as they were given, and how all that is wrong with them is found at once.

A service lists its keys; each value, wherever it came from, is a :class:`Given`; a :class:`Reader` turns givens into
values and gathers a :class:`~npu_core.errors.Problem` for each that is wrong.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from npu_core.errors import FormatError, Problem, SettingsError

T = TypeVar("T")


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
        key: the option or key, as the operator wrote it.
        text: the value as text; for a list or mapping, a short description.
        source: ``--interval``, ``NPU_INTERVAL``, or the path of a file.
        line: 1-based line in the file, or None.
        kind: its form.
        items: the elements of a list.
        fields: the entries of a mapping, by key.
    """

    key: str
    text: str
    source: str
    line: int | None = None
    kind: Kind = Kind.TEXT
    items: "tuple[Given, ...]" = ()
    fields: "tuple[tuple[str, Given], ...]" = ()

    def problem(self, expected: str) -> Problem:
        """This value is wrong."""
        return Problem(self.key, self.text, expected, self.source, self.line)


class Reader:
    """Takes values out of what was given and remembers everything that is wrong with them."""

    def __init__(self, given: Iterable[Given]) -> None:
        """A reader of ``given``. A key that comes twice is a problem; the first one counts."""
        self.problems: list[Problem] = []
        self._given: dict[str, Given] = {}
        for item in given:
            if item.key in self._given:
                self.problems.append(item.problem("each key once"))
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

    def finish(self) -> None:
        """Every key has been taken.

        Raises:
            SettingsError: if anything was wrong, keys that nobody took included.
        """
        known = ", ".join(sorted(self._taken))
        unknown = [
            given.problem(f"one of the keys {known}") for key, given in self._given.items() if key not in self._taken
        ]
        problems = [*self.problems, *(Problem(p.key, p.value, p.expected, p.source, p.line) for p in unknown)]
        if problems:
            raise SettingsError(sorted(problems, key=lambda problem: (problem.source, problem.line or 0)))


def text_of(given: Given) -> str:
    """A value that is text and not blank.

    Raises:
        FormatError: on anything else.
    """
    if given.kind not in {Kind.TEXT, Kind.STRING} or not given.text.strip():
        raise FormatError(given.text, "a text that is not empty")
    return given.text.strip()


def one_of(choices: type[StrEnum]) -> Callable[[Given], StrEnum]:
    """A parser for one of the words of an enumeration, in any case."""

    def parse(given: Given) -> StrEnum:
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
            raise FormatError(given.text, expected)
        try:
            value = float(given.text)
        except ValueError:
            raise FormatError(given.text, expected) from None
        if not least <= value <= most:
            raise FormatError(given.text, expected)
        return value

    return parse


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
    """The environment variable of an option: ``--listen-address`` -> ``NPU_LISTEN_ADDRESS``."""
    return "NPU_" + option.removeprefix("--").replace("-", "_").upper()
