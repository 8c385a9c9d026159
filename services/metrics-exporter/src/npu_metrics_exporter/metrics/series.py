"""From what is known of the cards to Prometheus' families: which series there are, and under which labels.

Two series never have the same name and labels: Prometheus would refuse the whole scrape.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample as Series

from npu_core.arch import arch_spec
from npu_core.claims import Container
from npu_core.cores import CoreRange
from npu_core.sensors import Sensor, distinct_labels
from npu_metrics_exporter.metrics.families import COMMON_LABELS, POD_INFO, POD_LABELS, TABLE, Family
from npu_metrics_exporter.metrics.podmap import PodMap
from npu_metrics_exporter.metrics.policy import IDENTITY_LABELS, ExportPolicy, PodLabels, SensorLabels
from npu_metrics_exporter.metrics.snapshot import CardState, Snapshot
from npu_metrics_exporter.metrics.values import CardView, Value

_NOT_IN_A_WORD = re.compile(r"[^a-z0-9]+")
_WITHOUT_HOLDER = "furiosa_npu_info"
"""The family whose series stay the same whoever holds the card, in every mode."""

Labels = dict[str, str]
"""Those of one series; never changed once made, so several may be the same one."""


def families(snapshot: Snapshot, pods: PodMap, policy: ExportPolicy, budget: "Budget") -> Iterator[Metric]:
    """The families of cards one by one, each made when it is asked for. One without series is left out.

    Series beyond the budget, and those that would be there twice, are left out and counted in ``budget``.
    """
    cards = _cards(snapshot, pods, policy)
    for family in TABLE:
        if family.of_units(policy.units) and policy.wants_family(family.sample):
            yield from _metric(family, (each.series(family) for each in cards), budget)
    if policy.pod_labels is not PodLabels.OFF and policy.wants_family(POD_INFO.sample):
        yield from _metric(POD_INFO, (each.pod_series() for each in cards), budget)


@dataclass(slots=True)
class Budget:
    """How many series one exposition may still have, and how many had to go.

    Attributes:
        left: of :attr:`~npu_metrics_exporter.metrics.policy.ExportPolicy.max_series`.
        capped: left out for being too many.
        repeated: left out because another had the same name and labels.
    """

    left: int
    capped: int = 0
    repeated: int = 0

    @property
    def dropped(self) -> int:
        """All that were left out."""
        return self.capped + self.repeated


def _metric(family: Family, rows: Iterable[Iterable[tuple[Labels, float]]], budget: Budget) -> Iterator[Metric]:
    metric = Metric(family.name, family.help, family.kind, family.unit)
    metric.samples = list(_within(budget, _distinct(budget, (row for each in rows for row in each)), family.sample))
    if metric.samples:
        yield metric


def _distinct(budget: Budget, rows: Iterable[tuple[Labels, float]]) -> Iterator[tuple[Labels, float]]:
    seen: set[frozenset[tuple[str, str]]] = set()
    for labels, value in rows:
        identity = frozenset(labels.items())
        if identity in seen:
            budget.repeated += 1
            continue
        seen.add(identity)
        yield labels, value


def _within(budget: Budget, rows: Iterable[tuple[Labels, float]], name: str) -> Iterator[Series]:
    for labels, value in rows:
        if budget.left <= 0:
            budget.capped += 1
            continue
        budget.left -= 1
        yield Series(name, labels, value)


@dataclass(frozen=True, slots=True)
class _Card:
    """A card and all that its series need to know beside its values."""

    named: CardView
    pods: PodMap
    policy: ExportPolicy
    common: Labels
    arch_needed: bool
    holders: dict[str, Labels] = field(default_factory=dict)

    def series(self, family: Family) -> Iterator[tuple[Labels, float]]:
        keys = _keys(family, arch_needed=self.arch_needed)
        common = self._chosen(self.common, keys)
        for each in family.read(self.named):
            yield self._labels(family, common, each, keys), each.value

    def _labels(self, family: Family, common: Labels, each: Value, keys: frozenset[str]) -> Labels:
        own = {**each.labels, "node": self.policy.node} if "node" in family.labels else each.labels
        holder = {} if family.name == _WITHOUT_HOLDER else self._holder(each.labels.get("core"))
        return common | self._chosen({**own, **holder}, keys) if own or holder else common

    def pod_series(self) -> Iterator[tuple[Labels, float]]:
        keys = _keys(POD_INFO, arch_needed=self.arch_needed)
        for owner in self.pods.of_card(self.named.card.key):
            own = {"core": str(owner.cores), "resource": owner.resource, **_pod_labels(owner.container)}
            yield self._chosen({**self.common, **own}, keys), 1

    def _chosen(self, labels: Labels, keys: frozenset[str]) -> Labels:
        """Those that are known and wanted."""
        wanted = ((name, text) for name, text in labels.items() if text)
        return {name: _utf8(text) for name, text in wanted if name in keys or self.policy.wants_label(name)}

    def _holder(self, core: str | None) -> Labels:
        if self.policy.pod_labels is not PodLabels.INLINE:
            return {}
        place = core or self.common["core"]
        if place not in self.holders:
            holder = self.pods.sole_owner(self.named.card.key, CoreRange.parse(place))
            self.holders[place] = {} if holder is None else _pod_labels(holder)
        return self.holders[place]


def _utf8(text: str) -> str:
    """The text without what is no character: drivers may say any bytes, and a scrape is UTF-8."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _keys(family: Family, *, arch_needed: bool) -> frozenset[str]:
    """The labels without which two series of the family could not be told apart."""
    parts = {"core", *(POD_LABELS if family is POD_INFO else ())} & set(family.labels)
    return frozenset({*IDENTITY_LABELS, *parts, *(("arch",) if arch_needed else ())})


def _cards(snapshot: Snapshot, pods: PodMap, policy: ExportPolicy) -> list[_Card]:
    cards = [card for card in snapshot.cards if card.is_exported]
    names = Counter(card.name for card in cards)
    static = dict(policy.static_labels)
    return [
        _Card(
            CardView(card, _sensor_names(card, policy)),
            pods,
            policy,
            {**static, **_common(card)},
            arch_needed=names[card.name] > 1,
        )
        for card in cards
    ]


def _common(card: CardState) -> Labels:
    device = card.device
    arch, _ = card.key
    values = (
        card.name,
        str(arch),
        str(arch_spec(arch).cores),
        (device.uuid if device else None) or "",
        str(device.pci) if device and device.pci else "",
    )
    return dict(zip(COMMON_LABELS, values, strict=True))


def _pod_labels(container: Container) -> Labels:
    return dict(zip(POD_LABELS, (container.namespace, container.pod, container.container), strict=True))


def _sensor_names(card: CardState, policy: ExportPolicy) -> dict[Sensor, str]:
    """What the sensors that are wanted are called.

    Those that cannot be read now are named with the rest, so that their namesakes keep their names.
    """
    if policy.sensor_labels is SensorLabels.RAW:
        names = distinct_labels(card.sensors_seen)
    else:
        lowered = {sensor: replace(sensor, label=_lower(sensor)) for sensor in card.sensors_seen}
        distinct = distinct_labels(lowered.values())
        names = {sensor: distinct[low] for sensor, low in lowered.items()}
    return {sensor: name for sensor, name in names.items() if policy.wants_sensor(name)}


def _lower(sensor: Sensor) -> str:
    return _NOT_IN_A_WORD.sub("_", sensor.label.lower()).strip("_") or str(sensor.channel)
