"""What of all that is known is exported, and in which words: the operator's choice, as a value."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from npu_metrics_exporter.metrics.pattern import Pattern

IDENTITY_LABELS = ("device", "label")
"""Labels that no policy can take away: dashboards of the first generation know cards and sensors by them."""

OWN_LABELS = frozenset({"version", "python", "reason", "state", "code", "format", "le"})
"""Labels that only the exporter's own series have, not the series of cards."""


class Units(StrEnum):
    """Which of the two names a measured value is exported under."""

    SPEC = "spec"
    """The names and units of the specification: millidegrees, microwatts."""

    BASE = "base"
    """Prometheus' base units, named in the metric: degrees, watts."""

    BOTH = "both"


class SensorLabels(StrEnum):
    """How a sensor is called."""

    RAW = "raw"
    """As the driver calls it: ``PCI Total RMS PWR``."""

    LOWER = "lower"
    """Lower case with underscores: ``pci_total_rms_pwr``."""


class PodLabels(StrEnum):
    """How a card is connected with the container that holds it."""

    JOIN = "join"
    """By series of their own, ``furiosa_npu_pod_info``."""

    INLINE = "inline"
    """By those and, where there is exactly one holder, by labels on the card's series."""

    OFF = "off"


@dataclass(frozen=True, slots=True)
class ExportPolicy:
    """What is exported. The default is everything that the documentation lists.

    Attributes:
        units: which twins of a measured value.
        sensor_labels: how sensors are called.
        pod_labels: how holders are told.
        include: families of metrics to export, by full match of one of these with the name; none means all.
        exclude: families not to export, likewise.
        include_sensors: sensors to export, by full match with the label as it would be exported; none means all.
        exclude_sensors: sensors not to export, likewise.
        static_labels: names and values put on every series of a card, by name.
        keep: labels to keep, and no others; None keeps all. :data:`IDENTITY_LABELS` stay in any case.
        drop: labels to drop; never one of :data:`IDENTITY_LABELS`.
        max_series: most series of cards that are exported; the rest is dropped and counted.
        node: the Kubernetes node's name, or empty.
    """

    units: Units = Units.BOTH
    sensor_labels: SensorLabels = SensorLabels.RAW
    pod_labels: PodLabels = PodLabels.JOIN
    include: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()
    include_sensors: tuple[Pattern, ...] = ()
    exclude_sensors: tuple[Pattern, ...] = ()
    static_labels: tuple[tuple[str, str], ...] = ()
    keep: frozenset[str] | None = None
    drop: frozenset[str] = frozenset()
    max_series: int = 10_000
    node: str = ""

    def wants_family(self, name: str) -> bool:
        """Whether the family called ``name`` is exported, units aside."""
        return _passes(name, self.include, self.exclude)

    def wants_sensor(self, label: str) -> bool:
        """Whether the sensor exported as ``label`` is."""
        return _passes(label, self.include_sensors, self.exclude_sensors)

    def wants_label(self, name: str) -> bool:
        """Whether series keep the label called ``name``, where it is not needed to tell them apart."""
        return name not in self.drop and (self.keep is None or name in self.keep)


def _passes(text: str, include: Iterable[Pattern], exclude: Iterable[Pattern]) -> bool:
    wanted = tuple(include)
    if wanted and not any(pattern.fullmatch(text) for pattern in wanted):
        return False
    return not any(pattern.fullmatch(text) for pattern in exclude)
