"""Text of the host, of other programs or of the operator, in a form that a terminal or a log can show.

Such text may hold characters that steer a terminal (escape sequences), that change the order of the text around them
(bidirectional marks), or that nobody sees (zero-width characters).
"""


def printable(text: str) -> str:
    r"""The text on one line, with each character that has no visible form escaped: ``\n``, ``\x1b``, ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_lines(text: str) -> str:
    """As :func:`printable`, and the line ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def shortened(text: str, limit: int) -> str:
    """The text; if it has more than ``limit`` characters, its beginning with their number."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def shortened_inside(text: str, limit: int) -> str:
    """The text; if it has more than ``limit`` characters, its beginning and its end with their number in between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}... ({len(text)} characters) ...{text[-half:]}"
