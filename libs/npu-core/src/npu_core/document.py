"""Values as plain data, for JSON, YAML and other programs. Pure."""

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum


class Value:
    """A frozen dataclass of the library."""

    __slots__ = ()

    def to_dict(self) -> dict[str, object]:
        """The fields by name, as text, numbers, booleans, None, lists and dictionaries: ``json.dumps`` takes them.

        A value that has a text of its own, such as a PCI address or a range of cores, is that text. An error is its
        message. Sets are sorted lists.
        """
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}  # type: ignore[arg-type]  # as said


def plain(value: object) -> object:  # noqa: PLR0911  # one line for each kind
    """One value as :meth:`Value.to_dict` has it."""
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | float() | str():
            return value
        case BaseException():
            return str(value)
        case Mapping():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted((plain(item) for item in value), key=str)
        case Value() if type(value).__str__ is object.__str__:
            return value.to_dict()
        case _:
            return str(value)
