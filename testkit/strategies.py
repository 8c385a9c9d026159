"""What hypothesis has to know of NPUs: a strategy for each kind of value, shared by every suite."""

from hypothesis import strategies as st

from npu_core.arch import ARCH_SPECS, Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.counters import PeCounters
from npu_core.device import ComponentVersion, Device, PciAddress
from npu_core.errors import (
    AccessDeniedError,
    BusyError,
    ExhaustedError,
    FormatError,
    GoneError,
    HostError,
    MissingError,
    ReadFailedError,
    Reason,
    StuckError,
    Unreadable,
)
from npu_core.health import HealthReport, HealthStatus, Vitals
from npu_core.parse.devfs import parse_device_file
from npu_core.partition import MAX_INDEX, Partitioning, UnitId
from npu_core.sensors import Quantity, Reading, Sensor
from npu_core.testing.plan import all_suffixes

archs = st.sampled_from(list(Arch))
arch_specs = st.sampled_from(list(ARCH_SPECS.values()))
indices = st.integers(0, MAX_INDEX)
quantities = st.sampled_from(list(Quantity))

_NASTY_PIECES = (
    *"0123456789",
    *" -+_.,:;!()\t\n\r",
    "\0",
    "\x7f",
    "\x85",
    "\u2028",
    "…",
    "٣",
    "²",
    "K",
    "0x",
    "1_0",
    "1e3",
    "nan",
    "npu",
    "pe",
    "MHz",
    "Error: ",
    "CycleCount",
    "9" * 5000,
)


def attribute_texts() -> st.SearchStrategy[str]:
    """What an attribute could say in the worst case: any text, and texts that look nearly right."""
    nearly_right = st.lists(st.sampled_from(_NASTY_PIECES), max_size=12).map("".join)
    return st.one_of(st.text(max_size=60), nearly_right)


@st.composite
def core_ranges(draw: st.DrawFn, within: CoreRange = CoreRange(0, CoreRange.MAX_CORE)) -> CoreRange:  # noqa: B008  # frozen
    """Any range of cores within another."""
    first = draw(st.integers(within.first, within.last))
    return CoreRange(first, draw(st.integers(first, within.last)))


def pci_addresses() -> st.SearchStrategy[PciAddress]:
    """Any PCI function, wide domains included."""
    return st.builds(
        PciAddress, st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFF), st.integers(0, 0x1F), st.integers(0, 7)
    )


def unit_ids() -> st.SearchStrategy[UnitId]:
    """Any unit's name, of cards that exist or not."""
    return st.builds(UnitId, indices, core_ranges())


def partitionings(spec: ArchSpec) -> st.SearchStrategy[Partitioning]:
    """Every policy that fits a family."""
    return st.sampled_from([Partitioning(None), *(Partitioning(size) for size in spec.unit_sizes)])


@st.composite
def devices(draw: st.DrawFn, arch: st.SearchStrategy[Arch] = archs) -> Device:
    """A card with any of its device files, all of them or none."""
    spec = arch_spec(draw(arch))
    index = draw(indices)
    suffixes = draw(st.one_of(st.just(set(all_suffixes(spec))), st.sets(st.sampled_from(all_suffixes(spec)))))
    files = tuple(parse_device_file(spec, f"npu{index}{suffix}") for suffix in sorted(suffixes))
    driver = ComponentVersion.parse("1.9.2, 3def9c2")
    return Device(index=index, arch=spec.arch, pci=draw(pci_addresses()), driver=driver, files=files)


@st.composite
def sensors(draw: st.DrawFn) -> Sensor:
    """A sensor out of so few that labels, channels and chips are often equal, or look like one another."""
    return Sensor(
        card=draw(st.sampled_from(["npu0", "npu1"])),
        quantity=draw(st.sampled_from([Quantity.TEMPERATURE, Quantity.POWER])),
        channel=draw(st.integers(0, 3)),
        label=draw(st.sampled_from(["A", "A_1", "A_1_1", "A_2", "1", "1_1", "a_A_1", "a_A_1_2", "_A_1"])),
        chip=draw(st.sampled_from(["", "a", "b"])),
    )


def readings() -> st.SearchStrategy[Reading]:
    """A sensor and a value."""
    return st.builds(Reading, sensors(), st.integers(-(1 << 31), 1 << 31))


@st.composite
def pe_counters(draw: st.DrawFn, bits: int = 32) -> PeCounters:
    """Counters of PE 0 at any moment of their life, two of them often within one turn of the narrow ones."""
    totals = st.integers(0, (1 << bits) - 1)
    tensor = draw(st.one_of(st.none(), totals))
    cycles = draw(st.one_of(totals, st.integers(0, (1 << 64) - 1)))
    return PeCounters(CoreRange(0, 0), cycles, draw(totals), tensor, bits)


def host_errors() -> st.SearchStrategy[HostError]:
    """Every leaf of the host's errors."""
    leaves = (AccessDeniedError, MissingError, GoneError, BusyError, ReadFailedError, StuckError, ExhaustedError)
    plain = st.builds(lambda kind: kind("it did not work", path="/sys/x"), st.sampled_from(leaves))
    return st.one_of(plain, st.just(FormatError("x", "0 or 1", path="/sys/x")))


def vitals() -> st.SearchStrategy[Vitals]:
    """Anything one look at a card could see."""
    alive = st.one_of(st.booleans(), st.none(), host_errors())
    missing = st.lists(st.sampled_from(["npu0pe0", "npu0ch0"]), unique=True, max_size=2).map(tuple)
    return st.builds(Vitals, st.booleans(), alive, missing)


def health_reports() -> st.SearchStrategy[HealthReport]:
    """A judgement of each status."""
    return st.sampled_from(
        [
            HealthReport(HealthStatus.HEALTHY),
            HealthReport(HealthStatus.UNHEALTHY, ("it is dead",)),
            HealthReport(HealthStatus.UNKNOWN, ("it does not say",)),
        ]
    )


def unreadables() -> st.SearchStrategy[Unreadable]:
    """A failure as a value."""
    return st.builds(
        Unreadable,
        st.sampled_from(["npu0", "npu1"]),
        st.sampled_from(["device_uuid", "alive"]),
        st.sampled_from(list(Reason)),
        st.just("it did not work"),
    )
