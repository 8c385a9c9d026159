"""``npu-metrics-exporter check``: one collection, printed. Serves nothing."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from npu_core.errors import Unreadable
from npu_core.host import Host
from npu_core.limits import Measure
from npu_core.sensors import Reading
from npu_metrics_exporter.collector import Collector
from npu_metrics_exporter.counters import Counters
from npu_metrics_exporter.metrics.podmap import Owner, PodMap
from npu_metrics_exporter.metrics.policy import PodLabels
from npu_metrics_exporter.metrics.render import render
from npu_metrics_exporter.metrics.series import Budget, families
from npu_metrics_exporter.metrics.snapshot import CardState, CardStatus, Snapshot
from npu_metrics_exporter.pod_watch import Kubelet, PodWatch
from npu_metrics_exporter.settings import Settings
from npu_metrics_exporter.web.landing_rows import health_of

_BETWEEN_LOOKS = 1.0
"""Seconds between two looks, where counters tell of work only by what they count in between."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What one collection gives.

    Attributes:
        snapshot: the cards.
        pods: who holds them, as far as the kubelet could be asked.
        settings: what was asked for.
    """

    snapshot: Snapshot
    pods: PodMap
    settings: Settings


def examine(settings: Settings) -> CheckReport:
    """Look at the host; a card that hangs is waited for no longer than the daemon would.

    Raises:
        HostError: if it cannot be listed.
    """
    host = Host(settings.sysfs, settings.devfs, limits=settings.all_limits)
    host.find()
    return asyncio.run(_examine(settings, host))


async def _examine(settings: Settings, host: Host) -> CheckReport:
    collector = Collector(host, Counters(), time.monotonic, time.time)
    await collector.collect(settings.max_age, settings.grace)
    if collector.wants_counters:
        await asyncio.sleep(_BETWEEN_LOOKS)
        await collector.collect(settings.max_age, settings.grace)
    watch = PodWatch(Kubelet.of(settings))
    if settings.pod_labels is not PodLabels.OFF:
        await watch.ask()
    return CheckReport(collector.snapshot, watch.map(collector.snapshot.known_cards), settings)


def as_exposition(finding: CheckReport) -> str:
    """The finding as a scrape would give it, without the exporter's own metrics."""
    policy = finding.settings.policy
    made = families(finding.snapshot, finding.pods, policy, Budget(policy.max_series))
    return render(made).text.decode().rstrip("\n")


def as_json(finding: CheckReport) -> str:
    """The finding for programs."""
    cards = [_document(card, finding.pods) for card in finding.snapshot.cards if card.status is not CardStatus.REJECTED]
    rejected = [{"name": card.name, "family": card.key[0], "reason": card.rejection} for card in _rejected(finding)]
    return json.dumps({"cards": cards, "rejected": rejected}, indent=2)


def _document(card: CardState, pods: PodMap) -> dict[str, object]:
    document: dict[str, object] = {
        "name": card.name,
        "family": card.key[0],
        "alive": card.alive,
        "health": health_of(card)[0],
    }
    if card.report is None:
        return document
    device, report = card.report.device, card.report
    return document | {
        "product": device.product,
        "uuid": device.uuid,
        "serial": device.serial,
        "pci": str(device.pci) if device.pci else None,
        "uptime_seconds": report.uptime,
        "errors": {each.kind: each.count for each in report.errors},
        "sensors": [
            {"quantity": each.sensor.quantity, "label": each.sensor.label, "value": each.value}
            for each in report.readings.values
        ],
        "clocks": [{"domain": each.domain, "frequency": each.frequency, "unit": each.unit} for each in report.clocks],
        "utilization": [{"cores": str(each.cores), "busy": each.busy} for each in report.utilization],
        "holders": [
            {"cores": str(owner.cores), "resource": owner.resource, "holder": _holder(owner)}
            for owner in pods.of_card(card.key)
        ],
        "unreadable": [
            {"subject": item.subject, "reason": item.reason, "detail": item.detail} for item in report.unreadable
        ],
    }


def as_text(finding: CheckReport) -> str:
    """The finding for people."""
    cards = [card for card in finding.snapshot.cards if card.status is not CardStatus.REJECTED]
    lines = [f"cards: {len(cards)}"]
    for card in cards:
        lines.append(f"{card.name} ({card.key[0]}): {health_of(card)[0]}")
        lines.extend(f"  {line}" for line in _lines(card, finding.pods))
    lines.extend(f"{card.name} ({card.key[0]}) is left out: {card.rejection}" for card in _rejected(finding))
    return "\n".join(lines)


def _lines(card: CardState, pods: PodMap) -> Iterator[str]:
    report = card.report
    if report is None:
        return
    if report.uptime is not None:
        yield f"uptime: {report.uptime} s"
    if report.errors:
        yield f"errors: {', '.join(f'{each.kind} {each.count}' for each in report.errors)}"
    yield from map(_sensor, report.readings.values)
    yield from (f"clock {each.domain}: {each.frequency} {each.unit}" for each in report.clocks)
    yield from (f"PE {each.cores}: {each.busy:.0%} busy" for each in report.utilization)
    yield from (f"PE {owner.cores}: held by {_holder(owner)}" for owner in pods.of_card(card.key))
    yield from map(_unreadable, report.unreadable)


def _sensor(reading: Reading) -> str:
    quantity = reading.sensor.quantity
    return f"{quantity} {reading.sensor.label}: {reading.value / quantity.per_base:g} {Measure(quantity.value).unit}"


def _unreadable(item: Unreadable) -> str:
    return f"unreadable: {item.subject}: {item.detail}"


def _holder(owner: Owner) -> str:
    held = owner.container
    return f"{held.namespace}/{held.pod} {held.container}"


def _rejected(finding: CheckReport) -> list[CardState]:
    return [card for card in finding.snapshot.cards if card.status is CardStatus.REJECTED]
