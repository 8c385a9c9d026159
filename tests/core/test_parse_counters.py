"""Performance counters and clocks: texts of the vendor's samples."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from npu_core.cores import CoreRange
from npu_core.counters import Clock, PeCounters
from npu_core.errors import FormatError
from npu_core.parse.clocks import parse_named_clocks, parse_numbered_clocks
from npu_core.parse.perf_regs import parse_pe_metrics, parse_perf_regs
from npu_core.testing.layout import metrics_text, perf_regs_text
from testkit.strategies import core_ranges

FUSED = CoreRange(0, 1)
PERF_REGS = """\
ProgramCounter: 0x10b74
InstructionCount: 0x29b33c
LastBranchTaken: 0x0
TaskExecutionTime: 0x26272443
TensorExecutionTime: 0x256254d7
LastTensorExecutionTime: 0xa7
CycleCount: 0x6f22d16d
CycleCountHigh: 0x0
"""
COUNTERS = PeCounters(FUSED, 0x6F22D16D, 0x26272443, 0x256254D7, bits=32)
CLOCKS = "ne tensor (MHz): 2000\nne memory (MHz): 1000\nne operation (MHz): 1000\ndram (MT/s): 4266\n"
WARBOY_CLOCKS = (
    Clock("ne tensor", 2000, "MHz"),
    Clock("ne memory", 1000, "MHz"),
    Clock("ne operation", 1000, "MHz"),
    Clock("dram", 4266, "MT/s"),
)


@pytest.mark.parametrize(
    ("text", "counters"),
    [
        (PERF_REGS, COUNTERS),
        (PERF_REGS.rstrip("\n"), COUNTERS),
        (PERF_REGS.replace("\n", "\r\n"), COUNTERS),
        (PERF_REGS.replace("CycleCountHigh: 0x0\n", ""), COUNTERS),
        (
            PERF_REGS.replace("CycleCountHigh: 0x0", "CycleCountHigh: 0x2"),
            PeCounters(FUSED, (2 << 32) + 0x6F22D16D, 0x26272443, 0x256254D7),
        ),
        (
            "CycleCount:0x1\nTaskExecutionTime:0x0000000000000002\nTensorExecutionTime:0xf",
            PeCounters(FUSED, 1, 2, 15),
        ),
        (
            " CycleCount : 0x1 \n\n \n\tTaskExecutionTime\t:\t0x2\nTensorExecutionTime: 0XF\n",
            PeCounters(FUSED, 1, 2, 15),
        ),
    ],
)
def test_the_registers_of_a_core_range_are_its_running_totals(text: str, counters: PeCounters) -> None:
    assert parse_perf_regs(text, FUSED) == counters


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "CycleCount, TaskExecutionTime, TensorExecutionTime"),
        ("CycleCount: 0x1\nTensorExecutionTime: 0x1", "TaskExecutionTime"),
    ],
)
def test_registers_that_are_missing_are_named(text: str, missing: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_perf_regs(text, FUSED)
    assert caught.value.text == text
    assert caught.value.expected.endswith(f" {missing}")


@pytest.mark.parametrize(
    "line",
    [
        *("CycleCount: 1", "CycleCount: 0x", "CycleCount 0x1", "CycleCount: 0x" + "f" * 17, ": 0x1", "Größe: 0x1"),
        *("CycleCount:\u20030x1", "\u2003CycleCount: 0x1", "Cycle Count: 0x1"),
    ],
)
def test_a_line_among_others_that_is_no_register_is_shown(line: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_perf_regs(f"{PERF_REGS}{line}\n", FUSED)
    assert caught.value.text == line


@given(core_ranges(), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_simulated_registers_read_back(cores: CoreRange, cycles: int, task: int, tensor: int) -> None:
    assume(min(cycles & 0xFFFFFFFF, task, tensor) < 0xFFFFFFFF)  # which no working card says
    text = perf_regs_text(cycles, task, tensor)
    assert len(text.splitlines()) == 29
    assert parse_perf_regs(text, cores) == PeCounters(cores, cycles, task, tensor)


@given(st.integers(0, 2**64 - 2), st.integers(0, 2**64 - 2))
def test_simulated_metrics_read_back(cycles: int, task: int) -> None:
    counters = parse_pe_metrics(metrics_text(cycles, task), CoreRange(3, 3))
    assert counters == PeCounters(CoreRange(3, 3), cycles, task, tensor_cycles=None, bits=64)


@pytest.mark.parametrize(("there", "missing"), [("CycleCount", "TaskCycleCount"), ("TaskCycleCount", "CycleCount")])
def test_metrics_without_one_of_the_two_totals_are_refused(there: str, missing: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_pe_metrics(f"{there}: 0x10\n", CoreRange(0, 0))
    assert caught.value.expected.endswith(f" {missing}")


@pytest.mark.parametrize(
    ("text", "clocks"),
    [
        (CLOCKS, WARBOY_CLOCKS),
        (CLOCKS.rstrip("\n"), WARBOY_CLOCKS),
        (CLOCKS.replace("\n", "\r\n"), WARBOY_CLOCKS),
        ("a (MHz):1\n \n", (Clock("a", 1, "MHz"),)),
        ("a (MHz): 123456789", (Clock("a", 123_456_789, "MHz"),)),
        ("  a b  ( MHz ):  20  ", (Clock("a b", 20, "MHz"),)),
        ("", ()),
        ("\n", ()),
    ],
)
def test_warboy_clocks_have_names_and_units(text: str, clocks: tuple[Clock, ...]) -> None:
    assert parse_named_clocks(text) == clocks


@pytest.mark.parametrize(
    "line",
    ["ne tensor: 2000", "ne tensor (MHz) 2000", "(MHz): 1", "a (): 1", "a ( ): 1", "a (MHz): -1", "a (MHz): 2.5", "x",
     "a (MHz):", "a (MHz): 1234567890", "a (MHz):\u20031", "a (MHz): ٣"],
)  # fmt: skip
def test_a_line_that_is_no_clock_is_shown(line: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_named_clocks(f"dram (MT/s): 4266\n{line}\n")
    assert caught.value.text == line


def test_rngd_clocks_are_numbered_by_pe() -> None:
    assert parse_numbered_clocks("1000000000\n0\n") == (Clock("pe0", 1_000_000_000, "Hz"), Clock("pe1", 0, "Hz"))
    assert parse_numbered_clocks("") == parse_numbered_clocks("\n") == ()
    with pytest.raises(FormatError) as caught:
        parse_numbered_clocks("1000000000\nMHz\n")
    assert caught.value.text == "MHz"
