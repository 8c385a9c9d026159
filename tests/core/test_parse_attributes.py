"""Attributes of the management directory: texts of real cards and of the vendor's samples."""

from collections.abc import Callable

import pytest

from npu_core.arch import Arch, arch_spec
from npu_core.counters import ErrorCounter
from npu_core.device import ComponentVersion, PciAddress
from npu_core.errors import FormatError, GoneError, HostError, MissingError, ReadFailedError
from npu_core.parse import mgmt
from npu_core.parse.dmi import parse_dmi
from npu_core.parse.text import MAX_TEXT, parse_count, parse_integer, parse_text
from npu_core.testing.layout import error_text, mgmt_attributes
from npu_core.testing.plan import CardPlan, rngd, warboy

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
    *("axi_post_error", "axi_fetch_error", "axi_discard_error", "axi_doorbell_done", "pcie_post_error"),
    *("pcie_fetch_error", "pcie_discard_error", "pcie_doorbell_done", "device_error"),
)


def integer(text: str) -> int:
    return parse_integer(text, "a number of wheels")


def state_of_a_calendar_driver(text: str) -> bool:
    return mgmt.parse_device_state(text, ComponentVersion.parse("2026.1.2, e28c5c0"))


READ: dict[Callable[[str], object], dict[str, object]] = {
    mgmt.parse_alive: {"1\n": True, "0\n": False, "1": True, " 0 ": False, "1\r\n": True},
    mgmt.parse_heartbeat: {"14649\n": 14649, "0": 0, "4294967295\n": 2**32 - 1},
    mgmt.parse_dev: {"234:0\n": "234:0", "510:0": "510:0", "000:0\n": "000:0"},
    mgmt.parse_occupancy: {
        "0\n0\n1\n": (False, False, True),
        "1": (True,),
        "": (),
        "0\r\n1\r\n": (False, True),
    },
    mgmt.parse_throttle_reason: {"0\n": 0, "10": 16, "0x10\n": 16, "0X1f": 31, "fffffffffffffffe": 2**64 - 2},
    mgmt.parse_numa_node: {"0\n": 0, "1": 1, "-1\n": None, "-1": None},
    mgmt.parse_busname: {
        text: PciAddress(0, 0x6D, 0, 0) for text in ("0000:6d:00.0\n", "0000:6d:00.0", " 0000:6D:00.0\r\n")
    },
    integer: {"0": 0, "-0": 0, "007": 7, " 12\n": 12, str(2**63 - 1): 2**63 - 1, str(-(2**63)): -(2**63)},
    parse_text: {"Warboy\n": "Warboy", "": "", "  a b ": "a b", "급\n": "급", "x" * MAX_TEXT: "x" * MAX_TEXT},
    parse_dmi: {"Dell Inc.\n": "Dell Inc.", "": None, " \n": None, "\0\x01": None, "Super\tMicro\0": "SuperMicro"},
    mgmt.parse_atr_error: {
        **dict.fromkeys(
            (ATR_ERROR, ATR_ERROR.rstrip("\n"), ATR_ERROR.replace("\n", "\r\n"), error_text({})),
            tuple(ErrorCounter(kind, 0) for kind in KINDS),
        ),
        "A: 1\n \n\nB: 2\n": (ErrorCounter("a", 1), ErrorCounter("b", 2)),
        "HBM  ECC Error:7": (ErrorCounter("hbm_ecc_error", 7),),
    },
}
REFUSED: dict[Callable[[str], object], list[str]] = {
    mgmt.parse_alive: ["", "\n", "01", "2", "true", "-1", "1 1", "0x1"],
    state_of_a_calendar_driver: ["", "-1", "alive", "1.0"],
    mgmt.parse_heartbeat: ["", "-1", "1.5", "now"],
    mgmt.parse_dev: ["", "234", "234:", ":0", "234:0:0", "a:0", "234 : 0", "-1:0", "٣:0", "0:٣", "0:a"],
    mgmt.parse_throttle_reason: ["", "0x", "none", "-1", "1" * 17],
    mgmt.parse_numa_node: ["", "-2", "node0", "1 2"],
    integer: ["", "+1", "1.0", "0x1", "1_0", "1 2", "--1", str(2**63), str(-(2**63) - 1), "٣", "0" * 20],
    parse_text: ["a\0", "a\x7fb", "a\nb", "\x1b[31mred", "x" * (MAX_TEXT + 1)],
}


@pytest.mark.parametrize(
    ("parse", "text", "value"), [(parse, text, value) for parse, texts in READ.items() for text, value in texts.items()]
)
def test_an_attribute_is_read(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(("parse", "text"), [(parse, text) for parse, texts in REFUSED.items() for text in texts])
def test_what_an_attribute_cannot_be_is_refused_and_shown(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(text)
    assert caught.value.text == FormatError(text, "").text
    assert len(str(caught.value)) < 2 * MAX_TEXT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("\n\n", "\n\n"),
        ("A: 1\na: 2", "A: 1\na: 2"),
        ("A: 1\nnothing", "nothing"),
        (": 1", ": 1"),
        ("A B: x", " x"),
        ("A: -1", " -1"),
        ("A:", ""),
        ("A: B: 1", " B: 1"),
    ],
)
def test_a_wrong_error_counter_is_shown(text: str, shown: str) -> None:
    with pytest.raises(FormatError) as caught:
        mgmt.parse_atr_error(text)
    assert caught.value.text == shown


def test_error_counts_are_numbers_and_not_texts() -> None:
    counters = mgmt.parse_atr_error(error_text({kind: number for number, kind in enumerate(KINDS)}))
    assert [(counter.kind, counter.count) for counter in counters] == [(kind, n) for n, kind in enumerate(KINDS)]


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
    with pytest.raises(FormatError):
        mgmt.parse_device_state("1", driver)


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
    ("attributes", "named"),
    [
        ({"platform_type": "FuriosaAI\n", "device_type": "Warboy\n"}, None),
        ({"platform_type": " FuriosaAI", "device_type": "warboyB0"}, None),
        ({"platform_type": ReadFailedError("EIO"), "device_type": GoneError("ENODEV")}, None),
        ({"platform_type": "", "device_type": ""}, None),
        ({}, None),
        ({"platform_type": "VITIS", "device_type": "Warboy"}, "'VITIS'"),
        ({"device_type": "RNGD"}, "'RNGD'"),
        ({"device_type": "U250"}, "'U250'"),
    ],
)
def test_a_card_is_of_the_family_unless_something_says_otherwise(
    attributes: dict[str, str | HostError], named: str | None
) -> None:
    reason = mgmt.check_kind(arch_spec(Arch.WARBOY), attributes)
    assert (reason is None) is (named is None)
    assert (named or "") in (reason or "")


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


@pytest.mark.parametrize("text", ["", "\n", " "])
def test_an_empty_attribute_has_no_value(text: str) -> None:
    assert mgmt.text_of({"device_sn": text}, "device_sn") is None
    assert mgmt.version_of({"fw_version": text}, "fw_version") is None


def test_a_count_is_not_negative() -> None:
    assert parse_count("0", "a count") == 0
    with pytest.raises(FormatError) as caught:
        parse_count("-1", "a count")
    assert (caught.value.text, caught.value.expected) == ("-1", "a count")
