"""Which mutants a module has: the mistakes that are made, and what is left alone."""

from pathlib import Path

import pytest

from tools.mutation.mutants import Mutant, mutants_of
from tools.mutation.source import Source


def _mutants(text: str) -> tuple[Mutant, ...]:
    return mutants_of(Source("module", Path("module.py"), text))


def _lines(text: str) -> list[str]:
    return [mutant.after for mutant in _mutants(text)]


@pytest.mark.parametrize(
    ("text", "mutated"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a <= b < c", ["a < b < c", "a > b < c", "a <= b <= c", "a <= b >= c"]),
        ("a == b", ["a != b"]),
        ("a is b", ["a is not b"]),
        ("a not in b", ["a in b"]),
        ("a and b", ["a or b", "b", "a"]),
        ("a or b or c", ["a and b and c", "b or c", "a or c", "a or b"]),
        ("f(not a)", ["f(a)"]),
        ("f(-a)", ["f(a)"]),
        ("a + b", ["a - b"]),
        ("a << b", ["a >> b"]),
        ("a % b", ["a * b"]),
        ("f(7)", ["f(8)", "f(6)"]),
        ("f(0.5)", ["f(1.5)"]),
        ("f(True)", ["f(False)"]),
        ("f('npu')", ["f('XXnpuXX')"]),
        ("f('')", ["f('XX')"]),
        ("f(b'npu')", ["f(b'XXnpu')"]),
        ("f(None)", []),
        ("sorted(a, key=f)", ["list(a)", "sorted(a)"]),
        ("min(a, b)", ["max(a, b)"]),
        ("any(a)", ["all(a)"]),
        ("a.strip()", ["a"]),
        ("a.startswith(b)", ["a.endswith(b)"]),
        ("f(a, key=b)", ["f(a)"]),
        ("f((a, b))", ["f((b,))", "f((a,))"]),
        ("f([a])", ["f([])"]),
        ("f({a, b})", ["f({b})", "f({a})"]),
        ("f({a: b})", ["f({})"]),
        ("a[b:c]", ["a[:c]", "a[b:]"]),
        ("[a for a in b if a]", ["[a for a in b if True]", "[a for a in b if False]"]),
        ("a if b else c", ["a if True else c", "a if False else c"]),
        ("f'{a}: {b + c}'", ["f'{a}XX: XX{b + c}'", "f'{a}: {b - c}'"]),
        ("re.compile('[ab]*')", ["re.compile('[ab]+')", "re.compile('XX[ab]*XX')"]),
        ("re.compile('a', re.ASCII)", ["re.compile('XXaXX', re.ASCII)"]),
        (r"re.compile('\\w', re.ASCII)", [r"re.compile('XX\\wXX', re.ASCII)", r"re.compile('\\w')"]),
    ],
)
def test_each_mistake_is_made_once(text: str, mutated: list[str]) -> None:
    assert sorted(_lines(f"x = {text}\n")) == sorted(f"x = {each}" for each in mutated)


@pytest.mark.parametrize(
    ("statement", "mutated"),
    [
        ("f()", ["pass"]),
        ("yield a", ["pass"]),
        ("a += b", ["a -= b", "pass"]),
        ("raise ValueError('not a number')", ["pass"]),
        ("return a", ["return None"]),
        ("return None", []),
        ("return", []),
    ],
)
def test_a_statement_is_left_out(statement: str, mutated: list[str]) -> None:
    assert sorted(_lines(f"def g():\n    {statement}\n")) == sorted(mutated)


def test_a_function_that_says_yes_or_no_is_not_made_to_say_nothing() -> None:
    assert _lines("def f(a) -> bool:\n    return g(a)\n") == []
    assert _lines("def f(a):\n    return any(a)\n") == ["return all(a)"]


@pytest.mark.parametrize(
    "text",
    [
        '"""A module."""\n',
        'class C:\n    """A class."""\n\n    a: int\n    """An attribute."""\n',
        'def f(a: "int | str" = None) -> "tuple[int, str]":\n    """A function."""\n',
        "__all__ = ['a', 'b']\n",
        "Key = dict[str, 'tuple[int, str]']\n",
        "import a.b\nfrom a import b\n",
        "def f():\n    log.warning('no %s', name.strip())\n".replace("log.warning", "x = log.warning"),
        "if TYPE_CHECKING:\n    x = 1\n",
        "x = StuckError(f'no answer within {seconds} s')\n",
        "T = TypeVar('T', bound=int)\n",
        "x = cast('int', a)\n",
        "x = zip(a, b, strict=True)\n",
        "x = asyncio.create_task(a, name='work')\n",
        "@dataclass(frozen=True, slots=True)\nclass C:\n    a: int\n",
        "@property\ndef f(self):\n    return None\n",
    ],
)
def test_what_no_test_is_to_notice_is_left_alone(text: str) -> None:
    assert _lines(text) == []


def test_properties_defaults_and_tables_are_not() -> None:
    text = "T = {'a': b}\n\nclass C:\n    n: int = 1\n\n    @property\n    def f(self):\n        return self.n\n"
    assert _lines(text) == ["T = {}", "T = {'XXaXX': b}", "n: int = 2", "n: int = 0", "return None"]


def test_the_text_around_a_mutation_stays_as_it_is() -> None:
    text = "x = 'm°C'  # µ\ny = (\n    a  # why\n    < b\n)\n"
    mutant = next(each for each in _mutants(text) if each.kind == "comparison")
    assert mutant.mutated == "x = 'm°C'  # µ\ny = (\n    (a <= b)\n)\n".replace("(a <= b)", "a <= b")
    assert mutant.line == 3


def test_a_mutant_knows_its_function_by_the_first_line_of_its_decorators() -> None:
    text = "x = 1\n\nclass C:\n    @property\n    def f(self):\n        return [a for a in self if a > 2]\n"
    assert {mutant.function for mutant in _mutants(text)} == {None, 4}
    assert {mutant.function for mutant in _mutants(text) if mutant.kind == "comparison"} == {4}
