"""Regular expressions from the settings, matched in a time that grows with the length of the text alone."""

from typing import TYPE_CHECKING, Protocol, cast

from npu_core.errors import FormatError

if TYPE_CHECKING:
    import re2

MAX_LENGTH = 1000
"""Characters of an expression."""
_MAX_BYTES = 1 << 18
"""Memory for a compiled expression. Bounds the work for each character of a text, too."""
_EXPECTED = "a regular expression in RE2's syntax"


class Pattern(Protocol):
    """A compiled expression."""

    def fullmatch(self, text: str, /) -> object:
        """None unless the expression matches the whole text."""
        ...


def compiled(text: str) -> Pattern:
    """The compiled expression, in RE2's syntax, which Prometheus has too.

    RE2 has neither backreferences nor lookarounds, and therefore needs no backtracking: the time of a match grows at
    most as the product of the two lengths. Python's own ``re`` takes exponentially longer for some expressions.

    Raises:
        FormatError: if the text is none, is too long, or needs too much memory.
    """
    # Loaded with the first expression: its library takes 3 MB, and most exporters have no expression.
    import re2  # noqa: PLC0415

    if len(text) > MAX_LENGTH:
        raise FormatError(text, f"{_EXPECTED} with at most {MAX_LENGTH} characters, not {len(text)}")
    try:
        return cast("Pattern", re2.compile(text, _options(re2.Options())))
    except re2.error as error:
        (reason,) = error.args
        raise FormatError(text, f"{_EXPECTED} ({_text(reason)})") from None
    except UnicodeEncodeError:
        raise FormatError(text, f"{_EXPECTED}, of UTF-8 text") from None


def _options(options: "re2.Options") -> "re2.Options":
    options.max_mem = _MAX_BYTES
    # Else RE2 writes each refused expression to standard error itself.
    options.log_errors = False
    return options


def _text(reason: bytes | str) -> str:
    return reason if isinstance(reason, str) else reason.decode("utf-8", "replace")
