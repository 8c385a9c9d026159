"""What each service has to say of the cards as they are.

Pure: every check gives the sentences that say what is wrong; none if nothing is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from npu_core.partition import UnitId
from testkit.services.exporter import Scrape
from testkit.standins.kubelet import PodView

PREFIX = "beta.furiosa.ai/"
COUNT = f"{PREFIX}npu.count"
_OF_MACHINE = f"{PREFIX}machine."
_ALIVE = "furiosa_npu_alive"
_OF_CARDS = "furiosa_npu_"
_OWN = "furiosa_npu_exporter_"
DEPARTED = 5.0
"""Seconds after which the exporter has surely seen that a card is gone: a collection, and a hung card in it."""


@dataclass(frozen=True, slots=True)
class CardTruth:
    """A card as it is.

    Attributes:
        index: its number.
        gone: for how many seconds it has not been there; None if it is.
        alive: what the driver says; None if it cannot be told from outside, because it hangs or says nonsense.
        spoiled: whether any of its attributes is not what it should be.
        uptime: what its heartbeat reads; None if it is not there.
    """

    index: int
    gone: float | None = None
    alive: bool | None = True
    spoiled: bool = False
    uptime: int | None = None

    @property
    def device(self) -> str:
        """``npu0``."""
        return f"npu{self.index}"

    def may_say(self, grace: float) -> frozenset[float | None]:
        """What ``furiosa_npu_alive`` may be; None for no such series."""
        if self.gone is not None:
            return frozenset({0.0, None} if self.gone > grace - DEPARTED else {0.0})
        if self.spoiled or self.alive is None:
            return frozenset({0.0, 1.0, None})
        return frozenset({float(self.alive)})


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A row of ``furiosa_npu_pod_info``: these cores are held by this container."""

    device: str
    core: str
    namespace: str
    pod: str
    container: str


def held(pods: Iterable[PodView]) -> frozenset[Held]:
    """What containers of pods that are not over hold."""
    return frozenset(
        Held(unit.card, str(unit.cores), pod.namespace, pod.name, container.container)
        for pod in pods
        if pod.admitted is not None and not pod.phase.terminal
        for container in pod.admitted.containers
        for ids in container.device_ids.values()
        for unit in map(UnitId.parse, ids)
    )


# -- the exporter -----------------------------------------------------------------------------------------------------


def alive_problems(scrape: Scrape, cards: Iterable[CardTruth], grace: float) -> Iterator[str]:
    """Every card is told to be as it is."""
    for card in cards:
        values = [value for name, labels, value in scrape.samples if name == _ALIVE and labels["device"] == card.device]
        told = values[0] if values else None
        if len(values) > 1 or told not in card.may_say(grace):
            yield f"the exporter says alive {values} of {card}"


def freshness_problems(scrape: Scrape, cards: Iterable[CardTruth], most: float) -> Iterator[str]:
    """What is told of a card's uptime is not older than so many seconds."""
    for card in cards:
        if card.uptime is not None and not card.spoiled:
            rows = [
                value
                for name, labels, value in scrape.samples
                if name == "furiosa_npu_uptime_seconds" and labels["device"] == card.device
            ]
            if len(rows) != 1 or abs(card.uptime - rows[0]) > most:
                yield f"the exporter says uptime {rows} of {card}"


def ghost_problems(scrape: Scrape, cards: Iterable[CardTruth], grace: float) -> Iterator[str]:
    """Of a card that is gone there are no values, and beyond its grace there is nothing."""
    for card in cards:
        if card.gone is None or card.gone < DEPARTED:
            continue
        names = {name for name, labels, _ in scrape.samples if _is_of(name, labels, card.device)}
        if ghosts := names - ({_ALIVE} if card.gone < grace + DEPARTED else set()):
            yield f"npu{card.index} is gone for {card.gone:.1f} s, and there is {min(ghosts)} of it"


def _is_of(name: str, labels: Mapping[str, str], device: str) -> bool:
    return name.startswith(_OF_CARDS) and not name.startswith(_OWN) and labels.get("device") == device


def holder_problems(scrape: Scrape, holds: Collection[Held]) -> Iterator[str]:
    """Who holds what is told as the kubelet knows it."""
    told = {
        Held(row["device"], row["core"], row["namespace"], row["pod"], row["container"])
        for row in scrape.rows("furiosa_npu_pod_info")
    }
    yield from (f"the exporter does not tell of {each}" for each in sorted(set(holds) - told))
    yield from (f"the exporter invents {each}" for each in sorted(told - set(holds)))


# -- the feature discovery --------------------------------------------------------------------------------------------


def label_problems(
    labels: Mapping[str, str], healthy: Mapping[str, str], cards: Collection[CardTruth]
) -> Iterator[str]:
    """The labels are those of the cards that are there.

    Args:
        labels: as they arrive at the node.
        healthy: as they were when every card was there and well; the cards are all alike.
        cards: as they are. Nothing is said where one of them hides what it is.
    """
    if any(card.spoiled for card in cards):
        return
    present = sum(card.gone is None for card in cards)
    kept = {key: value for key, value in healthy.items() if present or key.startswith(_OF_MACHINE)}
    expected = kept | {COUNT: str(present)}
    if dict(labels) != expected:
        differ = sorted(set(labels.items()) ^ set(expected.items()))
        yield f"labels differ from those of {present} cards in {differ}"


# -- the device plugin ------------------------------------------------------------------------------------------------


def offer_problems(healthy: Iterable[UnitId], cards: Iterable[CardTruth]) -> Iterator[str]:
    """No unit of a card that is dead or gone is offered."""
    offered = {unit.index for unit in healthy}
    for card in cards:
        if card.index in offered and (card.gone is not None or card.alive is False):
            yield f"the kubelet takes units of {card} for healthy"
