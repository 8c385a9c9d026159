"""Performance counters of a core range: lines ``CycleCount: 0x6f22d16d``."""

import re

from npu_core.cores import CoreRange
from npu_core.counters import PeCounters
from npu_core.errors import FormatError, ImpossibleError

_LINE = re.compile(r"\s*(\w+)\s*:\s*0x([0-9a-f]{1,16})\s*", re.ASCII | re.IGNORECASE)
_FULL = (1 << 32) - 1
_WIDE_FULL = (1 << 64) - 1
"""Registers with all bits set."""


def parse_perf_regs(text: str, cores: CoreRange) -> PeCounters:
    """The running totals among the ``perf_regs``; the other registers are checked for form and left alone.

    Some drivers give no ``CycleCountHigh``: it counts as 0.

    Raises:
        FormatError: if a line is not a register, or one of the other three is missing.
        ImpossibleError: if a register has more than 32 bits, or if all registers have all bits set: the card did not
            answer.
    """
    names = "CycleCount", "TaskExecutionTime", "TensorExecutionTime"
    registers = _registers(text, *names)
    low, high = [registers[name] for name in names], registers.get("CycleCountHigh", 0)
    if max(*low, high) > _FULL or min(low) == _FULL:
        raise ImpossibleError(text, f"registers of 32 bits in {', '.join(names)}, not all of them full")
    return PeCounters(
        cores,
        cycles=high << 32 | registers["CycleCount"],
        task_cycles=registers["TaskExecutionTime"],
        tensor_cycles=registers["TensorExecutionTime"],
    )


def parse_pe_metrics(text: str, cores: CoreRange) -> PeCounters:
    """The running totals of the ``metrics`` attribute of RNGD drivers, 64 bits each.

    Raises:
        FormatError: if a line is not a counter, or one of the two is missing.
        ImpossibleError: if one of the two has all bits set.
    """
    names = "CycleCount", "TaskCycleCount"
    registers = _registers(text, *names)
    cycles, task = (registers[name] for name in names)
    if max(cycles, task) == _WIDE_FULL:
        raise ImpossibleError(text, f"counters in {' and '.join(names)} of which none is full")
    return PeCounters(cores, cycles, task, tensor_cycles=None, bits=64)


def _registers(text: str, *needed: str) -> dict[str, int]:
    registers = dict(_register(line) for line in text.splitlines() if line.strip())
    missing = [name for name in needed if name not in registers]
    if missing:
        raise FormatError(text, f"performance counters with {', '.join(missing)}")
    return registers


def _register(line: str) -> tuple[str, int]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise FormatError(line, "a register such as 'CycleCount: 0x6f22d16d'")
    return match[1], int(match[2], 16)
