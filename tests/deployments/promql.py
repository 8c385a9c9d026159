"""What an expression names: enough of PromQL's grammar to tell metrics, matchers and groupings apart.

Whether an expression parses at all is Prometheus' own to say: see tests/prometheus.
"""

import re
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
class Names:
    """What an expression names.

    Attributes:
        selectors: each metric, with the labels that it is matched by.
        groupings: the labels of every ``by``, ``on`` and so on, in the order they are written in.
    """

    selectors: tuple[tuple[str, frozenset[str]], ...]
    groupings: tuple[tuple[str, ...], ...]

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics alone."""
        return frozenset(name for name, _ in self.selectors)


def names(expression: str) -> Names:
    """Read an expression.

    Raises:
        ValueError: if it has something that this does not know.
    """
    tokens = _tokens(expression.strip())
    selectors: list[tuple[str, frozenset[str]]] = []
    groupings: list[tuple[str, ...]] = []
    at = 0
    while at < len(tokens):
        word, after = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        at += 1
        if word == "{":
            raise ValueError(f"{expression}: a selector without a metric")
        if not re.match(r"[A-Za-z_:]", word) or word in _WORDS or word in _AGGREGATIONS:
            continue
        if word in _GROUPINGS and after == "(":
            end = tokens.index(")", at)
            groupings.append(tuple(each for each in tokens[at + 1 : end] if each != ","))
            at = end + 1
        elif after == "{":
            end = tokens.index("}", at)
            selectors.append((word, frozenset(tokens[at + 1 : end : 4])))
            at = end + 1
        elif after != "(":
            selectors.append((word, frozenset()))
    return Names(tuple(selectors), tuple(groupings))


def _tokens(expression: str) -> list[str]:
    found, at = [], 0
    while at < len(expression):
        token = _TOKEN.match(expression, at)
        if token is None:
            raise ValueError(f"{expression}: what is {expression[at : at + 20]!r}?")
        found.append(token[0].strip())
        at = token.end()
    return found
