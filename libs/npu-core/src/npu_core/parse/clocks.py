"""Clock frequencies: ``ne_clk_freq_info`` of Warboy, ``npu_clocks`` of RNGD."""

import re

from npu_core.counters import Clock
from npu_core.errors import FormatError
from npu_core.parse.text import parse_count

_LINE = re.compile(r"([^():]+)\(([^():]+)\):\s*([0-9]{1,9})", re.ASCII)
_NUMBERED_UNIT = "Hz"


def parse_named_clocks(text: str) -> tuple[Clock, ...]:
    """Lines ``ne tensor (MHz): 2000``.

    Raises:
        FormatError: if a line is anything else.
    """
    return tuple(_named_clock(line) for line in text.splitlines() if line.strip())


def _named_clock(line: str) -> Clock:
    match = _LINE.fullmatch(line.strip())
    if match is None or not match[2].strip():
        raise FormatError(line, "a clock such as 'ne tensor (MHz): 2000'")
    return Clock(match[1].strip(), int(match[3]), match[2].strip())


def parse_numbered_clocks(text: str) -> tuple[Clock, ...]:
    """A frequency per PE, one number a line, in Hz.

    Raises:
        FormatError: if a line is not a number.
    """
    return tuple(
        Clock(f"pe{core}", parse_count(line, "a frequency in Hz"), _NUMBERED_UNIT)
        for core, line in enumerate(text.split())
    )
