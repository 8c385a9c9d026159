"""The settings, one value at a time: what each may be, and what to say if it is not.

Every parser takes a :class:`~npu_core.service.settings.Given` and raises FormatError for one problem, or SettingsError
for several. A list is written with commas on a command line, and either way in the file.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isinf
from operator import itemgetter
from typing import TypeVar

from npu_core.errors import FormatError, Problem, SettingsError
from npu_core.limits import LIMITS, Measure, Span
from npu_core.service.settings import Address, Given, Kind, address, one_of, text_of
from npu_metrics_exporter.metrics.families import LABELS
from npu_metrics_exporter.metrics.pattern import compiled
from npu_metrics_exporter.metrics.policy import IDENTITY_LABELS, OWN_LABELS

T = TypeVar("T")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_SPAN = re.compile(r"(-?{0})?\.\.(-?{0})?".format(r"[0-9]+(?:\.[0-9]+)?(?:e[0-9]{1,3})?"), re.ASCII)
_RENAMED = "exported_"
_USES_OF_PROMETHEUS = {
    **dict.fromkeys(("instance", "job"), "sets on every target"),
    **dict.fromkeys(("alertname", "alertstate"), "sets on every alert"),
    "le": "uses for the bounds of histograms",
    "quantile": "uses for the quantiles of summaries",
}
"""Labels that Prometheus sets or reads itself. With ``honor_labels`` the exporter's labels would replace them."""
_EXPECTED_ADDRESS = "HOST:PORT or :PORT with a port from 1 to 65535"
_EXPECTED_LIMIT = "MEASURE=LEAST..MOST, such as temperature=-40..125; one of the two numbers may be left out"
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


def list_of(parse: Callable[[Given], T]) -> Callable[[Given], tuple[T, ...]]:
    """A parser for several values, each once. Wrong ones are reported one by one."""

    def parse_all(given: Given) -> tuple[T, ...]:
        values: dict[T, None] = {}
        problems: list[Problem] = []
        for item in _items(given):
            try:
                value = parse(item)
            except FormatError as error:
                problems.append(item.problem(error.expected))
                continue
            if value in values:
                problems.append(item.problem("each one once"))
            values[value] = None
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
    """A regular expression in RE2's syntax; it is matched with the whole of a name."""
    text = text_of(given)
    compiled(text)
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
    return _by_name(given, _static_label)


def limits(given: Given) -> tuple[tuple[Measure, Span], ...]:
    """``measure=least..most`` with commas, or in the file a mapping; sorted. A number left out is the default."""
    return _by_name(given, _limit)


Name = TypeVar("Name", bound=str)


def _by_name(given: Given, parse: Callable[[Given], tuple[Name, T]]) -> tuple[tuple[Name, T], ...]:
    items = tuple(_pairs(given))
    pairs = list_of(parse)(replace(given, items=items, kind=Kind.LIST))
    given_before: set[Name] = set()
    twice: list[Given] = []
    for item, (name, _) in zip(items, pairs, strict=True):
        if name in given_before:
            twice.append(item)
        given_before.add(name)
    if twice:
        raise SettingsError(item.problem("each name once") for item in twice)
    return tuple(sorted(pairs, key=itemgetter(0)))


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
    if use := _USES_OF_PROMETHEUS.get(named):
        raise FormatError(named, f"a name other than {named}, which Prometheus {use}")
    if named.startswith(_RENAMED):
        raise FormatError(named, f"a name without {_RENAMED}, which Prometheus puts before labels that it renames")
    if named in LABELS | OWN_LABELS:
        raise FormatError(named, "a name other than those of the exporter's own labels")
    return named, value


def _limit(given: Given) -> tuple[Measure, Span]:
    name, _, text = text_of(given).partition("=")
    match = _SPAN.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise FormatError(given.text, _EXPECTED_LIMIT)
    measure = one_of(Measure)(replace(given, text=name))
    least, most = (float(part) if part else None for part in match.groups())
    default = LIMITS[measure]
    span = Span(default.least if least is None else least, default.most if most is None else most)
    if isinf(span.least) or isinf(span.most):
        raise FormatError(given.text, _EXPECTED_LIMIT)
    if span.least >= span.most:
        raise FormatError(given.text, "a first number below the second one")
    return measure, span
