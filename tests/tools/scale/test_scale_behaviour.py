"""When a node asks: the model beside the real loop, publisher and sink, on a clock of the test's."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.testing import FakeHost, warboy
from npu_feature_discovery.counters import Counters
from npu_feature_discovery.host_scan import HostScanner
from npu_feature_discovery.labels.table import labels_of
from npu_feature_discovery.loop import POLL_INTERVAL, Discovery, Pace
from npu_feature_discovery.publisher import Publisher
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.api_sink import ApiSink
from npu_feature_discovery.sinks.child import Action, ApiAccess, Target
from testkit.waiting import PATIENCE
from tests.feature_discovery.rigs import INTERVAL, Clock
from tools.scale.behaviour import Times, pause, turn_from

ASKED_FOR = 7.0


@given(st.floats(0, 1e5), st.floats(0, 1e4))
def test_a_turn_is_never_too_early_and_at_most_a_pulse_late(started: float, later: float) -> None:
    assert -1e-6 <= turn_from(started, started + later) - (started + later) <= POLL_INTERVAL


# -- as the product does ----------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """When the API server was asked, and how often it still refuses."""

    clock: Clock
    refusals: int = 0
    at: list[float] = field(default_factory=list)


class RefusedSink(ApiSink):
    """The real sink, whose child is a list."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(ApiAccess(None, "", 10.0), Target("node-feature", "node-1", "npu"), asked.clock)
        self._asked = asked

    def _run(self, action: Action, labels: object) -> Outcome:
        assert action is Action.PUBLISH
        assert labels
        self._asked.at.append(self._asked.clock.now)
        if self._asked.refusals:
            self._asked.refusals -= 1
            raise SinkError(FailureReason.THROTTLED, "too many requests", retry_after=ASKED_FOR)
        return Outcome.UNCHANGED


@pytest.fixture
def live(tmp_path: Path) -> Callable[[Asked, float, int], None]:
    """Lets a discovery live for so many turns of a second, whose first publication has to wait for so long."""

    def run(asked: Asked, jitter: float, turns: int) -> None:
        clock = asked.clock
        looker = HostScanner(FakeHost(tmp_path, warboy(0)).open())
        publisher = Publisher(RefusedSink(asked), Counters(), clock, not_before=clock.now + jitter)
        discovery = Discovery(
            looker, publisher, lambda facts, _: labels_of(facts), Counters(), Pace(INTERVAL, PATIENCE), clock
        )
        for _ in range(turns):
            discovery.turn()
            clock.pass_(POLL_INTERVAL)

    return run


def test_the_first_publication_begins_when_the_model_says(live: Callable[[Asked, float, int], None]) -> None:
    asked = Asked(Clock())
    started = asked.clock.now
    live(asked, 12.4, 60)
    assert asked.at == [turn_from(started, started + 12.4)]


def test_refused_it_comes_back_when_the_model_says(live: Callable[[Asked, float, int], None]) -> None:
    asked = Asked(Clock(), refusals=6)
    started = asked.clock.now
    live(asked, 0.0, 240)
    assert len(asked.at) == 7
    for failures, (one, other) in enumerate(zip(asked.at, asked.at[1:], strict=False), 1):
        earliest, latest = (turn_from(started, one + pause(failures, ASKED_FOR, chance)) for chance in (0.0, 1.0))
        assert earliest <= other <= latest


def test_it_looks_for_its_labels_when_the_model_says(live: Callable[[Asked, float, int], None]) -> None:
    asked = Asked(Clock())
    started, times = asked.clock.now, Times()
    live(asked, 5.0, 2500)
    assert 4 <= len(asked.at) <= 9
    for one, other in zip(asked.at, asked.at[1:], strict=False):
        earliest, latest = (times.recheck(started, one + times.trusted(chance)) for chance in (0.0, 1.0))
        assert earliest <= other <= latest
