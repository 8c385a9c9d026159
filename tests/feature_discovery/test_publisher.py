"""What publishing remembers, says, and cleans up after."""

import logging

import pytest

from npu_feature_discovery.counters import Counters
from npu_feature_discovery.events import Event
from npu_feature_discovery.publisher import LONGEST_ASKED_FOR, Publisher
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from tests.feature_discovery.rigs import Clock, ObedientSink, told, unreachable

A = {"beta.furiosa.ai/npu.count": "1", "beta.furiosa.ai/npu.family": "warboy"}
B = {"beta.furiosa.ai/npu.count": "0"}


def test_it_says_which_labels_changed_and_nothing_where_none_did(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    telemetry = Counters()
    publisher = Publisher(ObedientSink(), telemetry)
    for labels in (A, A, B):
        assert publisher.publish(labels)
    assert [(event, fields["changed"]) for event, fields in told(caplog)] == [
        (Event.PUBLISHED, "npu.count,npu.family"),
        (Event.PUBLISHED, "npu.count,-npu.family"),
    ]
    assert (telemetry.publishes, telemetry.changes) == ({"created": 1, "unchanged": 1, "updated": 1}, 2)
    assert telemetry.last_success is not None


def test_what_was_there_already_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    publisher = Publisher(ObedientSink(published=[A]), Counters())
    assert [publisher.publish(A), publisher.publish(A)] == [True, True]
    assert caplog.messages == [Event.ALREADY_PUBLISHED]


def test_nothing_is_published_before_its_time() -> None:
    clock, sink = Clock(), ObedientSink()
    publisher = Publisher(sink, Counters(), clock, not_before=clock.now + 30)
    assert not publisher.publish(A)
    assert publisher.due_in() > 0
    clock.pass_(30)
    assert publisher.due_in() <= 0
    assert publisher.publish(A)
    assert publisher.due_in() > 0


def test_labels_that_change_while_a_sink_fails_are_not_taken_for_published() -> None:
    clock, sink = Clock(), ObedientSink()
    publisher = Publisher(sink, Counters(), clock)
    publisher.publish(A)
    sink.failing = unreachable()
    assert not publisher.publish(B)
    assert not publisher.publish(A)
    assert not publisher.published


def test_every_new_reason_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clock, sink = Clock(), ObedientSink()
    publisher = Publisher(sink, Counters(), clock)
    for message in ("nobody answers", "nobody answers", "go away"):
        sink.failing = unreachable(message)
        publisher.publish(A)
        clock.pass_(100)
    assert caplog.messages == [Event.CANNOT_PUBLISH, Event.CANNOT_PUBLISH]
    assert publisher.failure == "go away"


def test_a_publication_that_the_end_cut_off_is_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    sink = ObedientSink(failing=SinkError(FailureReason.CLOSED, "the service ends"))
    assert not Publisher(sink, Counters()).publish(A)
    assert caplog.messages == []


# -- taking over from another sink ------------------------------------------------------------------------------------


def test_what_another_sink_left_is_removed_once_after_the_first_success(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    removed: list[int] = []

    def supersede() -> Outcome:
        removed.append(sink.attempts)
        return Outcome.REMOVED

    clock, sink = Clock(), ObedientSink(failing=unreachable())
    publisher = Publisher(sink, Counters(), clock, supersede=supersede)
    publisher.publish(A)
    assert removed == []
    sink.failing = None
    clock.pass_(100)
    publisher.publish(A)
    publisher.publish(A)
    assert removed == [2]
    assert caplog.messages.count(Event.OTHER_SINK_REMOVED) == 1


def test_what_another_sink_left_and_cannot_be_removed_is_said_and_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    def supersede() -> Outcome:
        raise SinkError(FailureReason.READ_ONLY, "it is mounted read-only")

    publisher = Publisher(ObedientSink(), Counters(), supersede=supersede)
    assert publisher.publish(A)
    assert caplog.messages == [Event.OTHER_SINK_STAYS]


def test_nobody_makes_it_wait_for_ever() -> None:
    clock, sink = Clock(), ObedientSink(failing=unreachable(retry_after=1e12))
    publisher = Publisher(sink, Counters(), clock)
    assert not publisher.publish(A)
    sink.failing = None
    clock.pass_(LONGEST_ASKED_FOR)
    assert publisher.publish(A)


def test_nodes_that_are_told_to_come_back_at_one_time_do_not() -> None:
    clock, asked = Clock(), 30.0
    sink = ObedientSink(failing=unreachable(retry_after=asked))
    publishers = [Publisher(sink, Counters(), clock) for _ in range(60)]
    for publisher in publishers:
        publisher.publish(A)
    owing = []
    for passed in (asked - 1, asked / 2 + 1, asked / 2):
        clock.pass_(passed)
        owing.append(sum(publisher.due_in() <= 0 for publisher in publishers))
    assert owing[0] == 0 < owing[1] < owing[2] == len(publishers)
