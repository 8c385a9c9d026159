"""The table: every family of metrics about cards, and where its values come from.

docs/metrics.md says the same for people; a test compares the two.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from npu_core.sensors import Quantity
from npu_metrics_exporter.metrics import values
from npu_metrics_exporter.metrics.policy import Units
from npu_metrics_exporter.metrics.values import CardView, Value, reported

COMMON_LABELS = ("device", "arch", "core", "uuid", "pci_bus_id")
"""Labels of every series of a card, as far as they are known."""

POD_LABELS = ("namespace", "pod", "container")
"""Labels that name a card's holder."""


class Kind(StrEnum):
    """Prometheus' types, in OpenMetrics' words."""

    GAUGE = "gauge"
    COUNTER = "counter"
    UNKNOWN = "unknown"
    """A counter under a name that does not end in ``_total``, which OpenMetrics allows no counter."""


Read = Callable[[CardView], Iterable[Value]]


@dataclass(frozen=True, slots=True)
class Family:
    """One row.

    Attributes:
        name: without the ``_total`` that counters are exposed with.
        kind: its type.
        help: one sentence; names the unit.
        read: what a card has to say.
        source: what it is read from.
        labels: those beside :data:`COMMON_LABELS`, or that here are of a part of the card: ``core``.
        twin: whether it is the specification's (or the second generation's) name for a value, or the one with the
            base unit; None if the value has one name only.
        unit: the unit that the name ends in, or empty.
    """

    name: str
    kind: Kind
    help: str
    read: Read
    source: str
    labels: tuple[str, ...] = ()
    twin: Units | None = None
    unit: str = ""

    @property
    def sample(self) -> str:
        """The name in queries."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name

    def of_units(self, units: Units) -> bool:
        """Whether it is exported with that choice of twins."""
        return self.twin is None or units in {Units.BOTH, self.twin}


def _gauge(name: str, text: str, read: Read, source: str, labels: tuple[str, ...] = ()) -> tuple[Family, ...]:
    return (Family(name, Kind.GAUGE, text, read, source, labels),)


def _info(name: str, text: str, read: Read, source: str, labels: tuple[str, ...]) -> tuple[Family, ...]:
    return (Family(name, Kind.GAUGE, f"{text}, in the labels; always 1.", read, source, labels),)


def _sensors(name: str, text: str, quantity: Quantity, units: tuple[str, str]) -> tuple[Family, ...]:
    """Both names of what one kind of sensor measures, in the specification's unit and the base unit."""
    spec, unit = units
    raw, whole = partial(values.sensors, quantity, None), partial(values.sensors, quantity, quantity.per_base)
    short = unit.removeprefix("degrees ").lower()
    return (
        Family(name, Kind.GAUGE, f"{text} by sensor, in {spec}.", raw, "hwmon", _LABEL, Units.SPEC),
        Family(
            f"{name}_{short}", Kind.GAUGE, f"{text} by sensor, in {unit}.", whole, "hwmon", _LABEL, Units.BASE, short
        ),
    )


def _cycles(name: str, older: str, text: str, read: Read) -> tuple[Family, ...]:
    return (
        Family(older, Kind.UNKNOWN, text, read, "metrics", _CORE, Units.SPEC),
        Family(name, Kind.COUNTER, text, read, "metrics", _CORE, Units.BASE),
    )


_LABEL, _CORE = ("label",), ("core",)
_INFO = ("product", "family", "driver_version", "driver_reference", "firmware_version", "serial", "soc_rev", "node")

_STATE = (
    *_gauge(
        "furiosa_npu_alive",
        "Whether the card is alive: 1, or 0 if it is dead, gone, without a device file, or could not be read for 30 s.",
        values.alive,
        "alive, device_state",
    ),
    *_info(
        "furiosa_npu_info",
        "What the card is",
        values.info,
        "device_type, soc_rev, version, fw_version, device_sn",
        _INFO,
    ),
)

_UPTIME_TEXT = "Time since the NPU started, in seconds."
_HISTORY = (
    Family("furiosa_npu_uptime", Kind.GAUGE, _UPTIME_TEXT, reported(values.uptime), "heartbeat", twin=Units.SPEC),
    Family(
        "furiosa_npu_uptime_seconds",
        Kind.GAUGE,
        _UPTIME_TEXT,
        reported(values.uptime),
        "heartbeat",
        twin=Units.BASE,
        unit="seconds",
    ),
    Family(
        "furiosa_npu_error",
        Kind.GAUGE,
        "The card's nine counters as they are, in events; doorbell_done counts completions, by its name.",
        reported(values.errors),
        "atr_error",
        _LABEL,
        Units.SPEC,
    ),
    Family(
        "furiosa_npu_errors",
        Kind.COUNTER,
        "Errors that the card detected, by kind.",
        reported(values.faults),
        "atr_error",
        _LABEL,
        Units.BASE,
    ),
)

_HARDWARE = (
    *_sensors(
        "furiosa_npu_hw_temperature",
        "Temperature",
        Quantity.TEMPERATURE,
        ("thousandths of a degree Celsius", "degrees Celsius"),
    ),
    *_sensors("furiosa_npu_hw_power", "Power", Quantity.POWER, ("microwatts", "watts")),
    *_sensors("furiosa_npu_hw_voltage", "Voltage", Quantity.VOLTAGE, ("millivolts", "volts")),
    *_sensors("furiosa_npu_hw_current", "Current", Quantity.CURRENT, ("milliamperes", "amperes")),
)

_WORK = (
    Family(
        "furiosa_npu_core_utilization",
        Kind.GAUGE,
        "Share of the time between two looks in which a task ran, by cores, in percent.",
        reported(partial(values.utilization, 100)),
        "perf_regs, metrics",
        _CORE,
        Units.SPEC,
    ),
    Family(
        "furiosa_npu_core_utilization_ratio",
        Kind.GAUGE,
        "Share of the time between two looks in which a task ran, by cores, 0 to 1.",
        reported(partial(values.utilization, 1)),
        "perf_regs, metrics",
        _CORE,
        Units.BASE,
        "ratio",
    ),
    Family(
        "furiosa_npu_core_computing_ratio",
        Kind.GAUGE,
        "Share of the tasks' time in which the tensor unit computed, by cores, 0 to 1; the rest moved data.",
        reported(values.computing),
        "perf_regs",
        _CORE,
        unit="ratio",
    ),
    *_cycles(
        "furiosa_npu_core_cycles",
        "furiosa_npu_total_cycle_count",
        "Clock cycles since the NPU started, by core.",
        reported(values.cycles),
    ),
    *_cycles(
        "furiosa_npu_core_task_cycles",
        "furiosa_npu_task_execution_cycle",
        "Clock cycles in which a task ran, by core.",
        reported(values.task_cycles),
    ),
    *_gauge(
        "furiosa_npu_core_occupied",
        "Whether the core is occupied: 1 or 0.",
        reported(values.occupied),
        "pe_occupancy",
        _CORE,
    ),
)

_CLOCKS = (
    Family(
        "furiosa_npu_core_frequency",
        Kind.GAUGE,
        "Clock of a core, in megahertz.",
        reported(values.core_megahertz),
        "npu_clocks",
        _CORE,
        Units.SPEC,
    ),
    Family(
        "furiosa_npu_core_frequency_hertz",
        Kind.GAUGE,
        "Clock of a core, in hertz.",
        reported(values.core_hertz),
        "npu_clocks",
        _CORE,
        Units.BASE,
        "hertz",
    ),
    Family(
        "furiosa_npu_clock_frequency_hertz",
        Kind.GAUGE,
        "Clock of one of the card's domains, in hertz.",
        reported(partial(values.domains, values.HERTZ)),
        "ne_clk_freq_info",
        _LABEL,
        unit="hertz",
    ),
    *_gauge(
        "furiosa_npu_clock_transfers_per_second",
        "Transfer rate of one of the card's memories, in transfers per second.",
        reported(partial(values.domains, values.TRANSFERS)),
        "ne_clk_freq_info",
        _LABEL,
    ),
    *_gauge(
        "furiosa_npu_throttle_reason",
        "Why the clocks are throttled, as the driver's bit mask; 0 means not at all.",
        reported(values.throttle),
        "throttle_reason",
    ),
    *_info(
        "furiosa_npu_performance_mode_info",
        "The power policy in the driver's words",
        reported(values.mode),
        "performance_mode, npu_governor",
        ("mode",),
    ),
)

TABLE: tuple[Family, ...] = (*_STATE, *_HISTORY, *_HARDWARE, *_WORK, *_CLOCKS)
"""Every family of cards, in the order they are written in: what matters most comes before a cap ends it."""

POD_INFO = Family(
    "furiosa_npu_pod_info",
    Kind.GAUGE,
    "Which container the kubelet gave these cores to, in the labels; always 1.",
    lambda _: (),
    "PodResources, checkpoint",
    ("core", "resource", *POD_LABELS),
)
"""The one family whose values come from the kubelet and not from the card."""

LABELS = frozenset({*COMMON_LABELS, *POD_LABELS, *(label for family in (*TABLE, POD_INFO) for label in family.labels)})
"""Every label that some series has by itself."""
