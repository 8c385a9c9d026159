"""The configuration file: YAML to :class:`~npu_core.service.settings.Given`, each with its line."""

import yaml

from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError, shortened
from npu_core.service.given_files import ReadFile, read_once
from npu_core.service.settings import Given, Kind

# The C parser reads a config in a tenth of the time; a wheel without it still works.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MAX_DEPTH = 8
"""Levels of lists and mappings; the keys there are need three."""

_MAX_VALUES = 50_000
"""Keys, values, lists and mappings together. A megabyte of short keys would take 84 MB of memory."""

_KINDS = {
    "tag:yaml.org,2002:int": Kind.NUMBER,
    "tag:yaml.org,2002:float": Kind.NUMBER,
    "tag:yaml.org,2002:bool": Kind.BOOLEAN,
    "tag:yaml.org,2002:null": Kind.NOTHING,
}


def read_config(path: str, option: str = "config-file", read: ReadFile = read_once) -> tuple[Given, ...]:
    """The entries of a configuration file, in its order.

    Args:
        path: the file.
        option: the option that named it.
        read: reads it.

    Raises:
        SettingsError: if it cannot be read, is not YAML, or is not a mapping.
    """
    try:
        content = read(path)
    except FormatError as error:
        raise SettingsError([Problem("the file", path, error.expected, option, code=ProblemCode.UNREADABLE)]) from error
    return parse_config(content, path)


def parse_config(content: bytes, source: str) -> tuple[Given, ...]:
    """The entries of a configuration text; ``source`` names it in messages.

    A text that says nothing is refused: an interrupted write leaves such a file. ``{}`` says that there are no entries.

    Raises:
        SettingsError: if it is not YAML, or is not a mapping.
    """
    try:
        _check_bounds(content, source)
        root = yaml.compose(content, Loader=_LOADER)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The last two: the parser in Python on the number of a character that there cannot be.
        raise SettingsError([_syntax_problem(error, content, source)]) from error
    if root is None or _kind(root) is Kind.NOTHING:
        expected = "a mapping of keys to values, or {} if every setting is to have its default"
        raise SettingsError([Problem("the file", "empty", expected, source, code=ProblemCode.MISSING)])
    if not isinstance(root, yaml.MappingNode):
        expected = "a mapping of keys to values"
        raise SettingsError([Problem("the file", shortened(_text(root)), expected, source, _line(root))])
    return tuple(_given(_key(key), value, source) for key, value in root.value)


def _check_bounds(content: bytes, source: str) -> None:
    """Refuse what a walk over the file would never come back from.

    By an alias a list can hold itself, or a few lines stand for billions; and the parser in C follows brackets down
    until its stack ends, and the process with it.
    """
    depth = values = 0
    for event in yaml.parse(content, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            alias = shortened(f"*{event.anchor}")
            raise SettingsError([Problem("the file", alias, "YAML without aliases", source, line, ProblemCode.SYNTAX)])
        values += isinstance(event, yaml.NodeEvent)
        if values > _MAX_VALUES:
            expected = f"at most {_MAX_VALUES} keys and values"
            raise SettingsError([Problem("the file", "longer", expected, source, line, ProblemCode.TOO_LARGE)])
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            expected = f"at most {_MAX_DEPTH} levels of lists and mappings"
            raise SettingsError([Problem("the file", "nested deeper", expected, source, line, ProblemCode.TOO_LARGE)])


def _syntax_problem(error: Exception, content: bytes, source: str) -> Problem:
    match error:
        case yaml.MarkedYAMLError():
            detail = ", ".join(part for part in (error.context, error.problem) if part)
            line = error.problem_mark.line + 1 if error.problem_mark else None
        case yaml.reader.ReaderError():
            detail = str(error).partition("\n")[0]
            line = content.count(b"\n", 0, error.position) + 1
        case _:
            detail, line = str(error), None
    return Problem("the file", detail, "YAML", source, line, ProblemCode.SYNTAX)


def _given(key: str, node: yaml.Node, source: str) -> Given:
    match node:
        case yaml.ScalarNode():
            return Given(key, _text(node), source, _line(node), _kind(node))
        case yaml.SequenceNode():
            items = tuple(_given(f"{key}[{index}]", item, source) for index, item in enumerate(node.value))
            return Given(key, _text(node), source, _line(node), Kind.LIST, items=items)
        case _:
            fields = tuple((_key(name), _given(f"{key}.{_key(name)}", value, source)) for name, value in node.value)
            return Given(key, _text(node), source, _line(node), Kind.MAPPING, fields=fields)


def _kind(node: yaml.Node) -> Kind:
    return _KINDS.get(node.tag, Kind.STRING)


def _key(node: yaml.Node) -> str:
    # No key there is looks otherwise; in a message, one that does must not make a line of its own, nor be nothing.
    text = _text(node)
    return text if text and text.isprintable() else repr(text)


def _text(node: yaml.Node) -> str:
    match node:
        case yaml.ScalarNode():
            return str(node.value)
        case yaml.SequenceNode():
            return f"a list of {len(node.value)}"
        case _:
            return "a mapping"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
