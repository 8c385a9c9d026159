"""Which parts of a module may be mutated. Left alone is what no test is to notice.

That is: docstrings, annotations, aliases and variables of types, ``__all__``, imports, log texts, the texts of errors,
the names of tasks and threads, and the options that say whether values can be changed and what slots they have: mypy
and the rules of the repository look after these.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
UNSEEN_OPTIONS = frozenset({"frozen", "slots", "strict"})
"""Of dataclasses, and of ``zip``, where it states what is so."""
_NAMED = frozenset({"create_task", "Thread"})
"""What takes a name that only people read."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node that may be mutated.

    Attributes:
        node: that.
        parent: what it is directly part of.
        root: the smallest whole around it whose position the parser tells: a text with values in it, else the node.
        deferred: whether it is in a function, and so not run when the module is loaded.
        tells: whether the function around it says yes or no.
    """

    node: ast.AST
    parent: ast.AST
    root: ast.AST
    deferred: bool = False
    tells: bool = False


def places(tree: ast.Module) -> Iterator[Place]:
    """Every place of a module, in the order of its text."""
    yield from _inside(Place(tree, tree, tree))


def _inside(place: Place) -> Iterator[Place]:
    for child in _open_children(place):
        in_text = isinstance(place.root, ast.JoinedStr)
        inner = replace(place, node=child, parent=place.node, root=place.root if in_text else child)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _inside_function(inner, child)
            continue
        yield inner
        yield from _inside(inner)


def _inside_function(place: Place, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Place]:
    for default in (*function.args.defaults, *(each for each in function.args.kw_defaults if each)):
        yield (inner := replace(place, node=default, parent=function.args, root=default))
        yield from _inside(inner)
    tells = isinstance(function.returns, ast.Name) and function.returns.id == "bool"
    body = ast.Module(body=function.body, type_ignores=[])
    yield from _inside(Place(body, function, body, deferred=True, tells=tells))


def _open_children(place: Place) -> Iterator[ast.AST]:
    node = place.node
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.AnnAssign():
            yield from [node.value] if node.value else []
        case ast.Assign() if _is_for_readers(node, place):
            return
        case ast.ClassDef():
            yield from (option for each in node.decorator_list for option in _options(each))
            yield from filter(_is_no_docstring, node.body)
        case ast.Lambda():
            yield node.body
        case ast.Call(func=ast.Attribute(attr=name)) if name in LOG_METHODS:
            return
        case ast.Call(func=ast.Name(id="cast"), args=[_, *rest]):
            yield from rest
        case ast.Call(func=ast.Name(id=name)) if name.endswith("Error"):
            yield from (each for each in (*node.args, *node.keywords) if not _is_text(each))
        case ast.Call():
            yield from (node.func, *node.args, *(each for each in node.keywords if not is_unseen(node, each)))
        case _:
            yield from filter(_is_no_docstring, ast.iter_child_nodes(node))


def _is_text(argument: ast.AST) -> bool:
    return isinstance(argument, ast.JoinedStr) or (
        isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def is_unseen(call: ast.Call, option: ast.keyword) -> bool:
    """Whether an option of a call says nothing that a test is to notice."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else None
    return option.arg in UNSEEN_OPTIONS or (option.arg == "name" and called in _NAMED)


def _is_no_docstring(node: ast.AST) -> bool:
    return not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _is_for_readers(node: ast.Assign, place: Place) -> bool:
    names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    match node.value:
        case ast.Subscript(slice=index):
            is_type = not isinstance(index, ast.Slice)
        case ast.Call(func=ast.Name(id="TypeVar")):
            is_type = True
        case _:
            is_type = False
    return (is_type and not place.deferred) or "__all__" in names


def _options(decorator: ast.expr) -> list[ast.expr]:
    if not isinstance(decorator, ast.Call):
        return []
    return [option.value for option in decorator.keywords if option.arg not in UNSEEN_OPTIONS]
