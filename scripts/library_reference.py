"""Writes docs/library-reference.md from the docstrings of the library's public names; ``--check`` compares instead."""

import ast
import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[1] / "docs/library-reference.md"
PACKAGES = ("npu_core", "npu_core.testing", "npu_core.kubelet")
WIDTH = 120

_TOP = """\
# The library's public names

Made from the docstrings by `make reference`; do not edit. The tour is in [library.md](library.md). What is not here is
not public and may change at any time ([compatibility.md](compatibility.md)).
"""
_ABOUT = {
    "npu_core": "Needs the standard library alone.",
    "npu_core.testing": "Simulated hosts, for everybody's tests. Needs the standard library alone.",
    "npu_core.kubelet": "The kubelet's PodResources API. Needs the extra `npu-core[kubelet]`.",
}
_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
_SECTION = re.compile(r"(Attributes|Args|Returns|Raises|Yields):")
_ITEM = re.compile(r"([*\w., ]+): (.*)")


def _words(text: str) -> str:
    """A docstring's inline markup as this page's."""
    short = _ROLE.sub(lambda match: f"`{match[1].removeprefix('npu_core.')}`", text)
    return short.replace("``", "`")


def _blocks(text: str) -> Iterator[list[str]]:
    """Paragraphs, each with its lines; what is indented below a paragraph belongs to it."""
    block: list[str] = []
    for line in text.splitlines():
        ends_code = line and block and block[0].startswith(" ") and not line.startswith(" ")
        if ends_code:
            yield block
            block = []
        if not line and block and not block[0].startswith(" "):
            yield block
            block = []
        elif line or block:
            block.append(line)
    if block:
        yield block


def _items(lines: list[str]) -> Iterator[str]:
    """``name: words`` and its continuation lines as an entry of a list."""
    entry = ""
    for line in (line[4:] for line in lines):
        match = _ITEM.fullmatch(line)
        if match and not line.startswith(" "):
            yield from [entry] if entry else []
            entry = f"* `{match[1]}`: {match[2]}"
        else:
            entry = f"{entry} {line.strip()}" if entry else f"* {line.strip()}"
    yield entry


def _code(lines: list[str]) -> list[str]:
    text = textwrap.dedent("\n".join(lines)).strip()
    return ["```python", *text.splitlines(), "```"]


def markdown(docstring: str) -> str:
    """A Google-style docstring as Markdown."""
    parts: list[str] = []
    pending_code = False
    for block in _blocks(inspect.cleandoc(docstring)):
        head = _SECTION.fullmatch(block[0])
        if head:
            parts.append(f"{head[1]}:\n\n" + "\n".join(map(_words, _items(block[1:]))))
        elif pending_code and block[0].startswith("    "):
            parts.append("\n".join(_code(block)).rstrip())
        else:
            text = "\n".join(map(_words, block))
            parts.append(text.removesuffix("::") + (":" if text.removesuffix("::") and text.endswith("::") else ""))
        pending_code = block[-1].endswith("::")
    return "\n\n".join(part for part in parts if part.strip())


def _signature(name: str, value: object) -> str:
    try:
        signature = str(inspect.signature(value)) if callable(value) else ""
    except ValueError:
        signature = ""
    signature = re.sub(r"(?<=[(, ])_\w+: [^,)]*(, )?", "", signature)
    signature = signature.replace("(self, ", "(").replace("(self)", "()").replace(" -> None", "")
    return re.sub(r"npu_core\.(?:\w+\.)*", "", f"{name}{signature}").replace("'", "").replace("pathlib.Path", "Path")


def _assigned(tree: ast.Module | ast.ClassDef) -> dict[str, str]:
    """The docstrings below assignments, by the name assigned to."""
    found: dict[str, str] = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if (
            isinstance(target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[target.id] = after.value.value
    return found


def _members(value: type) -> Iterator[str]:
    """What a class of ours shows: its enum members, properties and methods."""
    tree = ast.parse(inspect.getsource(value)).body[0]
    if issubclass(value, enum.Enum) and isinstance(tree, ast.ClassDef):
        about = _assigned(tree)
        for member in value:
            said = " ".join(_words(about.get(member.name, "")).split())
            yield f"* `{member.name}`: `{member.value!r}`" + (f". {said}" if said else "")
        yield ""
        return
    for name, member in vars(value).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"#### `{value.__name__}.{name}`\n\n{markdown(inspect.getdoc(member) or '')}\n"
        elif isinstance(member, (classmethod, staticmethod)) or inspect.isfunction(member):
            shown = _signature(f"{value.__name__}.{name}", getattr(value, name))
            yield f"#### `{shown}`\n\n{markdown(inspect.getdoc(member) or '')}\n"


def _entry(name: str, value: object, about: str) -> Iterator[str]:
    yield f"### {name}\n"
    if inspect.isclass(value):
        plain = issubclass(value, (enum.Enum, BaseException)) or getattr(value, "_is_protocol", False)
        kind = " ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"A kind of `{kind}`.\n" if issubclass(value, BaseException) else ""
        yield "" if plain else f"```\n{_wrapped(_signature(name, value))}\n```\n"
        yield markdown(value.__doc__ or "") + "\n"
        yield from _members(value)
    elif name.isupper():
        yield markdown(about or f"A constant: `{value!r}`.") + "\n"
    elif inspect.isfunction(value) or inspect.iscoroutinefunction(value):
        waits = "await " if inspect.iscoroutinefunction(value) else ""
        yield f"```\n{waits}{_wrapped(_signature(name, value))}\n```\n"
        yield markdown(inspect.getdoc(value) or "") + "\n"
    else:
        yield markdown(about or f"A constant: `{value!r}`.") + "\n"


def _wrapped(signature: str) -> str:
    """A call in the form that can be read: one line, or an argument a line."""
    if len(signature) <= WIDTH:
        return signature
    name, _, rest = signature.partition("(")
    arguments, _, result = rest.rpartition(")")
    one_a_line = re.sub(r", (?=\*|\w+(?::|=))", ",\n    ", arguments)
    return f"{name}(\n    {one_a_line},\n){result}"


def _package(package: ModuleType) -> Iterator[str]:
    yield f"## {package.__name__}\n\n{_ABOUT[package.__name__]}\n"
    for name in sorted((name for name in package.__all__ if name != "__version__"), key=str.lower):
        value = getattr(package, name)
        home = getattr(package, "_HOME", {}).get(name)
        source = import_module(f"{package.__name__}.{home}") if home else package
        yield from _entry(name, value, _about_constant(source, name))


def _about_constant(module: ModuleType, name: str) -> str:
    """What the module, or the one it takes the constant from, says below its assignment."""
    for home in (module, *(item for item in vars(module).values() if inspect.ismodule(item))):
        if (home.__name__ or "").startswith("npu_core"):
            about = _assigned(ast.parse(inspect.getsource(home))).get(name)
            if about:
                return about
    return ""


def page() -> str:
    """The whole page."""
    parts = [_TOP, *(part for name in PACKAGES for part in _package(import_module(name)))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def main() -> int:
    """Write the page, or with ``--check`` say whether it is fresh."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE} is not what the docstrings give: run `make reference`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
