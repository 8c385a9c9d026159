"""The plugin's metrics, ``npu_device_plugin_*``: numbers it kept anyway, in Prometheus' words."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from npu_core.health import HealthStatus
from npu_core.service.grpc_codes import GRPC_CODES
from npu_core.service.histogram import Histogram
from npu_core.service.metrics import Row, Values, by_label, counter, gauge, histogram
from npu_core.threads import NO_THREAD
from npu_device_plugin import __version__
from npu_device_plugin.counters import LATENCY_BOUNDS, Counters
from npu_device_plugin.kubelet.supervisor import CAUSES
from npu_device_plugin.service_status import ServiceStatus

PREFIX = "npu_device_plugin_"
_RESOURCE = ("resource",)


class Moment(NamedTuple):
    """The plugin at one moment.

    Attributes:
        condition: what the plugin is.
        telemetry: what the plugin counted.
        now: seconds since the epoch.
    """

    condition: ServiceStatus
    telemetry: Counters
    now: float


def families(condition: ServiceStatus, telemetry: Counters, now: float) -> Iterator[Metric]:
    """Every family; ``now`` is seconds since the epoch."""
    moment = Moment(condition, telemetry, now)
    for row in TABLE:
        yield row.family(PREFIX, moment)
    latencies = {name: Histogram(LATENCY_BOUNDS) for name, _, _ in condition.resources} | telemetry.latency
    yield histogram(f"{PREFIX}allocate_duration_seconds", "Time to answer Allocate.", latencies, "resource")


def _resources(moment: Moment) -> Iterator[tuple[str]]:
    return ((name,) for name, _, _ in moment.condition.resources)


def _resources_with(values: Iterable[str]) -> Callable[[Moment], Iterator[tuple[str, str]]]:
    return lambda moment: ((*resource, value) for resource in _resources(moment) for value in values)


def _changes(moment: Moment) -> Iterator[tuple[str, str, str]]:
    for card in moment.condition.fleet.cards:
        for status in (HealthStatus.HEALTHY, HealthStatus.UNHEALTHY):
            yield card.device.name, card.device.arch, status


def _refused(moment: Moment) -> Values:
    yield from (((offer.arch,), 0) for _, offer, _ in moment.condition.resources)
    yield from (((arch,), 1) for arch, _ in moment.condition.refused)


def _units(moment: Moment) -> Values:
    for name, offer, _ in moment.condition.resources:
        for word, healthy in (("healthy", True), ("unhealthy", False)):
            yield (name, offer.arch, word), sum(unit.healthy is healthy for unit in offer.units)


TABLE: tuple[Row[Moment], ...] = (
    Row(
        "registrations",
        "Registrations, by what made them necessary.",
        lambda moment: moment.telemetry.registrations.items(),
        ("resource", "cause"),
        _resources_with(CAUSES),
    ),
    Row(
        "registration_failures",
        "Attempts to register that failed.",
        lambda moment: by_label(moment.telemetry.failed_registrations),
        _RESOURCE,
        _resources,
    ),
    Row(
        "streams",
        "Streams that the kubelet opened.",
        lambda moment: by_label(moment.telemetry.streams),
        _RESOURCE,
        _resources,
    ),
    Row(
        "sends",
        "Messages sent to the kubelet.",
        lambda moment: by_label(moment.telemetry.sends),
        _RESOURCE,
        _resources,
    ),
    Row(
        "allocations",
        "Containers answered for, and requests refused.",
        lambda moment: moment.telemetry.allocations.items(),
        ("resource", "result"),
        _resources_with(("granted", "refused")),
    ),
    Row(
        "health_changes",
        "Changes of a card's health, by what it became.",
        lambda moment: moment.telemetry.health_changes.items(),
        ("device", "arch", "status"),
        _changes,
    ),
    Row(
        "podresources_errors",
        "Failed questions to the kubelet about who holds what.",
        lambda moment: by_label(moment.telemetry.holdings_errors),
        ("code",),
        lambda _: ((code,) for code in (NO_THREAD, *GRPC_CODES)),
    ),
    Row(
        "http_clients_refused",
        "Clients of the HTTP endpoint that were cut off or refused, by reason.",
        lambda moment: by_label(moment.telemetry.traffic.by_reason()),
        ("reason",),
        lambda _: (),
    ),
    counter(
        "log_lines_dropped",
        "Log lines lost because nobody read standard error.",
        lambda moment: moment.telemetry.dropped_lines(),
    ),
    Row("build_info", "1; the version is in the label.", lambda _: [((__version__,), 1)], ("version",)),
    Row("units", "Units offered, by health.", _units, ("resource", "arch", "health")),
    Row(
        "registered",
        "1 if the resource is registered and the kubelet listens.",
        lambda moment: [((name,), int(listening)) for name, _, listening in moment.condition.resources],
        _RESOURCE,
    ),
    Row(
        "family_refused",
        "1 for a family of cards that is not offered, because its resource or socket name would not be valid.",
        _refused,
        ("arch",),
    ),
    gauge(
        "cards_pending",
        "Cards that are not cut as the settings wish, because of what containers hold.",
        lambda moment: len(moment.condition.fleet.pending),
    ),
    gauge("cards_stuck", "Cards that a read has not come back from.", lambda moment: moment.condition.stuck),
    gauge(
        "cards_unasked",
        "Cards that could not be asked, because the process has no thread, descriptor or memory left.",
        lambda moment: moment.condition.unasked,
    ),
    gauge(
        "cards_unsettled",
        "Cards that are not offered yet, because their driver may still be making device files.",
        lambda moment: len(moment.condition.fleet.unsettled),
    ),
    Row(
        "ids_kept",
        "Device ids that stay listed, unhealthy, only because a container holds them.",
        lambda moment: [((name, offer.arch), len(offer.kept)) for name, offer, _ in moment.condition.resources],
        ("resource", "arch"),
    ),
    gauge(
        "ids_unmapped",
        "Device ids held by containers that may mean any card, so that no free unit is given out.",
        lambda moment: len(moment.condition.unmapped),
    ),
    gauge(
        "heartbeat_timestamp_seconds",
        "When the cards were last looked at.",
        lambda moment: moment.now - moment.condition.heartbeat_age,
    ),
    gauge(
        "config_generation",
        "1 at the start, one more for each change that was applied.",
        lambda moment: moment.telemetry.config.generation,
    ),
    Row(
        "config_info",
        "1; the digest of the configuration file in force is in the label, empty without one.",
        lambda moment: [((moment.telemetry.config.digest,), 1)],
        ("sha256",),
    ),
    gauge(
        "config_last_reload_success",
        "0 if the configuration file is wrong and an older one is in force.",
        lambda moment: int(not moment.telemetry.config.error),
    ),
)
