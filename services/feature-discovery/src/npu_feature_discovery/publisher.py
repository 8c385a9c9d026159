"""Publishing for as long as the service runs: again after failures, later each time, and said once."""

import time
from collections.abc import Callable

from npu_core.service.logs import EventLog, without_numbers
from npu_feature_discovery.back_off import BackOff, chance
from npu_feature_discovery.counters import Counters
from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.table import PREFIX, Labels
from npu_feature_discovery.sinks import FailureReason, Outcome, Sink, SinkError

_log = EventLog(__name__)
LONGEST_ASKED_FOR = 600.0
"""Seconds that the other side can make us wait at most: a slip of a proxy must not cost the node its labels."""


class Publisher:
    """Keeps one sink up to date.

    Attributes:
        failure: why the last attempt failed; empty if it did not.
        published: whether the last attempt succeeded.
    """

    def __init__(
        self,
        sink: Sink,
        telemetry: Counters,
        clock: Callable[[], float] = time.monotonic,
        not_before: float = 0.0,
        supersede: Callable[[], Outcome] | None = None,
    ) -> None:
        """A publisher that has not published yet.

        Args:
            sink: where to.
            telemetry: where attempts are counted.
            clock: seconds that do not go back.
            not_before: time on ``clock`` before which nothing is published.
            supersede: takes away what another sink left behind, once this one has published; raises SinkError.
        """
        self.failure = ""
        self.published = False
        self._sink = sink
        self._telemetry = telemetry
        self._clock = clock
        self._not_before = not_before
        self._supersede = supersede
        self._back_off = BackOff()
        self._last: Labels | None = None

    def due_in(self) -> float:
        """Seconds until the next attempt is due, or the next look whether the labels are still there.

        0 or less means now. Infinite means never.
        """
        wait = self._not_before - self._clock()
        return max(wait, self._sink.doubts_in()) if self.published else wait

    def publish(self, labels: Labels) -> bool:
        """Let the sink have exactly these labels, if it is time to; whether they are published. Never raises."""
        if self._clock() < self._not_before:
            self.published = self.published and labels == self._last
            return self.published
        try:
            outcome = self._sink.publish(labels)
        except SinkError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next attempt may do better
            if repr(error) not in self.failure:
                _log.exception(Event.PUBLICATION_FAILED, error, sink=self._sink.name)
            self._fail(SinkError(FailureReason.UNFORESEEN, repr(error)))
        else:
            self._succeed(labels, outcome)
        return self.published

    def known(self) -> Labels:
        """What is published, as far as the sink can tell without asking anybody."""
        return self._sink.known()

    def hurry(self) -> None:
        """Publish at the next chance, and trust nothing that was published before."""
        self._not_before = 0.0
        self.published = False
        self._sink.forget()

    def _fail(self, error: SinkError) -> None:
        self._back_off = self._back_off.after_failure()
        asked_for = min(error.retry_after or 0.0, LONGEST_ASKED_FOR / 2)  # it may become twice that
        self._not_before = self._clock() + self._back_off.wait(chance(), asked_for)
        self._telemetry.failures[error.reason] += 1
        self.published = False
        if without_numbers(error.message) != without_numbers(self.failure) and error.reason is not FailureReason.CLOSED:
            _log.error(Event.CANNOT_PUBLISH, sink=self._sink.name, reason=error.message)
        self.failure = error.message

    def _succeed(self, labels: Labels, outcome: Outcome) -> None:
        news = outcome is not Outcome.UNCHANGED
        self._telemetry.publishes[outcome] += 1
        self._telemetry.last_success = time.time()
        self._telemetry.changes += news
        if self.failure:
            _log.info(Event.CAN_PUBLISH, sink=self._sink.name)
        if news:
            changed = ",".join(_changed(self._last or {}, labels))
            _log.info(Event.PUBLISHED, sink=self._sink.name, outcome=outcome, labels=len(labels), changed=changed)
        elif self._last is None:
            _log.info(Event.ALREADY_PUBLISHED, sink=self._sink.name, labels=len(labels))
        self._back_off = BackOff()
        self.failure, self.published, self._last = "", True, labels
        self._clean_up()

    def _clean_up(self) -> None:
        if self._supersede is None:
            return
        supersede, self._supersede = self._supersede, None
        try:
            outcome = supersede()
        except SinkError as error:
            _log.warning(Event.OTHER_SINK_STAYS, reason=error.message)
        else:
            if outcome is Outcome.REMOVED:
                _log.info(Event.OTHER_SINK_REMOVED)


def _changed(before: Labels, after: Labels) -> list[str]:
    """Names of the labels that are not the same, without the prefix they share; those that went, with a minus."""
    changed = [key.removeprefix(PREFIX) for key in after if before.get(key) != after[key]]
    return [*changed, *(f"-{key.removeprefix(PREFIX)}" for key in before if key not in after)]
