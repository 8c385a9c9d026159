"""The configuration file: YAML to :class:`~npu_core.service.settings.Given`, each with its line."""

import yaml

from npu_core.errors import Problem, SettingsError
from npu_core.service.settings import Given, Kind

# The C parser reads a config in a tenth of the time; a wheel without it still works.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_KINDS = {
    "tag:yaml.org,2002:int": Kind.NUMBER,
    "tag:yaml.org,2002:float": Kind.NUMBER,
    "tag:yaml.org,2002:bool": Kind.BOOLEAN,
    "tag:yaml.org,2002:null": Kind.NOTHING,
}


def read_config(path: str) -> tuple[Given, ...]:
    """The entries of a configuration file, in its order. An empty file has none.

    Raises:
        SettingsError: if it cannot be read, is not YAML, or is not a mapping.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # pathlib is not otherwise loaded in the daemon
            content = file.read()
    except OSError as error:
        problem = Problem("the file", path, f"a readable file ({error.strerror})", "config-file")
        raise SettingsError([problem]) from error
    return parse_config(content, path)


def parse_config(content: bytes, source: str) -> tuple[Given, ...]:
    """The entries of a configuration text; ``source`` names it in messages.

    Raises:
        SettingsError: if it is not YAML, or is not a mapping.
    """
    try:
        root = yaml.compose(content, Loader=_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError([_syntax_problem(error, source)]) from error
    if root is None:
        return ()
    if not isinstance(root, yaml.MappingNode):
        expected = "a mapping of keys to values"
        raise SettingsError([Problem("the file", _text(root), expected, source, _line(root))])
    return tuple(_given(_text(key), value, source) for key, value in root.value)


def _syntax_problem(error: Exception, source: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    detail = str(getattr(error, "problem", None) or error)
    return Problem("the file", detail, "YAML", source, mark.line + 1 if mark else None)


def _given(key: str, node: yaml.Node, source: str) -> Given:
    match node:
        case yaml.ScalarNode():
            kind = _KINDS.get(node.tag, Kind.STRING)
            return Given(key, _text(node), source, _line(node), kind)
        case yaml.SequenceNode():
            items = tuple(_given(f"{key}[{index}]", item, source) for index, item in enumerate(node.value))
            return Given(key, _text(node), source, _line(node), Kind.LIST, items=items)
        case _:
            fields = tuple((_text(name), _given(f"{key}.{_text(name)}", value, source)) for name, value in node.value)
            return Given(key, _text(node), source, _line(node), Kind.MAPPING, fields=fields)


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
