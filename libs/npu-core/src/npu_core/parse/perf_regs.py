"""Performance counters of a core range: lines ``CycleCount: 0x6f22d16d``."""

import re

from npu_core.cores import CoreRange
from npu_core.counters import PeCounters
from npu_core.errors import FormatError

_LINE = re.compile(r"\s*(\w+)\s*:\s*0x([0-9a-f]{1,16})\s*", re.ASCII | re.IGNORECASE)


def parse_perf_regs(text: str, cores: CoreRange) -> PeCounters:
    """The running totals among the ``perf_regs``; the other registers are checked for form and left alone.

    Some drivers give no ``CycleCountHigh``: it counts as 0.

    Raises:
        FormatError: if a line is not a register, or one of the other three is missing.
    """
    registers = _registers(text, "CycleCount", "TaskExecutionTime", "TensorExecutionTime")
    return PeCounters(
        cores,
        cycles=registers.get("CycleCountHigh", 0) << 32 | registers["CycleCount"],
        task_cycles=registers["TaskExecutionTime"],
        tensor_cycles=registers["TensorExecutionTime"],
    )


def parse_pe_metrics(text: str, cores: CoreRange) -> PeCounters:
    """The running totals of the ``metrics`` attribute of RNGD drivers, 64 bits each.

    Raises:
        FormatError: if a line is not a counter, or one of the two is missing.
    """
    registers = _registers(text, "CycleCount", "TaskCycleCount")
    return PeCounters(cores, registers["CycleCount"], registers["TaskCycleCount"], tensor_cycles=None, bits=64)


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
