"""What a card says of itself while it works: the attributes that are read one by one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.counters import Clock, ErrorCounter, PeCounters
from npu_core.device import Device
from npu_core.errors import AccessDeniedError, FormatError, GoneError, HostError, MissingError, ReadFailedError
from npu_core.host import Host
from npu_core.machine import Machine, Placeholder
from npu_core.testing import EACCES, EIO, ENODEV, FakeCard, FakeHost, Fault, FaultyFS, garbage, rngd, warboy

Attribute = Callable[[Host, Device], object]
Cards = tuple[FakeCard, FakeCard]
Devices = tuple[Device, Device]

ATTRIBUTES: dict[str, tuple[str, Attribute]] = {
    "alive": ("alive", lambda host, device: host.alive(device)),
    "uptime": ("heartbeat", lambda host, device: host.uptime(device)),
    "errors": ("atr_error", lambda host, device: host.errors(device)),
    "clocks": ("ne_clk_freq_info", lambda host, device: host.clocks(device)),
    "counters": ("perf_regs", lambda host, device: host.pe_counters(device, CoreRange(0, 1))),
}


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path, warboy(0), rngd(0))


@pytest.fixture
def cards(host: FakeHost) -> Cards:
    return host.card(Arch.WARBOY, 0), host.card(Arch.RENEGADE, 0)


@pytest.fixture
def devices(host: FakeHost) -> Devices:
    first, second = host.open().inventory().devices
    return first, second


def test_errors_are_counted_by_kind_and_clocks_are_in_each_familys_form(
    host: FakeHost, cards: Cards, devices: Devices
) -> None:
    cards[0].set_error("device_error", 3)
    cards[0].set_error("axi_post_error", 7)
    warboy_errors, rngd_errors = (host.open().errors(device) for device in devices)
    assert [counter for counter in warboy_errors if counter.count] == [
        *(ErrorCounter("axi_post_error", 7), ErrorCounter("device_error", 3)),
    ]
    assert [counter.count for counter in rngd_errors] == [0] * 9
    warboy_clocks, rngd_clocks = (host.open().clocks(device) for device in devices)
    assert (warboy_clocks[0], warboy_clocks[-1]) == (Clock("ne tensor", 2000, "MHz"), Clock("dram", 4266, "MT/s"))
    assert rngd_clocks == tuple(Clock(f"pe{core}", 1_000_000_000, "Hz") for core in range(8))
    assert [host.open().performance_mode(device) for device in devices] == ["4 (FULL 1)", "powersave"]


def test_newer_rngd_drivers_say_which_pes_are_occupied_and_why_they_throttle(
    host: FakeHost, cards: Cards, devices: Devices
) -> None:
    assert host.open().throttle_reason(devices[1]) == 0
    cards[1].set_attribute("pe_occupancy", "0\n1\n0\n0\n0\n0\n0\n1")
    cards[1].set_attribute("throttle_reason", "0x12")
    assert [pe for pe, busy in enumerate(host.open().occupancy(devices[1])) if busy] == [1, 7]
    assert host.open().throttle_reason(devices[1]) == 0x12
    for read in (host.open().occupancy, host.open().throttle_reason):
        with pytest.raises(MissingError):
            read(devices[0])


def test_every_core_range_of_a_warboy_and_every_single_core_of_an_rngd_has_counters_of_its_own(
    host: FakeHost, cards: Cards, devices: Devices
) -> None:
    for number, part in enumerate(map(CoreRange.parse, ("0", "1", "0-1"))):
        cards[0].set_perf_regs(part, (5 << 32) + number, 11, 13)
    cards[1].set_perf_regs(CoreRange(0, 0), 1 << 40, 1 << 39)
    cards[1].set_perf_regs(CoreRange(0, 3), 1, 1)
    for number, part in enumerate(map(CoreRange.parse, ("0", "1", "0-1"))):
        assert host.open().pe_counters(devices[0], part) == PeCounters(part, (5 << 32) + number, 11, 13)
    single = host.open().pe_counters(devices[1], CoreRange(0, 0))
    assert single == PeCounters(CoreRange(0, 0), 1 << 40, 1 << 39, None, bits=64)
    with pytest.raises(MissingError):
        host.open().pe_counters(devices[1], CoreRange(0, 3))


@pytest.mark.parametrize("name", list(ATTRIBUTES))
@pytest.mark.parametrize(
    ("fault", "leaf"),
    [(EIO, ReadFailedError), (EACCES, AccessDeniedError), (ENODEV, GoneError), (garbage(), FormatError)],
    ids=["EIO", "EACCES", "ENODEV", "garbage"],
)
def test_what_cannot_be_read_is_an_error_that_names_the_file(
    host: FakeHost, devices: Devices, name: str, fault: Fault, leaf: type[HostError]
) -> None:
    file, read = ATTRIBUTES[name]
    fs = FaultyFS()
    fs.put(f"*/{file}", fault)
    with pytest.raises(leaf) as caught:
        read(host.open(fs), devices[0])
    assert type(caught.value) is leaf
    assert caught.value.path is not None
    assert caught.value.path.startswith(host.sysfs)
    assert caught.value.path.endswith(f"/{file}")


@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_nothing_of_a_card_that_is_gone_can_be_read(host: FakeHost, devices: Devices, name: str) -> None:
    _, read = ATTRIBUTES[name]
    host.card(Arch.WARBOY, 0).disappear()
    with pytest.raises(MissingError):
        read(host.open(), devices[0])


def test_a_machine_has_a_vendor_and_a_name(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, vendor="Super Micro Computer, Inc.", machine="SYS-420GP")
    assert host.open().machine() == Machine("Super Micro Computer, Inc.", "SYS-420GP")


@pytest.mark.parametrize(
    ("vendor", "name", "expected"),
    [
        (None, None, Machine()),
        ("", " ", Machine()),
        (None, "R750", Machine(None, "R750")),
        ("Dell\x01 Inc.\t", "R 750  ", Machine("Dell Inc.", "R 750")),
        ("삼성전자", "급", Machine("삼성전자", "급")),
    ],
)
def test_a_machine_may_say_little_or_odd_things_of_itself(
    tmp_path: Path, vendor: str | None, name: str | None, expected: Machine
) -> None:
    host = FakeHost(tmp_path)
    host.set_machine(vendor, name)
    assert host.open().machine() == expected


@pytest.mark.parametrize(
    "text",
    [
        *("System manufacturer", "System Product Name", "Default string", "default  STRING", "To Be Filled By O.E.M."),
        *("To be filled by OEM", "INVALID", "0", "0000", "None", "N/A", "n/a", "OEM", "O.E.M.", "Not Specified", "..."),
    ],
)
def test_a_string_that_nobody_filled_in_names_no_machine(tmp_path: Path, text: str) -> None:
    host = FakeHost(tmp_path)
    host.set_machine(text, text, board_vendor="ASUSTeK COMPUTER INC.", board_name="Z12PP-D32")
    machine = host.open().machine()
    assert (machine.vendor, machine.name) == ("ASUSTeK COMPUTER INC.", "Z12PP-D32")
    assert (machine.vendor_from, machine.name_from) == ("board_vendor", "board_name")
    assert machine.placeholders == (Placeholder("sys_vendor", text), Placeholder("product_name", text))
    host.set_machine(text, text, board_vendor=text)
    machine = host.open().machine()
    assert (machine.vendor, machine.name) == (None, None)
    assert len(machine.placeholders) == 3


@pytest.mark.parametrize("text", ["Supermicro", "SYS-420GP", "X10", "OEM Systems Ltd", "Nutanix", "100", "0xide"])
def test_a_name_is_not_taken_for_a_placeholder(tmp_path: Path, text: str) -> None:
    host = FakeHost(tmp_path)
    host.set_machine(text, text, board_vendor="board", board_name="board")
    assert host.open().machine() == Machine(text, text)


def test_each_string_that_is_missing_is_taken_from_the_board(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    host.set_machine("Dell Inc.", None, board_vendor="Other", board_name="0H1J2K")
    assert host.open().machine() == Machine("Dell Inc.", "0H1J2K", name_from="board_name")


def test_a_machine_without_dmi_has_neither_vendor_nor_name(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    (tmp_path / "sys/class/dmi/id").unlink()
    assert host.open().machine() == Machine()


def test_a_machine_that_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    fs = FaultyFS()
    fs.put("*/product_name", EIO)
    with pytest.raises(ReadFailedError, match="product_name"):
        FakeHost(tmp_path).open(fs).machine()
