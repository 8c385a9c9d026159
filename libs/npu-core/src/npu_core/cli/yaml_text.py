"""Documents as YAML that all YAML parsers read in the same way."""

import re

import yaml

from npu_core.cli.documents import Json

_DOUBTFUL = re.compile(r"(?:[-+.~=0-9].*|<<|[yYnN])\Z", re.DOTALL)
"""Texts that a parser of YAML 1.1 or 1.2 may read as something other than a text.

Numbers have many forms: ``08912345``, ``12e4567``, ``0o17``, ``1_000``, ``190:20:30``, ``.inf``. Parsers differ in the
forms that they know, so every text that begins like a number matches. The dumper itself knows the words for booleans
and null.
"""
_FIRST = "0123456789+-.~=<yYnN"


class _Dumper(yaml.SafeDumper):
    """Quotes every text that a parser may read as something other than a text."""


# The dumper quotes a text if its own resolvers give the text another tag than that of a text. Any other tag will do.
_Dumper.add_implicit_resolver("!doubtful", _DOUBTFUL, [*_FIRST])


def yaml_text(document: Json, *, marker: bool) -> str:
    """The document; ``marker`` for the line with dashes that begins each of several documents."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, explicit_start=marker)
    return text.rstrip("\n")
