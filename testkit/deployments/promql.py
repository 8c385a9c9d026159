"""What an expression names: enough of PromQL's grammar to tell metrics, matchers and groupings apart.

Whether an expression parses at all is Prometheus' own to say: see tests/prometheus.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>\d+(?:\.\d+)?(?:ms|[smhdwy])?)
      | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
      | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/=<>(){}\[\],])
    )\s*""",
    re.VERBOSE,
)
_GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset"}
_AGGREGATIONS = {"sum", "max", "min", "avg", "count"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a selector: ``state="present"``."""

    label: str
    sign: str
    text: str

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels fulfils it; a label that is not there is empty."""
        found = labels.get(self.label, "")
        same = found == self.text if "~" not in self.sign else re.fullmatch(self.text, found) is not None
        return same is not self.sign.startswith("!")


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric, and what its series are matched by."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    @property
    def labels(self) -> frozenset[str]:
        """The labels that are matched."""
        return frozenset(matcher.label for matcher in self.matchers)


@dataclass(frozen=True, slots=True)
class Grouping:
    """``by``, ``on`` and so on, with its labels."""

    word: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """What an expression names.

    Attributes:
        selectors: each metric, with what it is matched by.
        groupings: every ``by``, ``on`` and so on, in the order they are written in.
        bare: aggregations over everything, without ``by`` or ``without``.
    """

    selectors: tuple[Selector, ...]
    groupings: tuple[Grouping, ...]
    bare: int = 0

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics alone."""
        return frozenset(selector.metric for selector in self.selectors)


def names(expression: str) -> Names:
    """Read an expression.

    Raises:
        ValueError: if it has something that this does not know.
    """
    tokens = _tokens(expression.strip())
    selectors: list[Selector] = []
    groupings: list[Grouping] = []
    at = bare = 0
    while at < len(tokens):
        word, after = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        at += 1
        if word == "{":
            raise ValueError(f"{expression}: a selector without a metric")
        bare += word in _AGGREGATIONS and after not in {"by", "without"}
        if not re.match(r"[A-Za-z_:]", word) or word in _WORDS or word in _AGGREGATIONS:
            continue
        if word in _GROUPINGS and after == "(":
            end = tokens.index(")", at)
            groupings.append(Grouping(word, tuple(each for each in tokens[at + 1 : end] if each != ",")))
            at = end + 1
        elif after == "{":
            end = tokens.index("}", at)
            selectors.append(Selector(word, tuple(_matchers(tokens[at + 1 : end]))))
            at = end + 1
        elif after != "(":
            selectors.append(Selector(word))
    return Names(tuple(selectors), tuple(groupings), bare)


def _matchers(tokens: list[str]) -> Iterator[Matcher]:
    for label, sign, text in zip(tokens[::4], tokens[1::4], tokens[2::4], strict=True):
        yield Matcher(label, sign, text[1:-1].replace('\\"', '"').replace("\\\\", "\\"))


def _tokens(expression: str) -> list[str]:
    found, at = [], 0
    while at < len(expression):
        token = _TOKEN.match(expression, at)
        if token is None:
            raise ValueError(f"{expression}: what is {expression[at : at + 20]!r}?")
        found.append(token[0].strip())
        at = token.end()
    return found
