"""Counters of a card: errors, clocks, and the work its PEs did."""

from dataclasses import dataclass

from npu_core.cores import CoreRange


@dataclass(frozen=True, slots=True)
class ErrorCounter:
    """One line of the ``atr_error`` attribute.

    Attributes:
        kind: lower case with underscores: ``axi_post_error``. The two ``*_doorbell_done`` kinds count, by their
            name, completed doorbells rather than errors: do not add them up with the rest.
        count: since the driver was loaded.
    """

    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The frequency of one clock domain.

    Attributes:
        domain: ``ne tensor`` or, where the driver numbers them, ``pe0``.
        frequency: in :attr:`unit`.
        unit: ``MHz``, ``MT/s`` or ``Hz``, as the driver gives it.
    """

    domain: str
    frequency: int
    unit: str


@dataclass(frozen=True, slots=True)
class PeCounters:
    """The performance counters of one core range at one moment, as running totals.

    Attributes:
        cores: whose registers these are.
        cycles: clock cycles since the NPU started (64 bits; 32 on drivers that give no high half).
        task_cycles: cycles in which a task ran.
        tensor_cycles: cycles in which the tensor unit computed; None for a driver that does not say.
        bits: width of the last two, which start again from 0 when they are full.
    """

    cores: CoreRange
    cycles: int
    task_cycles: int
    tensor_cycles: int | None
    bits: int = 32


@dataclass(frozen=True, slots=True)
class Utilization:
    """How busy a core range was between two looks.

    Attributes:
        cores: whose work it is.
        busy: share of the time in which a task ran, 0..1.
        computing: share of that task time in which the tensor unit computed, 0..1; the rest went into moving data.
            None for a driver that does not say.
    """

    cores: CoreRange
    busy: float
    computing: float | None

    @classmethod
    def between(cls, earlier: PeCounters, later: PeCounters) -> "Utilization | None":
        """The work done between two looks at the same cores.

        Returns None where the counters cannot tell: no cycle passed, the cycle counter went back because the NPU was
        restarted in between, or so many cycles passed that the other counters may have wrapped more than once: with
        counters of 32 bits, look at least every two seconds (2^32 cycles at 2 GHz).
        """
        cycles = later.cycles - earlier.cycles
        if not 0 < cycles < 1 << later.bits:
            return None
        task = _passed(earlier.task_cycles, later.task_cycles, later.bits)
        return cls(later.cores, min(task / cycles, 1.0), _share_computing(earlier, later, task))


def _share_computing(earlier: PeCounters, later: PeCounters, task: int) -> float | None:
    if earlier.tensor_cycles is None or later.tensor_cycles is None:
        return None
    tensor = _passed(earlier.tensor_cycles, later.tensor_cycles, later.bits)
    return min(tensor / task, 1.0) if task else 0.0


def _passed(earlier: int, later: int, bits: int) -> int:
    """What a counter that wraps has counted."""
    return (later - earlier) % (1 << bits)
