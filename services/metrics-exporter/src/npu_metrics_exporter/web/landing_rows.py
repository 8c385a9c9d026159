"""What the landing page says of the cards: from the snapshot to its rows."""

from npu_core.errors import HostError
from npu_core.health import HealthStatus, Vitals
from npu_core.sensors import Quantity, distinct_labels
from npu_metrics_exporter.metrics.podmap import Owner, PodMap
from npu_metrics_exporter.metrics.snapshot import CardState, CardStatus, Snapshot
from npu_metrics_exporter.web.landing import Card, Reading


def cards_of(snapshot: Snapshot, pods: PodMap) -> tuple[Card, ...]:
    """A row for each card that is ours."""
    return tuple(_row(card, pods) for card in snapshot.cards if card.status is not CardStatus.REJECTED)


def _row(card: CardState, pods: PodMap) -> Card:
    report, device = card.report, card.device
    health, good = health_of(card)
    return Card(
        name=card.name,
        arch=card.key[0],
        health=health,
        good=good,
        temperatures=_readings(card, Quantity.TEMPERATURE),
        powers=_readings(card, Quantity.POWER),
        uptime=report.uptime if report else None,
        firmware=str(device.firmware) if device and device.firmware else "",
        owners=tuple(map(_owner, pods.of_card(card.key))),
    )


def health_of(card: CardState) -> tuple[str, bool]:
    """How a card is, in a word or a few, and whether ``furiosa_npu_alive`` is other than 0."""
    return _words(card), card.alive is not False and card.health.status is not HealthStatus.UNKNOWN


def _words(card: CardState) -> str:
    match card.status:
        case CardStatus.DEPARTED:
            return "departed"
        case CardStatus.FAILED:
            return "stuck: does not answer" if card.stuck else "unreadable"
        case _:
            return "not looked at yet" if card.report is None else _life(card, card.report.vitals)


def _life(card: CardState, vitals: Vitals) -> str:
    if isinstance(vitals.alive, HostError):
        return f"unreadable: {vitals.alive.reason}"
    if vitals.alive is False:
        return "dead"
    if card.alive is False:
        return "recovering" if card.health.good_looks else "; ".join(card.health.reasons)
    return "does not say" if card.is_silent else "alive"


def _readings(card: CardState, quantity: Quantity) -> tuple[Reading, ...]:
    if card.report is None:
        return ()
    names = distinct_labels(card.sensors_seen)
    values = card.report.readings.values
    return tuple(Reading(names[each.sensor], each.value) for each in values if each.sensor.quantity is quantity)


def _owner(owner: Owner) -> str:
    held = owner.container
    return f"{held.namespace}/{held.pod} {held.container} (PE {owner.cores})"
