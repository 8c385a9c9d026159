"""How a command answers: tables or documents on standard output, what went wrong on standard error."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from npu_core.cli.documents import Json
from npu_core.cli.options import Output
from npu_core.cli.table import Table, render
from npu_core.printable import printable, printable_lines


def answer(output: Output, document: Json, *blocks: Table | str, stream: bool = False) -> None:
    """Print the ``document``, or for people the ``blocks``.

    ``stream`` is for documents that follow each other: JSON is then one line, and YAML begins with its marker.
    """
    # Flushed, so that what goes to standard error stands after it.
    print(_text(output, document, blocks, stream=stream), flush=True)


def _text(output: Output, document: Json, blocks: Iterable[Table | str], *, stream: bool) -> str:
    match output:
        case Output.JSON:
            return json.dumps(document) if stream else json.dumps(document, indent=2)
        case Output.YAML:
            from npu_core.cli.yaml_text import yaml_text  # noqa: PLC0415  # slow to load, and seldom asked for

            return yaml_text(document, marker=stream)
        case Output.TABLE:
            colour = wants_colour(sys.stdout, os.environ)
            return "\n".join(
                _plain(block) if isinstance(block, str) else render(block, colour=colour) for block in blocks
            )


def complain(lines: Iterable[str]) -> None:
    """Tell the operator what was not as it should be."""
    for line in lines:
        print(f"npuctl: {printable(line)}", file=sys.stderr)


def takes_control_sequences(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the stream is a terminal that interprets control sequences instead of printing them."""
    return stream.isatty() and environ.get("TERM", "dumb") not in {"", "dumb"}


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the stream is a terminal whose user has not asked for plain text (no-color.org)."""
    return takes_control_sequences(stream, environ) and not environ.get("NO_COLOR")


def _plain(text: str) -> str:
    return printable_lines(text)
