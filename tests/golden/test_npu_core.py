"""What the library says in every program, word by word: the events of logs, and what is wrong with a text."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npu_core.arch import Arch, arch_spec
from npu_core.config.file import parse_config
from npu_core.cores import CoreRange
from npu_core.device import ComponentVersion, PciAddress
from npu_core.errors import FormatError, NpuError, Problem, SettingsError, StuckError, UnsupportedDeviceError
from npu_core.limits import LIMITS, Measure, possible
from npu_core.parse import clocks, devfs, hwmon, mgmt, perf_regs, text
from npu_core.partition import Partitioning, UnitId
from npu_core.sensors import Quantity
from npu_core.service.events import SharedEvent
from npu_core.service.logs import LogLevel
from npu_core.service.settings import COMMAND_LINE, ENVIRONMENT, Given, Reader, absolute_path, one_of, seconds, text_of
from testkit.golden import compare


def _possible(measure: Measure) -> Callable[[str], object]:
    return lambda value: possible(int(value), measure, LIMITS[measure], 1)


GOLDEN = Path(__file__).with_name("npu-core.txt")
WRONG: list[tuple[Callable[[str], object], str]] = [
    (CoreRange.parse, "0-01"),
    (CoreRange.parse, "1-0"),
    (PciAddress.parse, "6d:00.0"),
    (UnitId.parse, "npu0pe"),
    (Partitioning.parse, "two"),
    (devfs.parse_card_name, "null"),
    (lambda name: devfs.parse_device_file(arch_spec(Arch.RENEGADE), name), "npu0pe7-8"),
    (mgmt.parse_alive, "2"),
    (lambda state: mgmt.parse_device_state(state, ComponentVersion.parse("2026.1.2")), "alive"),
    (lambda state: mgmt.parse_device_state(state, None), "1"),
    (mgmt.parse_heartbeat, "now"),
    (mgmt.parse_dev, "509"),
    (mgmt.parse_numa_node, "-2"),
    (mgmt.parse_throttle_reason, "none"),
    (mgmt.parse_busname, "somewhere"),
    (mgmt.parse_occupancy, "2"),
    (mgmt.parse_atr_error, ""),
    (mgmt.parse_atr_error, "nothing"),
    (mgmt.parse_atr_error, "A B: x"),
    (text.parse_text, "a\0"),
    (lambda value: hwmon.parse_sensor_value(value, Quantity.TEMPERATURE), "N/A"),
    (lambda value: hwmon.parse_sensor_value(value, Quantity.CURRENT), "N/A"),
    (hwmon.parse_fault, "2"),
    (clocks.parse_named_clocks, "ne: 1"),
    (clocks.parse_numbered_clocks, "MHz"),
    (lambda regs: perf_regs.parse_perf_regs(regs, CoreRange(0, 1)), "CycleCount: 1"),
    (lambda regs: perf_regs.parse_perf_regs(regs, CoreRange(0, 1)), ""),
    (lambda regs: perf_regs.parse_pe_metrics(regs, CoreRange(0, 0)), "CycleCount: 0x10"),
    *((_possible(measure), "1000000000000") for measure in Measure),
    (lambda value: possible(int(value), Measure.TEMPERATURE, LIMITS[Measure.TEMPERATURE], 1000), "511000"),
    (lambda device_type: _raise(UnsupportedDeviceError(device_type, ["warboy", "rngd"])), "U250"),
    (lambda detail: _raise(StuckError(detail, path="/sys/x")), "no answer within 2 s"),
]


def _raise(error: NpuError) -> None:
    raise error


def test_the_library_says_what_is_written_down() -> None:
    sections: dict[str, list[str]] = {
        "events": list(SharedEvent),
        "texts": list(_texts()),
        "settings": list(_settings()),
    }
    compare(GOLDEN, "\n".join("\n".join((f"## {title}", "", *lines, "")) for title, lines in sections.items()))


def _texts() -> Iterator[str]:
    for parse, wrong in WRONG:
        with pytest.raises(NpuError) as caught:
            parse(wrong)
        yield str(caught.value)


def _settings() -> Iterator[str]:
    reader = Reader(
        [
            Given("text", " ", COMMAND_LINE, name="--text"),
            Given("level", "warn", ENVIRONMENT, name="NPU_LEVEL"),
            *parse_config(b"span: '10'\npath: sys\nlist: [1]\nspan: 2\nother: 1\n", "/etc/x.conf"),
        ]
    )
    reader.take("text", text_of, "")
    reader.take("level", one_of(LogLevel), LogLevel.INFO)
    reader.take("span", seconds(0.1, 60), 1.0)
    reader.take("path", absolute_path, "")
    reader.take("list", text_of, "")
    yield from map(str, reader.finish())
    for content in (b"", b"- 1", b"a: [", b"\0", b"a: &x 1", b"\xff"):
        try:
            yield f"{content!r} has {len(parse_config(content, '/etc/x.conf'))} keys"
        except (FormatError, SettingsError) as error:
            yield str(error)
    yield from SettingsError([Problem("a", None, "b", "environment")] * 50).told[-2:]
