"""What can be wrong with a node: every way of mutating it, as the node to stand in its place."""

import ast
from collections.abc import Callable, Iterator

from tools.mutation.patterns import mutated_patterns
from tools.mutation.places import Place, is_unseen

_TRUE, _FALSE, _NONE, _PASS = ast.Constant(True), ast.Constant(False), ast.Constant(None), ast.Pass()

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitOr,
}
_FUNCTIONS = {"sorted": "list", "reversed": "list", "min": "max", "max": "min", "any": "all", "all": "any"}
_METHODS = {"startswith": "endswith", "endswith": "startswith", "partition": "rpartition", "rpartition": "partition"}
_TRIMMINGS = frozenset({"strip", "lstrip", "rstrip", "lower", "upper", "casefold"})
_JUDGEMENTS = frozenset({"any", "all", "bool", "isinstance"})

Way = tuple[str, ast.AST]
"""What kind of mistake it is, and the node with it."""


def ways(place: Place) -> Iterator[Way]:
    """Every way in which the node at a place could be wrong."""
    node = place.node
    for kind, operator in _OPERATORS:
        for mutated in operator(node):
            yield kind, mutated
    if isinstance(node, ast.expr) and _is_condition(place):
        yield from (("condition", constant) for constant in (_TRUE, _FALSE))
    if isinstance(node, ast.Return) and not place.tells and node.value and not _is_judgement(node.value):
        yield "return value", ast.Return(_NONE)


def _is_condition(place: Place) -> bool:
    if isinstance(place.node, ast.Constant):
        return False
    match place.parent:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            return test is place.node
        case ast.comprehension(ifs=ifs):
            return any(each is place.node for each in ifs)
        case ast.match_case(guard=guard):
            return guard is place.node
        case _:
            return False


def _is_judgement(value: ast.expr) -> bool:
    """Whether it is None, or true or false: one who asks ``if not x`` cannot tell false from None, and need not."""
    match value:
        case ast.Constant(value=None | True | False) | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _JUDGEMENTS
        case _:
            return False


def _comparison(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                yield ast.Compare(node.left, [*node.ops[:place], other(), *node.ops[place + 1 :]], node.comparators)


def _connective(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for place in range(len(node.values)):
            rest = [*node.values[:place], *node.values[place + 1 :]]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _sign(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield node.operand


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp | ast.AugAssign) and (other := _ARITHMETIC.get(type(node.op))):
        if isinstance(node, ast.BinOp):
            yield ast.BinOp(node.left, other(), node.right)
        else:
            yield ast.AugAssign(node.target, other(), node.value)


def _constant(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as number):
            yield from (ast.Constant(number + 1), ast.Constant(number - 1))
        case ast.Constant(value=float() as quantity):
            yield ast.Constant(quantity + 1)
        case ast.Constant(value=str() as text):
            yield ast.Constant(f"XX{text}XX" if text else "XX")
        case ast.Constant(value=bytes() as data):
            yield ast.Constant(b"XX" + data)


def _call(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            keywords = [] if _FUNCTIONS[name] == "list" else node.keywords
            yield ast.Call(ast.Name(_FUNCTIONS[name], ast.Load()), node.args, keywords)
        case ast.Call(func=ast.Attribute(value=receiver, attr=name)) if name in _METHODS:
            yield ast.Call(ast.Attribute(receiver, _METHODS[name], ast.Load()), node.args, node.keywords)
        case ast.Call(func=ast.Attribute(value=receiver, attr=name)) if name in _TRIMMINGS:
            yield receiver


def _argument(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call):
        for place, keyword in enumerate(node.keywords):
            if keyword.arg and not is_unseen(node, keyword):
                yield ast.Call(node.func, node.args, [*node.keywords[:place], *node.keywords[place + 1 :]])


def _element(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Tuple(elts=elements, ctx=ast.Load()) | ast.List(elts=elements, ctx=ast.Load()):
            for place in range(len(elements)):
                yield type(node)([*elements[:place], *elements[place + 1 :]], ast.Load())
        case ast.Set(elts=[_, _, *_] as elements):
            for place in range(len(elements)):
                yield ast.Set([*elements[:place], *elements[place + 1 :]])
        case ast.Dict(keys=keys, values=values):
            for place in range(len(keys)):
                yield ast.Dict([*keys[:place], *keys[place + 1 :]], [*values[:place], *values[place + 1 :]])


def _slice(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Slice):
        if node.lower:
            yield ast.Slice(None, node.upper, node.step)
        if node.upper:
            yield ast.Slice(node.lower, None, node.step)


def _statement(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Break() | ast.Continue():
            yield _PASS


_OPERATORS: tuple[tuple[str, Callable[[ast.AST], Iterator[ast.AST]]], ...] = (
    ("comparison", _comparison),
    ("connective", _connective),
    ("sign", _sign),
    ("arithmetic", _arithmetic),
    ("constant", _constant),
    ("call", _call),
    ("argument", _argument),
    ("element", _element),
    ("slice", _slice),
    ("statement", _statement),
    ("pattern", mutated_patterns),
)
