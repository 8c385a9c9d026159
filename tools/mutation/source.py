"""The text of a module, and where in it things are."""

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A module that is to be mutated.

    Attributes:
        name: as it is imported.
        path: its file.
        text: what stands in it.
    """

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The text, parsed."""
        return ast.parse(self.text)

    @cached_property
    def encoded(self) -> bytes:
        """The text as the parser counts its columns."""
        return self.text.encode()

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        for line in self.encoded.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts

    def span(self, node: ast.expr | ast.stmt | ast.pattern) -> tuple[int, int]:
        """Where a node begins and ends, in bytes."""
        last, column = node.end_lineno, node.end_col_offset
        assert last is not None
        assert column is not None
        return self._line_starts[node.lineno - 1] + node.col_offset, self._line_starts[last - 1] + column

    def of(self, node: ast.expr | ast.stmt | ast.pattern) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.encoded[start:end].decode()

    @cached_property
    def functions(self) -> tuple[range, ...]:
        """The lines of each function and method, decorators included; those inside one are part of it."""
        return tuple(_functions(self.tree.body))

    def function_at(self, line: int) -> int | None:
        """The first line of the function that a line belongs to; None for what is run when the module is loaded."""
        return next((lines.start for lines in self.functions if line in lines), None)


def _functions(body: list[ast.stmt]) -> list[range]:
    found: list[range] = []
    for node in body:
        if isinstance(node, ast.ClassDef):
            found += _functions(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.append(range(first, (node.end_lineno or node.lineno) + 1))
    return found
