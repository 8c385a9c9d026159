"""All nodes together: small stories calculated by hand, and what holds of any story."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.scale.behaviour import IN_STEP, Times
from tools.scale.inputs import Inputs, Publishing, Server, changed
from tools.scale.scenarios import CHANGE, LOOK, rests
from tools.scale.server import Answer
from tools.scale.simulation import Rollout, Story, play

AMPLE = Server(seats=10_000, waiting=0, read=0.010, write=0.025)
AT_ONCE = Times(start_jitter=0.0)
CHILD = Publishing(child=0.25)


def story(nodes: int = 100, server: Server = AMPLE, times: Times = AT_ONCE) -> Story:
    return Story(nodes, CHANGE, server, publishing=CHILD, times=times)


def test_without_jitter_the_peak_is_every_request_of_every_node() -> None:
    outcome = play(replace(story(), asks=LOOK))
    assert (outcome.peak(), outcome.count()) == (100, 100)
    assert play(story()).peak() == 200


def test_who_waits_is_served_in_turn() -> None:
    outcome = play(replace(story(3, Server(seats=1, waiting=2, read=1.0, write=0.0)), asks=LOOK))
    assert outcome.labelled == pytest.approx((1.25, 2.25, 3.25))
    assert outcome.answers == {Answer.DONE: 3}


def test_who_is_refused_comes_back_after_the_time_that_was_asked_for_to_twice_that() -> None:
    crowded = Server(seats=1, waiting=0, read=0.5, write=0.0, retry_after=4.0)
    outcome = play(replace(story(2, crowded), asks=LOOK))
    assert outcome.answers == {Answer.DONE: 2, Answer.THROTTLED: 1}
    # Back at one of the turns at 5 to 9 seconds, by which the first one is long served.
    assert 4.0 <= outcome.labelled[1] - 0.75 <= 9.0


def test_while_there_is_no_server_nobody_is_labelled_and_all_are_soon_after() -> None:
    outcome = play(replace(story(), away_until=120.0))
    assert min(outcome.labelled) > 120.0
    assert max(outcome.labelled) < 120.0 + 60.0 + 2.0
    assert outcome.answers[Answer.AWAY] == outcome.count(until=120.0)


def test_a_rollout_renews_so_many_pods_at_once() -> None:
    outcome = play(replace(story(10), asks=(), rollout=Rollout(2, fastest=5.0, slowest=5.0, probe_period=0.0)))
    assert sorted(outcome.labelled) == pytest.approx([5.0, 5.0, 10.0, 10.0, 15.0, 15.0, 20.0, 20.0, 25.0, 25.0])


servers = st.builds(
    Server,
    seats=st.integers(1, 20),
    waiting=st.integers(0, 50),
    read=st.floats(0.001, 0.2),
    write=st.floats(0.001, 0.5),
    retry_after=st.sampled_from((0.0, 1.0, 10.0)),
)
anything = st.builds(
    Story,
    nodes=st.integers(1, 60),
    asks=st.sampled_from((LOOK, CHANGE)),
    server=servers,
    spread=st.floats(0, 10),
    times=st.builds(Times, start_jitter=st.floats(0, 30)),
    away_until=st.sampled_from((0.0, 20.0)),
    seed=st.integers(0, 1000),
)


@settings(max_examples=60, deadline=None)
@given(anything)
def test_every_request_has_one_answer_and_every_node_its_labels(told: Story) -> None:
    outcome = play(told)
    assert len(outcome.labelled) == told.nodes
    failed_twice = sum(outcome.answers.get(answer, 0) for answer in (Answer.THROTTLED, Answer.TIMEOUT, Answer.AWAY))
    assert sum(outcome.answers.values()) == outcome.count()
    done = outcome.answers[Answer.DONE]
    # A publication that fails half way reads once more.
    assert told.nodes * len(told.asks) <= done <= told.nodes * len(told.asks) + failed_twice


# -- what the page is about -------------------------------------------------------------------------------------------


def test_the_start_jitter_spreads_a_start() -> None:
    spread, together = (play(story(1000, times=times)).peak() for times in (Times(), AT_ONCE))
    assert spread < together / 10


def test_chance_spreads_the_looks_at_labels_that_nodes_in_step_make_together() -> None:
    by_chance, in_step = rests(changed(Inputs(), "cluster.nodes=1000"))
    assert by_chance.peak * 5 < in_step.peak


def test_the_time_that_a_server_names_brings_nodes_back_spread() -> None:
    crowd = replace(story(1000), away_until=30.0, away_retry_after=40.0)
    spread, together = (
        play(replace(crowd, times=replace(times, start_jitter=0.0))).peak(since=30.0) for times in (Times(), IN_STEP)
    )
    assert spread < together / 10
