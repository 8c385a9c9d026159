"""Documents as YAML that every reader understands alike."""

import re

import yaml

from npu_core.cli.documents import Json

_DOUBTFUL = re.compile(r"(?:[-+.~=0-9].*|<<|[yYnN])\Z", re.DOTALL)
"""Texts that some reader of YAML 1.1 or 1.2 takes, or may take, for something else than a text.

Numbers have many forms: ``08912345``, ``12e4567``, ``0o17``, ``1_000``, ``190:20:30``, ``.inf``. No list of them
holds for all readers, so every text that begins like a number is among them. The dumper knows booleans and null in
words.
"""
_FIRST = "0123456789+-.~=<yYnN"


class _Dumper(yaml.SafeDumper):
    """Quotes every text that could be taken for something else."""


# The dumper writes a text without quotes only if it would itself read it as a text. The tag only has to be another one.
_Dumper.add_implicit_resolver("!doubtful", _DOUBTFUL, [*_FIRST])


def yaml_text(document: Json, *, marker: bool) -> str:
    """The document; ``marker`` for the line with dashes that begins each of several documents."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, explicit_start=marker)
    return text.rstrip("\n")
