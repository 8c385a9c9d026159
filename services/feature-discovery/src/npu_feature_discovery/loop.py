"""The service's work: look, decide, publish, wait; and again, whatever happened."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from npu_core.device import CardKey, Rejected
from npu_core.errors import HostError, Reason
from npu_core.service.logs import EventLog
from npu_core.service.mounts import RemovedDirectories
from npu_feature_discovery.back_off import BackOff, chance
from npu_feature_discovery.counters import Counters
from npu_feature_discovery.events import Event
from npu_feature_discovery.host_scan import HostScanner, Listing
from npu_feature_discovery.labels.known_facts import KnownFacts
from npu_feature_discovery.labels.table import Facts, Labels
from npu_feature_discovery.publisher import Publisher
from npu_feature_discovery.service_status import ServiceStatus

_log = EventLog(__name__)
POLL_INTERVAL = 1.0
"""Seconds between two glances at which cards there are."""
SECOND_LOOK = 2.0
"""Seconds from a look that found something else than the one before to the next: drivers take a moment to load."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the host is looked at.

    Attributes:
        interval: seconds between two looks while nothing changes; may be infinite.
        patience: seconds after which a loop that does not turn counts as hung.
    """

    interval: float
    patience: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a glance can tell; None where the host cannot be listed."""

    sight: Listing | None = None
    stuck: frozenset[CardKey] = frozenset()


class Discovery:
    """Keeps the labels of one node true.

    One thread runs it; :meth:`stop`, :meth:`look_again` and :meth:`condition` are for any other.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # its parts and their pace
        self,
        looker: HostScanner,
        publisher: Publisher,
        labels_of: Callable[[Facts, Labels], Labels],
        telemetry: Counters,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
        memory: KnownFacts = KnownFacts(),  # noqa: B008  # frozen
        directories: Iterable[str] = (),
    ) -> None:
        """A discovery that has not looked yet.

        Args:
            looker: looks at the host.
            publisher: publishes.
            labels_of: the labels that some facts make, where others were published when the process started.
            telemetry: where looks are counted.
            pace: how often it looks.
            clock: seconds that do not go back.
            memory: what is known before the first look.
            directories: the directories that the service writes to or reads from, and that somebody may remove.
        """
        self._looker = looker
        self._publisher = publisher
        self._labels_of = labels_of
        self._telemetry = telemetry
        self._pace = pace
        self._clock = clock
        self._stopped = False
        self._asked = False
        self._wake = threading.Event()
        self._memory = memory
        self._labels: Labels | None = None
        self._before: Labels | None = None
        self._seen = _Seen()
        self._changed = False
        self._due = clock()
        self._back_off = BackOff()
        self._fault = ""
        self._complaint: tuple[Reason, str | None] | None = None
        self._heartbeat = clock()
        self._stuck = 0
        self._removed = RemovedDirectories(directories)

    def run(self) -> None:
        """Work until :meth:`stop`. Never raises: what is unforeseen is logged, counted and tried again."""
        while not self._stopped:
            self.turn()
            self._wake.wait(self._pause())
            self._wake.clear()

    def once(self) -> bool:
        """Look, again at once if that found no card, and publish; whether the labels are published."""
        self._look()
        if self._memory.unsettled and not self._stopped:
            self._look()
        return self._memory.failed is None and not self._fault and self._publish()

    def turn(self) -> None:
        """One turn of the loop: whatever is due now."""
        self._removed.look()
        if self._asked:
            self._asked = False
            self._publisher.hurry()
            self._due = self._clock()
        looked = self._clock() >= self._due or self._glance() != self._seen
        if looked:
            self._look()
        if (looked or self._publisher.due_in() <= 0) and not self._stopped:
            self._publish()
        self._heartbeat = self._clock()

    def _pause(self) -> float:
        """Seconds until the next turn. Nothing can be published before there are labels."""
        due = self._due - self._clock()
        if self._labels is not None:
            due = min(due, self._publisher.due_in())
        return min(POLL_INTERVAL, max(0.0, due))

    def stop(self) -> None:
        """Let :meth:`run` end after the turn it is at."""
        self._stopped = True
        self._wake.set()

    def look_again(self) -> None:
        """Look and publish now, and trust nothing that was published before."""
        _log.info(Event.LOOKING_AGAIN)
        self._asked = True
        self._wake.set()

    def condition(self) -> ServiceStatus:
        """How it stands now."""
        memory = self._memory
        return ServiceStatus(
            heartbeat_age=self._clock() - self._heartbeat,
            patience=self._pace.patience,
            labels=self._labels,
            cards=None if memory.facts is None else len(memory.facts.devices),
            stuck=self._stuck,
            look_failure=self._fault or memory.failed or "",
            publish_failure=self._publisher.failure,
            published=self._publisher.published,
            removed=self._removed.found,
        )

    def _publish(self) -> bool:
        return self._labels is not None and self._publisher.publish(self._labels)

    def _glance(self) -> _Seen:
        try:
            return _Seen(self._looker.glance(), self._looker.stuck())
        except HostError:
            return _Seen()  # the next look says why
        except Exception as error:  # noqa: BLE001  # a look may do better
            self._report(error)
            return _Seen()

    def _look(self) -> None:
        begun = self._clock()
        try:
            self._take(self._looked())
        except Exception as error:  # noqa: BLE001  # a fault of ours must not cost the node its labels
            self._report(error)
            self._retry()
        else:
            self._fault = ""
        self._stuck = len(self._seen.stuck)
        self._telemetry.look_seconds = self._clock() - begun

    def _looked(self) -> Facts | HostError:
        try:
            look = self._looker.look()
        except HostError as error:
            self._seen, self._changed = _Seen(), False
            return error
        seen = _Seen(look.sight, self._looker.stuck())
        self._changed = seen != self._seen
        self._seen = seen
        return look.facts

    def _take(self, look: Facts | HostError) -> None:
        before, self._memory = self._memory, self._memory.after(look)
        if isinstance(look, HostError):
            self._telemetry.failures["look"] += 1
            # Not the text: it may tell for how long a read has been under way.
            if (look.reason, look.path) != self._complaint:
                _log.error(Event.CANNOT_LOOK, reason=look)
            self._complaint = look.reason, look.path
            self._retry()
            return
        if self._complaint is not None:
            _log.info(Event.CAN_LOOK)
        self._complaint = None
        self._back_off = BackOff()
        unsettled = self._memory.unsettled or self._changed
        self._due = self._clock() + (min(self._pace.interval, SECOND_LOOK) if unsettled else self._pace.interval)
        self._tell_not_counted(before.not_counted, self._memory.not_counted)
        self._tell_count(before.facts, self._memory.facts)
        if self._memory.facts is not None:
            self._labels = self._labelled(self._memory.facts)

    def _labelled(self, facts: Facts) -> Labels:
        if self._before is None:
            self._before = self._publisher.known()
        labels = self._labels_of(facts, self._before)
        if self._before and labels == self._labels_of(facts, {}):
            self._before = {}  # whatever is unknown from now on, this process knew it itself
        return labels

    def _tell_not_counted(self, before: tuple[Rejected, ...], after: tuple[Rejected, ...]) -> None:
        for card in after:
            if card not in before:
                _log.warning(Event.CARD_NOT_COUNTED, card=card.name, family=card.arch, reason=card.reason)

    def _tell_count(self, before: Facts | None, after: Facts | None) -> None:
        if after is None or (before is not None and len(before.devices) == len(after.devices)):
            return
        if after.devices:
            _log.info(Event.CARDS_FOUND, cards=len(after.devices))
        else:
            _log.warning(Event.NO_CARD)

    def _retry(self) -> None:
        self._back_off = self._back_off.after_failure()
        self._due = self._clock() + min(self._pace.interval, self._back_off.wait(chance()))

    def _report(self, error: Exception) -> None:
        self._telemetry.failures["unforeseen"] += 1
        is_news = not self._fault.startswith(type(error).__name__)
        self._fault = repr(error)
        if is_news:
            _log.exception(Event.LOOK_FAILED, error)
