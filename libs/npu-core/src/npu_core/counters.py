"""Counters of a card: errors, clocks, and the work its PEs did."""

from dataclasses import dataclass

from npu_core.cores import CoreRange
from npu_core.document import Value

NARROW_BITS = 32
"""Width of a counter that overflows after two seconds at full clock, so that two reads have to be close together."""

_SKEW = 1.05
"""Largest ratio of a part to its whole: above 1, because the driver does not read all registers at the same moment."""


@dataclass(frozen=True, slots=True)
class ErrorCounter(Value):
    """One line of the ``atr_error`` attribute.

    Attributes:
        kind: lower case with underscores: ``axi_post_error``. The two ``*_doorbell_done`` kinds count, by their
            name, completed doorbells rather than errors: do not add them up with the rest.
        count: since the driver was loaded.
    """

    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Clock(Value):
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
class PeCounters(Value):
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

    def contradicts(self, earlier: "PeCounters") -> bool:
        """Whether tasks ran for longer than time passed since ``earlier``, and no reset explains it.

        Always False for counters of 32 bits, because a reset looks like an overflow.
        """
        cycles, task = self.cycles - earlier.cycles, self.task_cycles - earlier.task_cycles
        return self.bits > NARROW_BITS and cycles > 0 and task > cycles * _SKEW


@dataclass(frozen=True, slots=True)
class Utilization(Value):
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

        If a counter of 32 bits went back, it has overflowed once. A counter of 64 bits does not overflow (at 2 GHz that
        takes 292 years). If such a counter went back, it was reset, and its value says nothing about the whole span.

        Returns None where the counters do not show the utilization:

        * no cycle passed;
        * the cycle counter went back, because the NPU was restarted between the two looks;
        * the task counter was reset;
        * the counters say that tasks ran for longer than the span, as after a reset of a counter of 32 bits;
        * so many cycles passed that the other counters may have overflowed more than once. With counters of 32 bits,
          look at least every two seconds (2^32 cycles at 2 GHz).
        """
        cycles = later.cycles - earlier.cycles
        if not 0 < cycles < 1 << later.bits:
            return None
        task = _passed(earlier.task_cycles, later.task_cycles, later.bits)
        busy = None if task is None else _share(task, cycles)
        if task is None or busy is None:
            return None
        return cls(later.cores, busy, _share_computing(earlier, later, task))


def _share_computing(earlier: PeCounters, later: PeCounters, task: int) -> float | None:
    if earlier.tensor_cycles is None or later.tensor_cycles is None:
        return None
    tensor = _passed(earlier.tensor_cycles, later.tensor_cycles, later.bits)
    if tensor is None:
        return None
    return _share(tensor, task) if task else 0.0


def _passed(earlier: int, later: int, bits: int) -> int | None:
    """How far a counter went between two looks; None if the counter was reset."""
    if later >= earlier:
        return later - earlier
    return None if bits > NARROW_BITS else later - earlier + (1 << bits)


def _share(part: int, whole: int) -> float | None:
    """``part`` of ``whole`` as 0..1; None if ``part`` exceeds ``whole`` by more than :data:`_SKEW` allows."""
    return min(part / whole, 1.0) if part <= whole * _SKEW else None
