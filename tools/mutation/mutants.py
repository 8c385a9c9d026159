"""Mutants: copies of a module with one thing in them wrong."""

import ast
import copy
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tools.mutation.operators import ways
from tools.mutation.places import Place, places
from tools.mutation.source import Source

_LOOSE = (ast.BoolOp, ast.Compare, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.NamedExpr, ast.Lambda)
"""Expressions that have to stand in parentheses inside others."""


@dataclass(frozen=True)
class Mutant:
    """A module and one change of its text.

    Attributes:
        source: the module.
        span: where the text that is changed begins and ends, in bytes.
        text: what stands there instead.
        kind: what kind of mistake it is.
        line: where it is.
        function: first line of the function it is in; None for what is run when the module is loaded.
    """

    source: Source
    span: tuple[int, int]
    text: str
    kind: str
    line: int
    function: int | None

    @cached_property
    def mutated(self) -> str:
        """The whole text of the mutated module."""
        start, end = self.span
        return (self.source.encoded[:start] + self.text.encode() + self.source.encoded[end:]).decode()

    @cached_property
    def diff(self) -> tuple[str, ...]:
        """The lines that are taken away, with ``-``, and those that come, with ``+``."""
        lines = difflib.unified_diff(self.source.text.splitlines(), self.mutated.splitlines(), lineterm="", n=0)
        return tuple(line for line in list(lines)[2:] if not line.startswith("@@"))

    @property
    def before(self) -> str:
        """What is taken away, on one line."""
        return _joined(self.diff, "-")

    @property
    def after(self) -> str:
        """What comes instead, on one line."""
        return _joined(self.diff, "+")

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line} {self.kind}: {self.before} => {self.after}"


def _joined(lines: tuple[str, ...], sign: str) -> str:
    return " ".join(line[1:].strip() for line in lines if line.startswith(sign))


def mutants_of(source: Source) -> tuple[Mutant, ...]:
    """Every mutant of a module, each change of it once, in the order of its text."""
    found: dict[str, Mutant] = {}
    for place in places(source.tree):
        for mutant in _mutants_at(source, place):
            if _is_a_program(mutant.mutated):
                found.setdefault(mutant.mutated, mutant)
    return tuple(mutant for text, mutant in found.items() if text != source.text)


def _mutants_at(source: Source, place: Place) -> Iterator[Mutant]:
    root = place.root
    if isinstance(place.node, ast.match_case):
        pattern = place.node.pattern
        if place.node.guard is None:
            yield _mutant(source, pattern, f"{source.of(pattern)} if False", "branch")
    elif isinstance(place.node, ast.ExceptHandler):
        if place.node.type is not None:
            yield _mutant(source, place.node.type, "()", "branch")
    elif isinstance(root, ast.expr | ast.stmt):
        for kind, mutated in ways(place):
            yield _mutant(source, root, _text(place, mutated), kind)


def _mutant(source: Source, root: ast.expr | ast.stmt | ast.pattern, text: str, kind: str) -> Mutant:
    return Mutant(source, source.span(root), text, kind, root.lineno, source.function_at(root.lineno))


def _text(place: Place, mutated: ast.AST) -> str:
    whole = copy.deepcopy(place.root, {id(place.node): mutated})
    text = ast.unparse(ast.fix_missing_locations(whole))
    return f"({text})" if isinstance(whole, _LOOSE) and not isinstance(place.parent, ast.stmt) else text


def _is_a_program(text: str) -> bool:
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
