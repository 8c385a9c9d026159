"""No text of the host can do more harm than a FormatError: every parser, whatever it is given."""

import inspect
from collections.abc import Callable

import pytest
from hypothesis import example, given

from npu_core.arch import Arch, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import ComponentVersion, PciAddress
from npu_core.errors import FormatError
from npu_core.parse import clocks, devfs, dmi, hwmon, mgmt, perf_regs, text
from npu_core.partition import Partitioning, UnitId
from npu_core.sensors import Quantity
from testkit.strategies import attribute_texts

Parser = Callable[[str], object]

CALENDAR_DRIVER = ComponentVersion.parse("2026.1.2, e28c5c0")

PARSERS: dict[str, tuple[Parser, str]] = {
    "parse_integer": (lambda given_text: text.parse_integer(given_text, "a number"), "-3"),
    "parse_count": (lambda given_text: text.parse_count(given_text, "a count"), "3"),
    "parse_number": (lambda given_text: text.parse_number(given_text, "a number"), "0.5"),
    "parse_text": (text.parse_text, "Warboy"),
    "parse_flag": (text.parse_flag, "1"),
    "parse_fault": (hwmon.parse_fault, "0"),
    "parse_named_clocks": (clocks.parse_named_clocks, "ne tensor (MHz): 2000\ndram (MT/s): 4266"),
    "parse_numbered_clocks": (clocks.parse_numbered_clocks, "1000000000\n0"),
    "parse_card_name": (devfs.parse_card_name, "npu0pe0"),
    "parse_device_file": (lambda name: devfs.parse_device_file(arch_spec(Arch.RENEGADE), name), "npu0pe0"),
    "parse_dmi": (dmi.parse_dmi, "Dell Inc."),
    "parse_sensor_value": (lambda value: hwmon.parse_sensor_value(value, Quantity.POWER), "9666000"),
    "parse_label": (lambda label: hwmon.parse_label(label, 3), "PCI Total RMS PWR"),
    "parse_dev": (mgmt.parse_dev, "234:0"),
    "parse_alive": (mgmt.parse_alive, "1"),
    "parse_device_state": (lambda state: mgmt.parse_device_state(state, CALENDAR_DRIVER), "0"),
    "parse_heartbeat": (mgmt.parse_heartbeat, "14649"),
    "parse_atr_error": (mgmt.parse_atr_error, "AXI Post Error: 0\nDevice Error: 2"),
    "parse_occupancy": (mgmt.parse_occupancy, "0\n1"),
    "parse_throttle_reason": (mgmt.parse_throttle_reason, "0x10"),
    "parse_busname": (mgmt.parse_busname, "0000:6d:00.0"),
    "parse_numa_node": (mgmt.parse_numa_node, "-1"),
    "parse_perf_regs": (
        lambda regs: perf_regs.parse_perf_regs(regs, CoreRange(0, 1)),
        "CycleCount: 0x1\nTaskExecutionTime: 0x2\nTensorExecutionTime: 0x3",
    ),
    "parse_pe_metrics": (
        lambda regs: perf_regs.parse_pe_metrics(regs, CoreRange(0, 0)),
        "CycleCount: 0x10\nTaskCycleCount: 0x8",
    ),
    "CoreRange": (CoreRange.parse, "0-1"),
    "PciAddress": (PciAddress.parse, "0000:6d:00.0"),
    "ComponentVersion": (ComponentVersion.parse, "1.9.2, 3def9c2"),
    "UnitId": (UnitId.parse, "npu0pe0"),
    "Partitioning": (Partitioning.parse, "Single"),
}
"""Every parser, with a text that it reads."""

TOTAL = {"parse_dmi", "parse_label", "ComponentVersion"}
"""Those that make a value of any text."""

every_parser = pytest.mark.parametrize("name", list(PARSERS))


def refusal(name: str, given_text: str) -> FormatError | None:
    """The error the parser raises, if any; whatever else it raises is the test's failure."""
    try:
        PARSERS[name][0](given_text)
    except FormatError as error:
        return error
    return None


def test_every_parser_of_the_library_is_tried() -> None:
    modules = (clocks, devfs, dmi, hwmon, mgmt, perf_regs, text)
    written = {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("parse_") and function.__module__ == module.__name__
    }
    assert written <= PARSERS.keys()


@every_parser
@given(given_text=attribute_texts())
@example("")
@example("\n")
@example("\0")
@example("9" * 5000)
@example("-" + "9" * 5000)
@example("0x" + "f" * 5000)
@example("1.9.2, " + "9" * 5000)
@example("a (MHz): " + "9" * 5000)
@example("a: " + "9" * 5000)
@example("npu" + "9" * 5000)
@example("٣")
@example("1_0")
@example("\ud800")
def test_a_text_gives_a_value_or_a_format_error_that_shows_it(name: str, given_text: str) -> None:
    error = refusal(name, given_text)
    if error is None:
        return
    assert name not in TOTAL
    assert error.path is None
    assert len(error.text) <= 81
    assert error.text.removesuffix("…") in given_text
    assert error.expected
    assert error.expected in str(error)


NAMES = {"CoreRange", "PciAddress", "UnitId", "parse_card_name", "parse_device_file"}
"""Those that read names of files, where a line end is no mere matter of form."""


@pytest.mark.parametrize("name", [name for name in PARSERS if name not in NAMES])
def test_line_ends_and_outer_blanks_make_no_difference(name: str) -> None:
    parse, good = PARSERS[name]
    for form in (f"{good}\n", f" {good}\t\n\n", good.replace("\n", "\r\n") + "\r\n"):
        assert parse(form) == parse(good)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_with_a_line_end_is_another_name(name: str) -> None:
    parse, good = PARSERS[name]
    parse(good)
    with pytest.raises(FormatError):
        parse(f"{good}\n")
