"""The arithmetic of processing elements: an inclusive range of cores of one card."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from npu_core.document import Value
from npu_core.errors import FormatError, UsageError

_TEXT = re.compile(r"(0|[1-9][0-9]{0,2})(?:-(0|[1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class CoreRange(Value):
    """Cores ``first`` to ``last`` of a card, both included: ``pe0-1`` is ``CoreRange(0, 1)``.

    Ordered by first core, then by last. A whole card is ``CoreRange(0, pe_count - 1)``; there is no special value
    for "all".

    Raises:
        UsageError: unless ``0 <= first <= last <= MAX_CORE``.
    """

    MAX_CORE: ClassVar[int] = 255
    """Largest core number: the vendor's libraries keep it in one byte."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last <= self.MAX_CORE:
            raise UsageError(
                f"cores {self.first}-{self.last}: expected 0 <= first <= last <= {self.MAX_CORE}",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"0"`` or ``"0-1"``, the form of device-file names.

        Raises:
            FormatError: on anything else, a descending range and leading zeros included.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise FormatError(text, "a core range such as 0 or 0-1")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= cls.MAX_CORE or match[1] == match[2]:
            raise FormatError(text, f"an ascending core range within 0-{cls.MAX_CORE}")
        return cls(first, last)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __contains__(self, core: object) -> bool:
        return isinstance(core, int) and self.first <= core <= self.last

    def overlaps(self, other: "CoreRange") -> bool:
        """Whether the two share a core."""
        return self.first <= other.last and other.first <= self.last

    def encloses(self, other: "CoreRange") -> bool:
        """Whether every core of ``other`` is one of these."""
        return self.first <= other.first and other.last <= self.last

    def split(self, size: int) -> "tuple[CoreRange, ...]":
        """Consecutive ranges of ``size`` cores that together are exactly this one.

        Raises:
            UsageError: if ``size`` does not divide the number of cores.
        """
        if size < 1 or len(self) % size:
            raise UsageError(f"cannot split cores {self} into ranges of {size}")
        return tuple(CoreRange(first, first + size - 1) for first in range(self.first, self.last + 1, size))
