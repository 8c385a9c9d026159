"""Counters of a card: errors, clocks, and the work its PEs did."""

from dataclasses import dataclass

from npu_core.cores import CoreRange

_WRAP_32 = 1 << 32


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
        unit: ``MHz`` or ``MT/s``.
    """

    domain: str
    frequency: int
    unit: str


@dataclass(frozen=True, slots=True)
class PeCounters:
    """The performance registers of one core range at one moment, as running totals.

    Attributes:
        cores: whose registers these are.
        cycles: clock cycles since the NPU started (64 bits; 32 on drivers that give no high half).
        task_cycles: cycles in which a task ran. 32 bits, wraps.
        tensor_cycles: cycles in which the tensor unit computed. 32 bits, wraps.
    """

    cores: CoreRange
    cycles: int
    task_cycles: int
    tensor_cycles: int


@dataclass(frozen=True, slots=True)
class Utilization:
    """How busy a core range was between two looks.

    Attributes:
        cores: whose work it is.
        busy: share of the time in which a task ran, 0..1.
        computing: share of that task time in which the tensor unit computed, 0..1; the rest went into moving data.
    """

    cores: CoreRange
    busy: float
    computing: float

    @classmethod
    def between(cls, earlier: PeCounters, later: PeCounters) -> "Utilization | None":
        """The work done between two looks at the same cores.

        Returns None where the counters cannot tell: no cycle passed, or the cycle counter went back because the NPU
        was restarted in between. The 32-bit counters may have wrapped once, no more: look at least every two
        seconds (2^32 cycles at 2 GHz).
        """
        cycles = later.cycles - earlier.cycles
        if cycles <= 0:
            return None
        task = (later.task_cycles - earlier.task_cycles) % _WRAP_32
        tensor = (later.tensor_cycles - earlier.tensor_cycles) % _WRAP_32
        computing = min(tensor / task, 1.0) if task else 0.0
        return cls(later.cores, busy=min(task / cycles, 1.0), computing=computing)
