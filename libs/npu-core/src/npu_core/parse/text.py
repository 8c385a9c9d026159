"""What all attributes have in common: they are short texts, most of them one number."""

import re

from npu_core.errors import FormatError, ImpossibleError

_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_LIMIT = 1 << 63
MAX_TEXT = 256
"""Largest number of characters of a text. It becomes a log field, a label of metrics or a line of a table."""
_ALL_BITS = str((1 << 64) - 1)


def parse_text(text: str) -> str:
    """One line of text, without its end and outer blanks; may be empty.

    Raises:
        FormatError: if it holds anything that cannot be printed, as what a broken card says does; or if it is longer
            than :data:`MAX_TEXT`, as no serial number, version or name is.
    """
    trimmed = text.strip()
    if len(trimmed) > MAX_TEXT or not trimmed.isprintable():
        raise FormatError(text, f"one line of printable text of at most {MAX_TEXT} characters")
    return trimmed


def parse_integer(text: str, what: str) -> int:
    """One decimal number of at most 64 bits, with or without a line end.

    Raises:
        FormatError: on anything else; ``what`` says what was expected.
        ImpossibleError: on a number with all 64 bits set, which means "no value".
    """
    trimmed = text.strip()
    if _INTEGER.fullmatch(trimmed) and -_LIMIT <= int(trimmed) < _LIMIT:
        return int(trimmed)
    raise ImpossibleError(text, what) if trimmed == _ALL_BITS else FormatError(text, what)


def parse_number(text: str, what: str) -> float:
    """One decimal number, whole or not, as people and YAML write numbers: ``10``, ``0.5``, ``1e3``.

    Python's own ``float`` also takes the digits of other scripts, underscores, ``nan`` and ``inf``. An operator who
    gives one of those has made a mistake.

    Raises:
        FormatError: on anything else; ``what`` says what was expected.
    """
    trimmed = text.strip()
    if not _NUMBER.fullmatch(trimmed):
        raise FormatError(text, what)
    return float(trimmed)


def parse_count(text: str, what: str) -> int:
    """As :func:`parse_integer`, not negative."""
    value = parse_integer(text, what)
    if value < 0:
        raise FormatError(text, what)
    return value


def parse_flag(text: str) -> bool:
    """``1`` is yes, ``0`` is no.

    Raises:
        FormatError: on anything else.
    """
    match text.strip():
        case "1":
            return True
        case "0":
            return False
        case _:
            raise FormatError(text, "0 or 1")
