"""Regular expressions with one thing in them wrong."""

import ast
import re
from collections.abc import Iterator

_COUNT = re.compile(r"\{(\d+),(\d+)\}")
_REPEAT = re.compile(r"(?<=[\])a-z])(?:[?*+])(?!\?)")
_OTHER = {"?": "", "*": "+", "+": "*"}


def mutated_patterns(node: ast.AST) -> Iterator[ast.AST]:
    """``re.compile`` of the pattern with another count or repetition, or without one of its flags."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr="compile"), args=[pattern, *flags]):
            if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str):
                for text in _variants(pattern.value):
                    yield ast.Call(node.func, [ast.Constant(text), *flags], node.keywords)
            if flags and _has_effect(flags, pattern):
                yield ast.Call(node.func, [pattern], node.keywords)


def _has_effect(flags: list[ast.expr], pattern: ast.expr) -> bool:
    """Whether the pattern means something else without its flags: ASCII does nothing to what names no class."""
    names_a_class = isinstance(pattern, ast.Constant) and re.search(r"\\[dDwWsSbB]", str(pattern.value))
    return bool(names_a_class) or [ast.unparse(flag) for flag in flags] != ["re.ASCII"]


def _variants(pattern: str) -> Iterator[str]:
    for match in _COUNT.finditer(pattern):
        least, most = int(match[1]), int(match[2])
        for counts in ((least, most - 1), (least, most + 1), (max(least - 1, 0), most), (least + 1, most)):
            if counts != (least, most) and counts[0] <= counts[1]:
                yield f"{pattern[: match.start()]}{{{counts[0]},{counts[1]}}}{pattern[match.end() :]}"
    for match in _REPEAT.finditer(pattern):
        yield pattern[: match.start()] + _OTHER[match[0]] + pattern[match.end() :]
