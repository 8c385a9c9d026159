"""The settings, one value at a time: what each may be, and what to say if it is not.

Every parser takes a :class:`~npu_core.service.settings.Given` and raises FormatError for one problem, or SettingsError
for several. A list is written with commas on a command line, and either way in the file.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from npu_core.errors import FormatError, Problem, SettingsError
from npu_core.service.settings import Address, Given, Kind, address, text_of
from npu_metrics_exporter.families import LABELS
from npu_metrics_exporter.policy import IDENTITY_LABELS

T = TypeVar("T")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_EXPECTED_ADDRESS = "HOST:PORT or :PORT with a port from 1 to 65535"
_EXPECTED_NAME = "a label's name: letters, digits and underscores, not a digit first, nor two underscores"


def whole_number(least: int, most: int) -> Callable[[Given], int]:
    """A parser for a number without a fraction."""
    expected = f"a whole number from {least} to {most}"

    def parse(given: Given) -> int:
        if given.kind not in {Kind.TEXT, Kind.NUMBER} or not re.fullmatch(r"[0-9]{1,9}", given.text, re.ASCII):
            raise FormatError(given.text, expected)
        number = int(given.text)
        if not least <= number <= most:
            raise FormatError(given.text, expected)
        return number

    return parse


def event_loop(given: Given) -> str:
    """``uvloop`` or ``asyncio``."""
    name = text_of(given).lower()
    if name not in {"uvloop", "asyncio"}:
        raise FormatError(given.text, "uvloop or asyncio")
    return name


def list_of(parse: Callable[[Given], T]) -> Callable[[Given], tuple[T, ...]]:
    """A parser for several values, each once. Wrong ones are reported one by one."""

    def parse_all(given: Given) -> tuple[T, ...]:
        values: list[T] = []
        problems: list[Problem] = []
        for item in _items(given):
            try:
                value = parse(item)
            except FormatError as error:
                problems.append(item.problem(error.expected))
                continue
            if value in values:
                problems.append(item.problem("each one once"))
            values.append(value)
        if problems:
            raise SettingsError(problems)
        return tuple(values)

    return parse_all


def _items(given: Given) -> Iterator[Given]:
    match given.kind:
        case Kind.LIST:
            yield from given.items
        case Kind.NOTHING:
            return
        case Kind.MAPPING:
            raise FormatError(given.text, "a list")
        case _:
            yield from (replace(given, text=text.strip()) for text in given.text.split(",") if text.strip())


def listen_address(given: Given) -> Address:
    """``HOST:PORT``, or ``:PORT`` for every address of the machine."""
    try:
        found = address(given)
    except FormatError as error:
        raise FormatError(error.text, _EXPECTED_ADDRESS) from None
    if found is None:
        raise FormatError(given.text, _EXPECTED_ADDRESS)
    return found


def listen_addresses(given: Given) -> tuple[Address, ...]:
    """One address or several, but not none."""
    addresses = list_of(listen_address)(given)
    if not addresses:
        raise FormatError(given.text, _EXPECTED_ADDRESS)
    return addresses


def expression(given: Given) -> str:
    """A regular expression, in Python's words; it is matched with the whole of a name."""
    text = text_of(given)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise FormatError(text, f"a regular expression ({error})") from None
    return text


def label_name(given: Given) -> str:
    """The name of a label."""
    name = text_of(given)
    if not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
        raise FormatError(name, _EXPECTED_NAME)
    return name


def droppable_label(given: Given) -> str:
    """The name of a label that series can be without."""
    name = label_name(given)
    if name in IDENTITY_LABELS:
        raise FormatError(name, f"a label other than {' and '.join(IDENTITY_LABELS)}, which tell series apart")
    return name


def static_labels(given: Given) -> tuple[tuple[str, str], ...]:
    """``name=value`` with commas, or in the file a mapping; sorted by name."""
    items = tuple(_pairs(given))
    pairs = list_of(_static_label)(replace(given, items=items, kind=Kind.LIST))
    names = [name for name, _ in pairs]
    twice = [item for item, name in zip(items, names, strict=True) if names.count(name) > 1]
    if twice:
        raise SettingsError(item.problem("each name once") for item in twice[1:])
    return tuple(sorted(pairs))


def _pairs(given: Given) -> Iterator[Given]:
    if given.kind is not Kind.MAPPING:
        yield from _items(given)
        return
    for name, value in given.fields:
        yield replace(value, kind=Kind.STRING, text=f"{name}={_static_value(value)}")


def _static_value(given: Given) -> str:
    if given.kind in {Kind.LIST, Kind.MAPPING, Kind.NOTHING}:
        raise SettingsError([given.problem(f"a text, not {given.kind}")])
    return given.text


def _static_label(given: Given) -> tuple[str, str]:
    name, separator, value = text_of(given).partition("=")
    if not separator or not value:
        raise FormatError(given.text, "name=value")
    named = label_name(replace(given, text=name))
    if named in LABELS:
        raise FormatError(named, "a name that is none of our own labels")
    return named, value
