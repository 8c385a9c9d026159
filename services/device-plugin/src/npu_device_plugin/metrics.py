"""The plugin's metrics, ``npu_device_plugin_*``: numbers it kept anyway, in Prometheus' words."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from npu_core.health import HealthStatus
from npu_core.service.exposition import CONTENT_TYPE, Family, Kind, Sample, histogram_samples
from npu_core.service.exposition import exposition as exposition_of
from npu_core.service.grpc_codes import GRPC_CODES
from npu_core.threads import NO_THREAD
from npu_device_plugin import __version__
from npu_device_plugin.condition import Condition
from npu_device_plugin.supervisor import CAUSES
from npu_device_plugin.telemetry import LATENCY_BOUNDS, Latency, Telemetry

__all__ = ["CONTENT_TYPE", "exposition"]
_PREFIX = "npu_device_plugin_"


def exposition(condition: Condition, telemetry: Telemetry, now: float) -> str:
    """Everything, in Prometheus' text format; ``now`` is seconds since the epoch."""
    counters = [_counter(row, dict.fromkeys(row.always(condition), 0.0) | row.counts(telemetry)) for row in _COUNTERS]
    gauges = [_gauge(row, row.values(condition, telemetry, now)) for row in _GAUGES]
    return exposition_of([*counters, _latency(condition, telemetry), *gauges])


Key = tuple[str, ...]
Samples = dict[Key, float]


class _CounterRow(NamedTuple):
    """A counter. The series of ``always`` start as 0: ``increase()`` does not see a series that begins at 1."""

    name: str
    help: str
    labels: tuple[str, ...]
    counts: Callable[[Telemetry], Samples]
    always: Callable[[Condition], Iterable[Key]]


class _GaugeRow(NamedTuple):
    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[Condition, Telemetry, float], Samples]


def _by_one(counts: Counter[str]) -> Samples:
    return {(key,): count for key, count in counts.items()}


def _by_many(counts: Counter[Any]) -> Samples:
    return dict(counts)


def _resources(condition: Condition) -> Iterator[Key]:
    return ((name,) for name, _, _ in condition.resources)


def _resources_with(values: Iterable[str]) -> Callable[[Condition], Iterable[Key]]:
    return lambda condition: ((*resource, value) for resource in _resources(condition) for value in values)


def _changes(condition: Condition) -> Iterator[Key]:
    for card in condition.fleet.cards:
        for status in (HealthStatus.HEALTHY, HealthStatus.UNHEALTHY):
            yield card.device.name, card.device.arch, status


_COUNTERS = (
    _CounterRow(
        "registrations",
        "Registrations, by what made them necessary.",
        ("resource", "cause"),
        lambda telemetry: _by_many(telemetry.registrations),
        _resources_with(CAUSES),
    ),
    _CounterRow(
        "registration_failures",
        "Attempts to register that failed.",
        ("resource",),
        lambda telemetry: _by_one(telemetry.failed_registrations),
        _resources,
    ),
    _CounterRow(
        "streams",
        "Streams that the kubelet opened.",
        ("resource",),
        lambda telemetry: _by_one(telemetry.streams),
        _resources,
    ),
    _CounterRow(
        "sends", "Messages sent to the kubelet.", ("resource",), lambda telemetry: _by_one(telemetry.sends), _resources
    ),
    _CounterRow(
        "allocations",
        "Containers answered for, and requests refused.",
        ("resource", "result"),
        lambda telemetry: _by_many(telemetry.allocations),
        _resources_with(("granted", "refused")),
    ),
    _CounterRow(
        "health_changes",
        "Changes of a card's health, by what it became.",
        ("card", "family", "status"),
        lambda telemetry: _by_many(telemetry.health_changes),
        _changes,
    ),
    _CounterRow(
        "podresources_errors",
        "Failed questions to the kubelet about who holds what.",
        ("code",),
        lambda telemetry: _by_one(telemetry.holdings_errors),
        lambda _: ((code,) for code in (NO_THREAD, *GRPC_CODES)),
    ),
    _CounterRow(
        "http_clients_refused",
        "Clients of the HTTP endpoint that were cut off or refused, by reason.",
        ("reason",),
        lambda telemetry: {(reason,): count for reason, count in telemetry.traffic.by_reason().items()},
        lambda _: (),
    ),
    _CounterRow(
        "log_lines_dropped",
        "Log lines lost because nobody read standard error.",
        (),
        lambda telemetry: {(): telemetry.dropped_lines()},
        lambda _: ((),),
    ),
)

_GAUGES = (
    _GaugeRow("build_info", "1; the version is in the label.", ("version",), lambda *_: {(__version__,): 1}),
    _GaugeRow(
        "units",
        "Units offered, by health.",
        ("resource", "family", "health"),
        lambda condition, *_: dict(_units(condition)),
    ),
    _GaugeRow(
        "registered",
        "1 if the resource is registered and the kubelet listens.",
        ("resource",),
        lambda condition, *_: {(name,): int(listening) for name, _, listening in condition.resources},
    ),
    _GaugeRow(
        "family_refused",
        "1 for a family of cards that is not offered, because its resource or socket name would not be valid.",
        ("family",),
        lambda condition, *_: dict(_refused(condition)),
    ),
    _GaugeRow(
        "cards_pending",
        "Cards that are not cut as the settings wish, because of what containers hold.",
        (),
        lambda condition, *_: {(): len(condition.fleet.pending)},
    ),
    _GaugeRow(
        "cards_stuck",
        "Cards that a read has not come back from.",
        (),
        lambda condition, *_: {(): condition.stuck},
    ),
    _GaugeRow(
        "cards_unasked",
        "Cards that could not be asked, because the process has no thread, descriptor or memory left.",
        (),
        lambda condition, *_: {(): condition.unasked},
    ),
    _GaugeRow(
        "cards_unsettled",
        "Cards that are not offered yet, because their driver may still be making device files.",
        (),
        lambda condition, *_: {(): len(condition.fleet.unsettled)},
    ),
    _GaugeRow(
        "ids_kept",
        "Device ids that stay listed, unhealthy, only because a container holds them.",
        ("resource", "family"),
        lambda condition, *_: {(name, offer.arch): len(offer.kept) for name, offer, _ in condition.resources},
    ),
    _GaugeRow(
        "ids_unmapped",
        "Device ids held by containers that may mean any card, so that no free unit is given out.",
        (),
        lambda condition, *_: {(): len(condition.unmapped)},
    ),
    _GaugeRow(
        "heartbeat_timestamp_seconds",
        "When the cards were last looked at.",
        (),
        lambda condition, _, now: {(): now - condition.heartbeat_age},
    ),
    _GaugeRow(
        "config_generation",
        "1 at the start, one more for each change that was applied.",
        (),
        lambda _, telemetry, __: {(): telemetry.config.generation},
    ),
    _GaugeRow(
        "config_info",
        "1; the digest of the configuration file in force is in the label, empty without one.",
        ("sha256",),
        lambda _, telemetry, __: {(telemetry.config.digest,): 1},
    ),
    _GaugeRow(
        "config_last_reload_failed",
        "1 if the configuration file is wrong and an older one is in force.",
        (),
        lambda _, telemetry, __: {(): int(bool(telemetry.config.error))},
    ),
)


def _refused(condition: Condition) -> Iterator[tuple[tuple[str, ...], float]]:
    yield from (((offer.arch,), 0) for _, offer, _ in condition.resources)
    yield from (((arch,), 1) for arch, _ in condition.refused)


def _units(condition: Condition) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, offer, _ in condition.resources:
        for word, healthy in (("healthy", True), ("unhealthy", False)):
            yield (name, offer.arch, word), sum(unit.healthy is healthy for unit in offer.units)


def _latency(condition: Condition, telemetry: Telemetry) -> Family:
    latencies = {name: Latency() for name, _, _ in condition.resources} | telemetry.latency
    samples = tuple(
        sample
        for resource, latency in sorted(latencies.items())
        for sample in histogram_samples({"resource": resource}, LATENCY_BOUNDS, latency.cumulated(), latency.total)
    )
    return Family(f"{_PREFIX}allocate_duration_seconds", Kind.HISTOGRAM, "Time to answer Allocate.", samples)


def _counter(row: _CounterRow, counts: Samples) -> Family:
    samples = tuple(_sample(row.labels, key, count) for key, count in sorted(counts.items()))
    return Family(f"{_PREFIX}{row.name}_total", Kind.COUNTER, row.help, samples)


def _gauge(row: _GaugeRow, values: Samples) -> Family:
    samples = tuple(_sample(row.labels, key, value) for key, value in values.items())
    return Family(_PREFIX + row.name, Kind.GAUGE, row.help, samples)


def _sample(names: tuple[str, ...], key: tuple[str, ...], value: float) -> Sample:
    return Sample(dict(zip(names, key, strict=True)), value)
