"""What the demo says: in colour on a terminal, plain in a pipe."""

import os
from collections.abc import Iterable
from typing import TextIO

_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Screen:
    """Numbered headings, facts below them, and blocks of somebody else's output."""

    def __init__(self, stream: TextIO) -> None:
        """A screen that writes to ``stream``."""
        self._stream = stream
        self._coloured = stream.isatty() and "NO_COLOR" not in os.environ
        self._step = 0

    def paint(self, text: str, *colours: str) -> str:
        """The text in colour, where colours are shown."""
        if not self._coloured:
            return text
        return f"\x1b[{';'.join(_COLOURS[colour] for colour in colours)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """One line as it is."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def step(self, title: str) -> None:
        """A numbered heading."""
        self._step += 1
        self.line()
        self.line(self.paint(f"{self._step}. {title}", "bold", "cyan"))

    def fact(self, name: str, value: str, *colours: str) -> None:
        """A name and its value, aligned with the other facts."""
        self.line(f"   {self.paint(f'{name:<16}', 'dim')} {self.paint(value, *colours) if colours else value}")

    def facts(self, name: str, values: Iterable[str], per_line: int = 4) -> None:
        """Many values under one name, in columns."""
        items = list(values)
        for first in range(0, len(items), per_line):
            row = "".join(f"{item:<16}" for item in items[first : first + per_line]).rstrip()
            self.fact(name if first == 0 else "", row)

    def block(self, text: str) -> None:
        """Somebody else's output, indented."""
        for line in text.splitlines():
            self.line(f"   {line}")
