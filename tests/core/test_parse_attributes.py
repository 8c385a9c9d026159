"""Attributes of the management directory: texts of real cards and of the vendor's samples."""

import pytest

from npu_core.arch import Arch, arch_spec
from npu_core.counters import ErrorCounter
from npu_core.device import ComponentVersion, PciAddress
from npu_core.errors import FormatError, GoneError, HostError, MissingError, ReadFailedError
from npu_core.parse import mgmt
from npu_core.parse.dmi import parse_dmi
from npu_core.parse.text import MAX_TEXT, parse_count, parse_integer, parse_text
from npu_core.testing.layout import ERROR_LINES, error_text, mgmt_attributes
from npu_core.testing.plan import CardPlan, rngd, warboy

WARBOY = arch_spec(Arch.WARBOY)
RENEGADE = arch_spec(Arch.RENEGADE)
CALENDAR = ComponentVersion.parse("2026.1.2, e28c5c0")

ATR_ERROR = """\
AXI Post Error: 0
AXI Fetch Error: 0
AXI Discard Error: 0
AXI Doorbell done: 0
PCIe Post Error: 0
PCIe Fetch Error: 0
PCIe Discard Error: 0
PCIe Doorbell done: 0
Device Error: 0
"""
KINDS = (
    "axi_post_error",
    "axi_fetch_error",
    "axi_discard_error",
    "axi_doorbell_done",
    "pcie_post_error",
    "pcie_fetch_error",
    "pcie_discard_error",
    "pcie_doorbell_done",
    "device_error",
)


EXPECTED_TEXT = f"one line of printable text of at most {MAX_TEXT} characters"


@pytest.mark.parametrize("text", [ATR_ERROR, ATR_ERROR.rstrip("\n"), ATR_ERROR.replace("\n", "\r\n")])
def test_the_nine_error_counters_are_named_as_the_vendor_names_them(text: str) -> None:
    assert mgmt.parse_atr_error(text) == tuple(ErrorCounter(kind, 0) for kind in KINDS)


def test_error_counts_are_numbers_and_not_texts() -> None:
    counters = mgmt.parse_atr_error(error_text({kind: number for number, kind in enumerate(KINDS)}))
    assert [(counter.kind, counter.count) for counter in counters] == [(kind, n) for n, kind in enumerate(KINDS)]


def test_the_simulated_attribute_has_the_lines_of_the_real_one() -> None:
    assert error_text({}) == ATR_ERROR.rstrip("\n")
    assert len(ERROR_LINES) == 9


def test_blank_lines_between_error_counters_are_passed_over() -> None:
    assert mgmt.parse_atr_error("A: 1\n \n\nB: 2\n") == (ErrorCounter("a", 1), ErrorCounter("b", 2))


def test_an_error_counter_of_a_newer_driver_is_kept() -> None:
    assert mgmt.parse_atr_error("HBM  ECC Error:7") == (ErrorCounter("hbm_ecc_error", 7),)


@pytest.mark.parametrize(
    ("text", "shown", "expected"),
    [
        ("", "", "lines such as 'AXI Post Error: 0', each kind once"),
        ("\n\n", "\n\n", "lines such as 'AXI Post Error: 0', each kind once"),
        ("A: 1\na: 2", "A: 1\na: 2", "lines such as 'AXI Post Error: 0', each kind once"),
        ("A: 1\nnothing", "nothing", "an error counter such as 'AXI Post Error: 0'"),
        (": 1", ": 1", "an error counter such as 'AXI Post Error: 0'"),
        ("A B: x", " x", "a count of a_b"),
        ("A: -1", " -1", "a count of a"),
        ("A:", "", "a count of a"),
        ("A: B: 1", " B: 1", "a count of a"),
    ],
)
def test_a_wrong_error_counter_is_shown(text: str, shown: str, expected: str) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_atr_error(text)
    assert (caught.value.text, caught.value.expected) == (shown, expected)


@pytest.mark.parametrize(
    ("text", "alive"), [("1\n", True), ("0\n", False), ("1", True), (" 0 ", False), ("1\r\n", True)]
)
def test_alive_is_one_or_zero(text: str, *, alive: bool) -> None:
    assert mgmt.parse_alive(text) is alive


@pytest.mark.parametrize("text", ["", "\n", "01", "2", "true", "-1", "1 1", "0x1"])
def test_alive_is_nothing_else(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_alive(text)
    assert (caught.value.text, caught.value.expected) == (text, "0 or 1")


@pytest.mark.parametrize(
    ("driver", "state", "alive"),
    [
        ("1.0.0, 0abcdef", "1", True),
        ("1.0.0, 0abcdef", "0", False),
        ("1.0.0, 0abcdef", "2", False),
        ("2023.4.0", "1", True),
        ("2024.1.0, abc", "0", True),
        ("2026.3.1, e28c5c0", "0\n", True),
        ("2026.3.1, e28c5c0", "1\n", False),
        ("2025.4.0-dev2+0e9e56a", "6", False),
    ],
)
def test_device_state_is_read_by_the_drivers_generation(driver: str, state: str, *, alive: bool) -> None:
    assert mgmt.parse_device_state(state, ComponentVersion.parse(driver)) is alive


@pytest.mark.parametrize("driver", [None, ComponentVersion.parse("garbage"), ComponentVersion.parse("")])
def test_device_state_of_an_unknown_driver_cannot_be_told(driver: ComponentVersion | None) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_device_state("1", driver)
    assert caught.value.expected == "a device_state of a driver whose version is known"


@pytest.mark.parametrize("text", ["", "-1", "alive", "1.0"])
def test_device_state_is_a_number(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_device_state(text, CALENDAR)
    assert (caught.value.text, caught.value.expected) == (text, "a device state, 0 or more")


@pytest.mark.parametrize(("text", "seconds"), [("14649\n", 14649), ("42\n", 42), ("0", 0), ("4294967295\n", 2**32 - 1)])
def test_the_heartbeat_counts_seconds(text: str, seconds: int) -> None:
    assert mgmt.parse_heartbeat(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1.5", "now"])
def test_what_is_no_heartbeat_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_heartbeat(text)
    assert (caught.value.text, caught.value.expected) == (text, "seconds, 0 or more")


@pytest.mark.parametrize(("text", "dev"), [("234:0\n", "234:0"), ("510:0", "510:0"), ("000:0\n", "000:0")])
def test_a_device_number_is_kept_as_the_driver_writes_it(text: str, dev: str) -> None:
    assert mgmt.parse_dev(text) == dev


@pytest.mark.parametrize("text", ["", "234", "234:", ":0", "234:0:0", "a:0", "234 : 0", "-1:0", "٣:0", "0:٣", "0:a"])
def test_what_is_no_device_number_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_dev(text)
    assert (caught.value.text, caught.value.expected) == (text, "a device number such as 509:0")


@pytest.mark.parametrize(
    ("text", "occupied"),
    [("0\n0\n1\n", (False, False, True)), ("1", (True,)), ("", ()), ("0\r\n1\r\n", (False, True))],
)
def test_occupancy_has_a_line_per_pe(text: str, occupied: tuple[bool, ...]) -> None:
    assert mgmt.parse_occupancy(text) == occupied


@pytest.mark.parametrize(
    ("text", "mask"), [("0\n", 0), ("10", 16), ("0x10\n", 16), ("0X1f", 31), ("fffffffffffffffe", 2**64 - 2)]
)
def test_the_throttle_reason_is_hexadecimal(text: str, mask: int) -> None:
    assert mgmt.parse_throttle_reason(text) == mask


@pytest.mark.parametrize("text", ["", "0x", "none", "-1", "1" * 17])
def test_what_is_no_bit_mask_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_throttle_reason(text)
    assert caught.value.expected == "a bit mask such as 0x10"


@pytest.mark.parametrize(("text", "node"), [("0\n", 0), ("1", 1), ("-1\n", None), ("-1", None)])
def test_a_numa_node_of_minus_one_is_none(text: str, node: int | None) -> None:
    assert mgmt.parse_numa_node(text) == node


@pytest.mark.parametrize("text", ["", "-2", "node0", "1 2"])
def test_what_is_no_numa_node_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_numa_node(text)
    assert (caught.value.text, caught.value.expected) == (text, "a NUMA node, -1 or more")


@pytest.mark.parametrize("text", ["0000:6d:00.0\n", "0000:6d:00.0", " 0000:6D:00.0\r\n"])
def test_a_busname_is_a_pci_address(text: str) -> None:
    assert mgmt.parse_busname(text) == PciAddress(0, 0x6D, 0, 0)


@pytest.mark.parametrize(
    ("device_type", "soc_rev", "product"),
    [
        ("Warboy", "B0", "warboyB0"),
        ("Warboy", "A0", "warboy"),
        ("Warboy", "", "warboy"),
        ("WarboyB0", "B0", "warboyB0"),
        ("Warboy", "C1", "warboyC1"),
        ("WARBOY", "B0", "warboyB0"),
        ("warboy", "b0", "warboyb0"),
        ("warboyb0", "B0", "warboyb0"),
        ("WarboyB0", "b0", "warboyB0"),
        ("RNGD", "", "rngd"),
        ("RNGD", "A0", "rngd"),
        ("RNGD-S", "", "rngd-s"),
        ("RNGD-Max", "", "rngd-max"),
        ("RNGD", "B0", "rngdB0"),
        ("Renegade", "", "renegade"),
    ],
)
def test_the_product_code_is_the_type_and_a_revision_worth_naming(device_type: str, soc_rev: str, product: str) -> None:
    assert mgmt.product_code(device_type, soc_rev) == product


@pytest.mark.parametrize(
    ("attributes", "product"),
    [
        ({"device_type": "Warboy\n", "soc_rev": "B0\n"}, "warboyB0"),
        ({"device_type": "RNGD"}, "rngd"),
        ({"device_type": "Warboy", "soc_rev": MissingError("ENOENT")}, "warboy"),
        ({"device_type": "Warboy", "soc_rev": ReadFailedError("EIO")}, None),
        ({"device_type": GoneError("ENODEV"), "soc_rev": "B0"}, None),
        ({"device_type": "", "soc_rev": "B0"}, None),
        ({}, None),
    ],
)
def test_a_product_that_cannot_be_told_in_full_is_not_told(
    attributes: dict[str, str | HostError], product: str | None
) -> None:
    assert mgmt.product_of(attributes) == product


@pytest.mark.parametrize(
    "attributes",
    [
        {"platform_type": "FuriosaAI\n", "device_type": "Warboy\n"},
        {"platform_type": " FuriosaAI", "device_type": "warboyB0"},
        {"platform_type": ReadFailedError("EIO"), "device_type": GoneError("ENODEV")},
        {"platform_type": "", "device_type": ""},
        {},
    ],
)
def test_a_card_is_of_the_family_unless_something_says_otherwise(attributes: dict[str, str | HostError]) -> None:
    assert mgmt.check_kind(WARBOY, attributes) is None


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"platform_type": "VITIS", "device_type": "Warboy"}, "platform_type is 'VITIS', expected 'FuriosaAI'"),
        ({"device_type": "RNGD"}, "unsupported device type 'RNGD', expected one of warboy"),
        ({"device_type": "U250"}, "unsupported device type 'U250', expected one of warboy"),
    ],
)
def test_a_card_of_another_kind_is_told_from_one_of_the_family(attributes: dict[str, str], reason: str) -> None:
    assert mgmt.check_kind(WARBOY, dict(attributes)) == reason


@pytest.mark.parametrize(
    "plan", [warboy(0), rngd(0), warboy(3, soc_rev="A0"), rngd(1, driver="1.0.0, 0abcdef")], ids=str
)
def test_what_a_simulated_card_writes_reads_back_as_it_was_declared(plan: CardPlan) -> None:
    written = mgmt_attributes(plan)
    assert mgmt.check_kind(plan.spec, written) is None
    assert str(mgmt.parse_busname(written["busname"])) == plan.pci
    assert mgmt.parse_dev(written["dev"]) == plan.dev
    assert mgmt.text_of(written, "device_sn") == plan.serial
    assert mgmt.text_of(written, "device_uuid") == plan.uuid
    assert str(mgmt.version_of(written, "version")) == plan.driver
    assert str(mgmt.version_of(written, "fw_version")) == plan.firmware
    assert mgmt.parse_heartbeat(written["heartbeat"]) > 0
    assert len(mgmt.parse_atr_error(written["atr_error"])) == len(KINDS)


@pytest.mark.parametrize("text", ["", "\n", " "])
def test_an_empty_attribute_has_no_value(text: str) -> None:
    assert mgmt.text_of({"device_sn": text}, "device_sn") is None
    assert mgmt.version_of({"fw_version": text}, "fw_version") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("-0", 0), ("007", 7), (" 12\n", 12), (str(2**63 - 1), 2**63 - 1), (str(-(2**63)), -(2**63))],
)
def test_an_integer_has_64_bits(text: str, value: int) -> None:
    assert parse_integer(text, "a number") == value


@pytest.mark.parametrize(
    "text", ["", "+1", "1.0", "0x1", "1_0", "1 2", "--1", str(2**63), str(-(2**63) - 1), "٣", "0" * 20]
)
def test_what_is_no_integer_is_refused_in_the_callers_words(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_integer(text, "a number of wheels")
    assert (caught.value.text, caught.value.expected) == (text, "a number of wheels")


def test_a_count_is_not_negative() -> None:
    assert parse_count("0", "a count") == 0
    with pytest.raises(FormatError, match="'-1' is not a count"):
        parse_count("-1", "a count")


@pytest.mark.parametrize(("text", "expected"), [("Warboy\n", "Warboy"), ("", ""), ("  a b ", "a b"), ("급\n", "급")])
def test_a_text_is_one_printable_line(text: str, expected: str) -> None:
    assert parse_text(text) == expected


@pytest.mark.parametrize("text", ["a\0", "a\x7fb", "a\nb", "\x1b[31mred"])
def test_a_text_that_cannot_be_printed_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_text(text)
    assert (caught.value.text, caught.value.expected) == (text, EXPECTED_TEXT)


def test_a_text_that_is_too_long_for_a_name_is_refused_and_shown_in_short() -> None:
    assert parse_text(" " + "x" * MAX_TEXT + "\n") == "x" * MAX_TEXT
    with pytest.raises(FormatError) as caught:
        parse_text("x" * (MAX_TEXT + 1))
    assert caught.value.expected == EXPECTED_TEXT
    assert len(str(caught.value)) < 2 * MAX_TEXT


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Dell Inc.\n", "Dell Inc."), ("", None), (" \n", None), ("\0\x01", None), ("Super\tMicro\0", "SuperMicro")],
)
def test_dmi_strings_lose_what_cannot_be_printed(text: str, expected: str | None) -> None:
    assert parse_dmi(text) == expected
