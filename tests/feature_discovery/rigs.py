"""A discovery on a simulated host whose time is the test's, and a sink that does what it is told."""

import errno
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from npu_core.errors import host_error
from npu_core.testing import FakeHost, FaultyFS
from npu_feature_discovery.counters import Counters
from npu_feature_discovery.host_scan import SWEEP_TIMEOUT, HostScanner
from npu_feature_discovery.labels.carry_over import with_carried_over
from npu_feature_discovery.labels.table import PREFIX, Facts, Labels, labels_of
from npu_feature_discovery.loop import Discovery, Pace
from npu_feature_discovery.publish.__main__ import perform
from npu_feature_discovery.publish.api import Api
from npu_feature_discovery.publisher import Publisher
from npu_feature_discovery.sinks import FailureReason, Outcome, Sink, SinkError
from npu_feature_discovery.sinks.api_sink import ApiSink, NodeFeatureSink, NodeLabelsSink
from npu_feature_discovery.sinks.child import (
    Action,
    ApiAccess,
    Done,
    Note,
    Request,
    Target,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from testkit.waiting import PATIENCE, until

INTERVAL = 60.0


@dataclass
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class ObedientSink:
    """Remembers what it was given, and fails as it was told.

    Attributes:
        published: every set of labels that was new to it.
        attempts: how often it was asked to publish.
        failing: what each attempt raises; None for none.
        forgotten: how often it was told to forget.
        doubting: whether it would look whether its labels are still there.
    """

    name: str = "obedient"
    published: list[Labels] = field(default_factory=list)
    attempts: int = 0
    failing: Exception | None = None
    forgotten: int = 0
    doubting: bool = False

    def publish(self, labels: Labels) -> Outcome:
        self.attempts += 1
        if self.failing is not None:
            raise self.failing
        if self.published and self.published[-1] == labels:
            return Outcome.UNCHANGED
        self.published.append(labels)
        return Outcome.CREATED if len(self.published) == 1 else Outcome.UPDATED

    def remove(self) -> Outcome:
        return Outcome.ABSENT

    def known(self) -> Labels:
        return self.published[-1] if self.published else {}

    def forget(self) -> None:
        self.forgotten += 1

    def doubts_in(self) -> float:
        return 0.0 if self.doubting else math.inf

    def close(self) -> None:
        """Nothing is ever under way."""


class DirectSink(ApiSink):
    """The real API sink; what its child would do is done in this process, with the texts between them.

    Attributes:
        notes: what the operator would be told.
    """

    def __init__(self, access: ApiAccess, target: Target, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(access, target, clock)
        self.notes: list[Note] = []

    def _run(self, action: Action, labels: Labels) -> Outcome:
        request = decode_request(encode_request(Request(action, self._access, self._target, labels)))
        answer: Done | SinkError
        try:
            answer = perform(Api(request.access), request)
        except SinkError as error:
            answer = error
        answer = decode_answer(encode_answer(answer))
        if isinstance(answer, SinkError):
            raise answer
        self.notes.extend(answer.notes)
        return answer.outcome


def node_feature(access: ApiAccess, node: str = "node-1", namespace: str = "npu") -> DirectSink:
    """As :class:`~npu_feature_discovery.sinks.api_sink.NodeFeatureSink`."""
    return DirectSink(access, NodeFeatureSink(access, node, namespace)._target)


def node_labels(access: ApiAccess, node: str = "node-1") -> DirectSink:
    """As :class:`~npu_feature_discovery.sinks.api_sink.NodeLabelsSink`."""
    return DirectSink(access, NodeLabelsSink(access, node)._target)


def failure(sink: Sink, labels: Labels | None = None) -> SinkError:
    """Why a publication is not possible."""
    with pytest.raises(SinkError) as caught:
        sink.publish(labels or {PREFIX + "npu.count": "1"})
    return caught.value


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    """The events that were logged, each with its fields."""
    return [(record.getMessage(), getattr(record, "npu_fields")) for record in caplog.records]  # noqa: B009  # the log's


def unreachable(message: str = "nobody answers", retry_after: float | None = None) -> SinkError:
    return SinkError(FailureReason.UNREACHABLE, message, retry_after=retry_after)


class Hung:
    """A fault that keeps its readers, and a looker's wait that ends when every other answer is there.

    Attributes:
        readers: how many it keeps now.
    """

    def __init__(self) -> None:
        self.readers = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._given_up: set[Future[Any]] = set()

    def __call__(self, path: str) -> str:
        """As a card that hangs, and comes back without this read."""
        with self._lock:
            self.readers += 1
        self._released.wait()
        with self._lock:
            self.readers -= 1
        raise host_error(OSError(errno.ETIMEDOUT, "the read did not come back"), path)

    def wait(self, answers: "Collection[Future[Any]]", seconds: float) -> None:
        """Wait until no answer is missing but of readers that are kept, for as long as that takes."""

        def missing() -> set[Future[Any]]:
            return {answer for answer in answers if not answer.done()}

        def others() -> int:
            return self.readers - sum(not answer.done() for answer in self._given_up)

        until(lambda: len(missing()) <= others(), "all answers but those of hung reads", pause=0.001)
        if seconds != SWEEP_TIMEOUT:  # a sweep that is held up is no read
            self._given_up |= missing()

    def release(self) -> None:
        """Let all go, now and later."""
        self._released.set()


class Rig:
    """A discovery that runs turn by turn.

    Attributes:
        fs: where faults can be put.
        hung: the fault of those that hang.
        clock: the time.
        sink: where labels go.
        telemetry: what was counted.
        discovery: what is tested.
    """

    def __init__(self, host: FakeHost, interval: float = INTERVAL) -> None:
        self.fs = FaultyFS()
        self.hung = Hung()
        self.clock = Clock()
        self.sink = ObedientSink()
        self.telemetry = Counters()
        self.facts: list[Facts] = []
        publisher = Publisher(self.sink, self.telemetry, self.clock)
        looker = HostScanner(host.open(self.fs), wait=self.hung.wait)
        pace = Pace(interval, PATIENCE)
        self.discovery = Discovery(looker, publisher, self._labels_of, self.telemetry, pace, self.clock)

    def _labels_of(self, facts: Facts, before: Labels) -> Labels:
        self.facts.append(facts)
        return with_carried_over(labels_of(facts), before, facts)

    def turns(self, count: int, every: float = 1.0) -> None:
        """So many turns of the loop, with time passing after each."""
        for _ in range(count):
            self.discovery.turn()
            self.clock.pass_(every)

    def last(self, *names: str) -> tuple[str | None, ...]:
        """Values of these labels, as they were published last."""
        return tuple(self.sink.published[-1].get(PREFIX + name) for name in names)

    def counts(self) -> Iterable[str | None]:
        """Every ``npu.count`` that was published."""
        return [labels.get(PREFIX + "npu.count") for labels in self.sink.published]
