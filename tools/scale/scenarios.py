"""The stories of docs/scale.md, and what is said of each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tools.scale.behaviour import IN_STEP, Times
from tools.scale.inputs import Inputs
from tools.scale.server import Answer, Verb
from tools.scale.simulation import Outcome, Rollout, Story, percentile, play

LOOK = (Verb.READ,)
"""What a publication asks for where the labels are there already."""
CHANGE = (Verb.READ, Verb.WRITE)
"""Where they are not, or differ."""
REST = 7200.0
"""Seconds that are watched at rest: the second hour of them counts."""
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Restart:
    """All nodes' labels, once.

    Attributes:
        name: what happens.
        requests: answered ones and those that were told to come back, until the last node was labelled.
        unheard: requests while there was no API server.
        peak: the most requests in one second while there was one.
        p50: seconds until half of the nodes are labelled: from the start of the node's program, or from the return of
            the API server.
        p99: likewise, 99 in 100.
        last: seconds until all are, from the beginning or that return.
        throttled: answers 429.
        timeouts: publications that were given up.
    """

    name: str
    requests: int
    unheard: int
    peak: int
    p50: float
    p99: float
    last: float
    throttled: int
    timeouts: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Requests of all nodes in the second hour after they started together.

    Attributes:
        name: of the case.
        mean: requests in a second, on average.
        peak: the most in one second.
    """

    name: str
    mean: float
    peak: int


def stories(inputs: Inputs) -> Iterator[tuple[str, Story]]:
    """Each story with its name."""
    cluster, nodes = inputs.cluster, inputs.cluster.nodes
    tenth = max(1, nodes // 10)
    at_once = Story(nodes, CHANGE, inputs.server, cluster.spread, publishing=inputs.publishing, seed=inputs.seed)
    away = replace(at_once, away_until=cluster.outage)
    proxied = replace(away, away_retry_after=inputs.publishing.proxy_retry_after)
    one, many = _rollout(inputs, 1), _rollout(inputs, tenth)
    yield "rollout, `maxUnavailable: 1`, a feature file", replace(at_once, asks=(), rollout=one)
    yield "rollout, `maxUnavailable: 1`, labels there", replace(at_once, asks=LOOK, rollout=one)
    yield "rollout, `maxUnavailable: 10%`, a feature file", replace(at_once, asks=(), rollout=many)
    yield "rollout, `maxUnavailable: 10%`, labels there", replace(at_once, asks=LOOK, rollout=many)
    yield "all at once, a feature file", replace(at_once, asks=())
    yield "all at once, labels there", replace(at_once, asks=LOOK)
    yield "all at once, labels new or changed", at_once
    for jitter in (0.0, 300.0):
        name = f"the same, `--start-jitter={jitter:.0f}`"
        yield name, replace(at_once, times=Times(start_jitter=jitter))
    yield "the same, a busy server", replace(at_once, server=inputs.busy)
    yield (
        "the same, a busy server, `--start-jitter=0`",
        replace(at_once, server=inputs.busy, times=Times(start_jitter=0.0)),
    )
    yield f"API server away for {cluster.outage:.0f} s, nobody answers", away
    yield "the same, a busy server", replace(away, server=inputs.busy)
    yield f"the same, a proxy says 503, `Retry-After: {inputs.publishing.proxy_retry_after:.0f}`", proxied


def _rollout(inputs: Inputs, unavailable: int) -> Rollout:
    cluster = inputs.cluster
    return Rollout(unavailable, cluster.fastest_restart, cluster.slowest_restart, cluster.probe_period)


def restarts(inputs: Inputs) -> tuple[Restart, ...]:
    """What came of every story."""
    return tuple(restart_of(name, story, play(story)) for name, story in stories(inputs))


def restart_of(name: str, story: Story, outcome: Outcome) -> Restart:
    """What is said of an outcome."""
    back = story.away_until
    waits = tuple(at - back for at in outcome.labelled) if back else outcome.waits
    return Restart(
        name=name,
        requests=outcome.count(since=back),
        unheard=outcome.answers.get(Answer.AWAY, 0),
        peak=outcome.peak(since=back),
        p50=percentile(waits, 0.5),
        p99=percentile(waits, 0.99),
        last=max(outcome.labelled) - back,
        throttled=outcome.answers.get(Answer.THROTTLED, 0),
        timeouts=outcome.answers.get(Answer.TIMEOUT, 0),
    )


def rests(inputs: Inputs) -> tuple[Rest, ...]:
    """The look at whether labels are still there, as it is and as it would be if all nodes kept in step."""
    story = Story(
        inputs.cluster.nodes,
        LOOK,
        inputs.server,
        inputs.cluster.spread,
        publishing=inputs.publishing,
        rest=REST,
        seed=inputs.seed,
    )
    return (
        _rest("each node by its own chance", story),
        _rest("if every node looked after ten minutes, with a look at its cards", replace(story, times=IN_STEP)),
    )


def _rest(name: str, story: Story) -> Rest:
    outcome = play(story)
    since = REST - _HOUR
    return Rest(name, outcome.count(since, REST) / _HOUR, outcome.peak(since, REST))
